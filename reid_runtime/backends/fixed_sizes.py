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
"""Images of one size, from which on compiling for it pays: 0.27 s, for half a millisecond of a core an image of `tiny`.
"""
_MOST = 4
"""Networks, for each has weights and memory of its own: two cores take 48 MB for `tiny`, 56 for `base`."""
_MOST_WHERE_ASKED = 8

_SAME = 0.99
"""The least cosine to what the network of free sizes gives, where other bytes are allowed; bfloat16 keeps 0.999."""
_LOG = logging.getLogger(__name__)

Shape = tuple[int, ...]


class FixedSizes:
    """Which network a batch goes through: its size's own, or, until there is one, the one of free sizes."""

    def __init__(
        self, any_size: Run, compiled: Callable[[Shape], Run], images: int, pixels: int, same_bytes: bool = True
    ) -> None:
        """Begin with the network of free sizes.

        Args:
            any_size: That network.
            compiled: Gives the network of one shape of batches.
            images: The most of a batch, whose number is fixed with its size.
            pixels: The most of a batch, height x width x images, of three channels.
            same_bytes: Take a size's own network only where it gives the same bytes.
        """
        self._any_size, self._compiled, self._same_bytes = any_size, compiled, same_bytes
        self._images, self._pixels = images, pixels
        self._networks: dict[Shape, Run] = {}
        self._counts: Counter[Shape] = Counter()
        self._most = _MOST if same_bytes else _MOST_WHERE_ASKED
        self._lock = threading.Lock()

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch of any number of images: full batches of a fixed number, and the rest one by one.

        Where one of the two has no network of its own yet, its images go through that of free sizes.
        """
        size = max(1, min(self._images, 3 * self._pixels // images[0].size))
        in_full_batches = len(images) // size * size
        parts = [(size, images[:in_full_batches]), (1, images[in_full_batches:])]
        parts = [(number, part) for number, part in parts if len(part)]
        networks = [self._networks.get((number, *part.shape[1:])) for number, part in parts]
        for network, (number, part) in zip(networks, parts, strict=True):
            if network is None:
                self._count((number, *part.shape[1:]), part)
        if not any(networks):
            return self._any_size(images)
        rows = []
        for network, (number, part) in zip(networks, parts, strict=True):
            if network is None:
                rows.append(self._any_size(part))
            else:
                rows += [network(part[start : start + number]) for start in range(0, len(part), number)]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _count(self, shape: Shape, images: ModelInput) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread compiles; this one goes on meanwhile
        try:
            self._counts[shape] += len(images)
            if self._counts[shape] >= _WORTH and len(self._networks) < self._most and shape not in self._networks:
                self._networks[shape] = self._checked(shape, images[: shape[0]])
        finally:
            self._lock.release()

    def _checked(self, shape: Shape, images: ModelInput) -> Run:
        """The network of a shape; that of free sizes where it fails, is of another model, or gives other bytes.

        It is made of the file, which may have changed since the job began.
        """
        noise = np.random.default_rng(0).permuted(images, axis=None)
        try:
            network = self._compiled(shape)
            vectors = [(self._any_size(each), network(each)) for each in (images, noise)]
            cosine = compare(*vectors[0]).worst_cosine
        except (BackendError, ValueError) as error:
            why = str(error)
        else:
            if cosine < _SAME:
                why = f"it gives other vectors, at cosine {cosine:.4f}: has the file changed?"
            elif not self._same_bytes or all(expected.tobytes() == own.tobytes() for expected, own in vectors):
                return network
            else:
                self._most = 0  # what differs for one size will for the next
                _LOG.info("images of %s keep the network of free sizes: their own gives other bytes", shape[1:])
                return self._any_size
        _LOG.warning("images of %s stay at the usual speed, for a network of their own size fails: %s", shape[1:], why)
        return self._any_size
