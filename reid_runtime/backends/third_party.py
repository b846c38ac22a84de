"""Try a third-party model on noise before the first image: does it run as its contract says, and in batches?

A traced graph may hold on to a batch of one, a transformer to one size, and what was left in training mode mixes the
images of a batch. All of them load, and give wrong vectors, or an error after hours.
"""

import logging

import numpy as np

from reid_runtime.backends.base import Backend, FixedBatches
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import ModelInput, to_model_input
from reid_runtime.model_file.contract import Contract
from reid_runtime.vectors import Vectors

_LOG = logging.getLogger(__name__)
_SIZES = ((256, 128), (200, 140))
"""Of images, whose aspect ratios differ."""
_MOST = 2_000_000
"""Pixels of an image after its resize that is tried; more would take long."""
_SAME = 0.999
"""The least cosine of a vector alone and in company."""


def try_model(backend: Backend, contract: Contract) -> None:
    """Run two images alone and together; where company changes them, they are run one by one from then on.

    Raises BackendError, with the edit that helps, for a model that does not run as its contract says.
    """
    shapes = [shape for height, width in _SIZES if np.prod(shape := contract.resize.shape(height, width)) <= _MOST]
    for number, shape in enumerate(dict.fromkeys(shapes)):
        noise = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), np.uint8)
        images = to_model_input(noise, contract.input)
        size = f"{shape[0]}x{shape[1]}"
        try:
            alone = np.concatenate([backend.run(images[row : row + 1]) for row in range(1 if number else 2)])
        except BackendError as error:
            advice = (
                f"its size is fixed, and its contract's resize rule gives others, here {size}: state the rule "
                '"fixed" with its height and width'
                if number
                else f"it does not run as its contract says, on {contract.input.dtype} {contract.input.layout} of "
                f"{size}: correct that by `reid-runtime describe`"
            )
            raise BackendError(f"{advice}: {error}") from error
        if alone.shape[1:] != (contract.dimension,):
            raise BackendError(
                f"it gives {alone.shape[1:]} for an image, its contract says {contract.dimension} numbers: correct "
                "that by `reid-runtime describe`"
            )
        if number == 0 and isinstance(backend, FixedBatches):
            _try_batch(backend, images, alone)


def _try_batch(backend: FixedBatches, images: ModelInput, alone: Vectors) -> None:
    if backend.batch_size is None and not _same(backend, images, alone):
        backend.batch_size = 1
    if backend.batch_size is not None:
        size = "of one alone" if backend.batch_size == 1 else f"of {backend.batch_size} alone, which are filled up"
        _LOG.warning("%s: the graph takes batches %s; exported with a free batch it is faster", backend.path.name, size)


def _same(backend: FixedBatches, images: ModelInput, alone: Vectors) -> bool:
    try:
        together = backend.run(images)
    except BackendError:
        return False
    if together.shape != alone.shape:
        return False
    lengths = np.linalg.norm(alone, axis=1) * np.linalg.norm(together, axis=1)
    return bool(((alone * together).sum(axis=1) >= _SAME * lengths).all())
