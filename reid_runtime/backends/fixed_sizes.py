"""A network compiled once more for each size that many images have; for engines to which free sizes cost time."""

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.base import Run
from reid_runtime.images.model_input import ModelInput

_WORTH = 256
"""Images of one size, from which on compiling for it pays: 0.27 s, for 0.7 ms of a core an image of `tiny`."""
_MOST = 8
"""Sizes, for each has a copy of the weights."""

Shape = tuple[int, ...]


class FixedSizes:
    """Which network an image is embedded by: its size's own, or, until there is one, the one of free sizes."""

    def __init__(self, any_size: Run, compiled: Callable[[Shape], Run]) -> None:
        """`compiled` gives the network of one image of a shape (1, H, W, 3)."""
        self._any_size, self._compiled = any_size, compiled
        self._networks: dict[Shape, Run] = {}
        self._images: Counter[Shape] = Counter()
        self._lock = threading.Lock()

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch; image by image, for then a batch gains nothing, where their size has a network of its own."""
        shape = (1, *images.shape[1:])
        network = self._networks.get(shape)
        if network is None:
            self._count(shape, len(images))
            return self._any_size(images)
        return np.concatenate([network(images[row : row + 1]) for row in range(len(images))])

    def _count(self, shape: Shape, images: int) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread compiles; this one goes on meanwhile
        try:
            self._images[shape] += images
            if self._images[shape] >= _WORTH and len(self._networks) < _MOST and shape not in self._networks:
                self._networks[shape] = self._compiled(shape)
        finally:
            self._lock.release()
