"""A network compiled once more for each size that many images have; for engines to which free sizes cost time."""

import logging
import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from reid_runtime.agreement import compare
from reid_runtime.backends.base import Run
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import ModelInput

_WORTH = 256
"""Images of one size, from which on compiling for it pays: 0.27 s, for 0.7 ms of a core an image of `tiny`."""
_MOST = 8
"""Sizes, for each has a copy of the weights."""
_BATCH = 4
"""Images of a batch, whose number is fixed with its size. Of one image a ResNet-50 in INT8 takes half as long again."""

_SAME = 0.99
"""The least cosine to what the network of free sizes gives; bfloat16 keeps 0.999."""
_LOG = logging.getLogger(__name__)

Shape = tuple[int, ...]


class FixedSizes:
    """Which network a batch goes through: its size's own, or, until there is one, the one of free sizes."""

    def __init__(self, any_size: Run, compiled: Callable[[Shape], Run]) -> None:
        """`compiled` gives the network of a batch of one shape."""
        self._any_size, self._compiled = any_size, compiled
        self._networks: dict[Shape, Run] = {}
        self._images: Counter[Shape] = Counter()
        self._lock = threading.Lock()

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch of any number of images; those that fill no batch of a fixed number go through the network of free
        sizes.
        """
        shape = (_BATCH, *images.shape[1:])
        network = self._networks.get(shape)
        whole = len(images) // _BATCH * _BATCH
        if network is None or not whole:
            if whole:
                self._count(shape, images)
            return self._any_size(images)
        rows = [network(images[start : start + _BATCH]) for start in range(0, whole, _BATCH)]
        if whole < len(images):
            rows.append(self._any_size(images[whole:]))
        return np.concatenate(rows)

    def _count(self, shape: Shape, images: ModelInput) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread compiles; this one goes on meanwhile
        try:
            self._images[shape] += len(images)
            if self._images[shape] >= _WORTH and len(self._networks) < _MOST and shape not in self._networks:
                self._networks[shape] = self._checked(shape, images[:_BATCH])
        finally:
            self._lock.release()

    def _checked(self, shape: Shape, images: ModelInput) -> Run:
        """The network of a shape; that of free sizes, with a warning, where it fails or is of another model.

        It is made of the file, which may have changed since the job began.
        """
        try:
            network = self._compiled(shape)
            cosine = compare(self._any_size(images), network(images)).worst_cosine
        except (BackendError, ValueError) as error:
            why = str(error)
        else:
            if cosine >= _SAME:
                return network
            why = f"it gives other vectors, at cosine {cosine:.4f}: has the file changed?"
        _LOG.warning("images of %s stay at the usual speed, for a network of their own size fails: %s", shape[1:], why)
        return self._any_size
