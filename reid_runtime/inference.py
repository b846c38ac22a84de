"""Resized images or boxes of a frame go through a backend in batches; its vectors are held to the contract."""

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from reid_runtime.backends.base import Backend, ServerBackend, crop_backend
from reid_runtime.batching import same_shape_batches
from reid_runtime.errors import BackendError
from reid_runtime.images.boxes import FrameOnGpu
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import Pixels
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.model_file.contract import Contract
from reid_runtime.vectors import UNIT_TOLERANCE, Vectors


def infer(backend: Backend, contract: Contract, images: Sequence[Pixels], names: Sequence[str] = ()) -> Vectors:
    """Vectors of resized images, in their order, in batches of one shape; errors say which of `names`.

    A server gets several batches at once. Its rows are given out once it was seen, after the last of them, to be still
    the one that was opened; of rows without names, the boxes of a frame, once a second.
    """
    vectors = np.empty((len(images), contract.dimension), np.float32)
    shapes = [(image.shape[0], image.shape[1]) for image in images]

    def run(rows: list[int]) -> list[int]:
        batch = np.stack([images[row] for row in rows])
        try:
            raw = backend.run(to_model_input(batch, contract.input))
            vectors[rows] = _checked(raw, batch.shape, backend, contract)
        except BackendError as error:
            if not names:
                raise
            raise BackendError(f"{names[rows[0]]}, first of its batch of {len(rows)}: {error}") from error
        return rows

    batches = same_shape_batches(shapes, backend.max_batch_pixels)
    if not isinstance(backend, ServerBackend):
        for rows in batches:
            run(rows)
    elif images:
        with closing(parallel_map(run, batches, backend.requests, prefetch=backend.requests)) as finished:
            for _ in finished:
                pass
        backend.confirm(within=0.0 if names else 1.0)
    return vectors


def infer_on_gpu(backend: Backend, contract: Contract, framed: FrameOnGpu, rows: Vectors) -> None:
    """Fill the rows of the valid boxes of a frame on the GPU, where its crops are cut and resized too."""
    cutter = crop_backend(backend)
    if contract.resize.filter != "bilinear":
        raise BackendError(
            f"frames on the GPU are resized bilinearly, and the contract says {contract.resize.filter}: bring the "
            "frame to the host"
        )
    for chosen, shape in framed.groups(contract.resize, backend.max_batch_pixels):
        raw = cutter.run_crops(framed.frame, framed.channel_order, framed.corners[chosen], shape, contract.input)
        rows[chosen] = _checked(raw, (len(chosen), *shape, 3), backend, contract)


def _checked(vectors: Vectors, batch: tuple[int, ...], backend: Backend, contract: Contract) -> Vectors:
    """The model's output, if it is what the contract promises: a wrong vector must not look like a right one."""
    expected = (batch[0], contract.dimension)
    if vectors.shape != expected:
        raise BackendError(f"expected vectors {expected} for {batch}, the model gave {vectors.shape}")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise BackendError(f"the model gave NaN, infinite or zero vectors for a batch {batch} on {backend.name}")
    if not contract.unit_output:
        unit: Vectors = vectors / norms
        return unit
    if np.abs(norms - 1).max() > UNIT_TOLERANCE:
        raise BackendError(f"the contract promises unit vectors, the model gave norms up to {norms.max():.4f}")
    return vectors
