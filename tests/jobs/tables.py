"""Tables of embeddings for the tests, and how two are compared; a job of ten images."""

import dataclasses

import numpy as np

from reid_runtime.jobs import Embeddings
from reid_runtime.jobs.manifest import Manifest

from ..models import CONTRACT

JOB = Manifest(
    CONTRACT.to_json(), CONTRACT.contract_id, "sha256:ab", "onnxruntime cpu", "1/1", "skip", images=10, version="1.0",
    part_images=4,
)  # fmt: skip


def table(rows=4, **changes):
    """Rows of which the second has an error."""
    vectors = np.random.default_rng(0).normal(size=(rows, CONTRACT.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    errors = np.full(rows, "", dtype="<U40")
    if rows > 1:
        vectors[1], errors[1] = np.nan, "corrupt or truncated: größer"
    complete = Embeddings(
        id=np.array([f"ordner/grün {row}.jpg" for row in range(rows)], dtype=np.str_),
        embedding=vectors,
        width=np.arange(rows, dtype=np.int32),
        height=np.arange(rows, dtype=np.int32) + 5,
        error=errors,
        contract=CONTRACT.to_json(),
        contract_id=CONTRACT.contract_id,
        artefact_id="sha256:ab",
        backend=JOB.backend,
    )
    return dataclasses.replace(complete, **changes)


def assert_same(actual, expected):
    assert actual.columns().keys() == expected.columns().keys()
    for name, values in expected.columns().items():
        column = actual.columns()[name]
        assert np.array_equal(column, values, equal_nan=values.dtype.kind == "f"), name
        assert column.dtype.kind == values.dtype.kind, name
    assert actual.embedding.dtype == np.float32
    assert actual.metadata() == expected.metadata()
