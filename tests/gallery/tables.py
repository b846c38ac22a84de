"""Embeddings of invented people for the tests of galleries, and images to keep beside them."""

import numpy as np

from reid_runtime.gallery import CropImage, Gallery
from reid_runtime.gallery.crops import content_digest
from reid_runtime.jobs import Embeddings

from ..models import CONTRACT


def people(names, crops=3, seed=0, **columns):
    """So many rows for each name, ids `name/camera-1/0.jpg`, vectors of unit length near the person's own."""
    generator = np.random.default_rng(seed)
    own = np.repeat(generator.normal(size=(len(names), CONTRACT.dimension)), crops, axis=0)
    vectors = own + 0.1 * generator.normal(size=own.shape)
    ids = [f"{name}/camera-{crop % 2}/{crop}.jpg" for name in names for crop in range(crops)]
    return Embeddings(
        id=np.array(ids, np.str_),
        embedding=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        width=np.full(len(ids), 64, np.int32),
        height=np.full(len(ids), 128, np.int32),
        error=np.full(len(ids), "", np.str_),
        contract=CONTRACT.to_json(),
        contract_id=CONTRACT.contract_id,
        artefact_id="sha256:ab",
        identity=np.repeat(names, crops),
        **columns,
    )


def images(rows, size=3000):
    """Bytes in the place of JPEGs, other ones for each id."""
    contents = [np.random.default_rng([*name.encode()]).bytes(size) for name in rows.id.tolist()]
    return [CropImage(content_digest(content), content) for content in contents]


def new_gallery(path, **options):
    return Gallery.create(path, CONTRACT, "sha256:ab", **options)
