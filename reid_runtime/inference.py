"""Resized images or boxes of a frame go through a backend in batches; its vectors are held to the contract."""

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from reid_runtime.backends.base import Backend, OnOneCore, Run, ServerBackend, SideBySide, crop_backend
from reid_runtime.batching import WINDOW, even_batches, same_shape_batches
from reid_runtime.errors import BackendError
from reid_runtime.images.boxes import FrameOnGpu
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import Pixels
from reid_runtime.io.concurrency import peek, share_out
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.model_file.contract import Contract
from reid_runtime.vectors import UNIT_TOLERANCE, Vectors

Item = TypeVar("Item")
Infer = Callable[[Sequence[tuple[int, int]], Callable[[int], Pixels], Sequence[str]], Vectors]
"""What `Inference.infer` is."""

_LOG = logging.getLogger(__name__)
_FEW = 128 * 128
"""Pixels for each core, below which handing batches over takes longer than it saves."""


class Inference:
    """A backend, and how its work is spread: each batch over all cores, or many small ones, each on one core.

    Hundreds of times an image all cores wait for the slowest of them, at the end of each operator. Batches on one core
    each never wait: OSNet, MobileNetV2 and ResNet-50 then embed a third more to twice as many images a second, and each
    image has the same bytes, which is tried with the first batch. An engine has to be opened a second time for it, so
    that this is done once there was enough work, and until then, and for less than an image a core, a batch has all.
    """

    def __init__(self, backend: Backend, contract: Contract, threads: int, times: StageTimes) -> None:
        """At most `threads` batches at once; `times` are added to."""
        self._times = times
        self.backend, self._contract, self._threads = backend, contract, threads
        self._run: Run | None = None
        self._most, self._pixels, self.group, self.group_among_others = 0, 0, 1, 1
        self.waits_for_shape = True
        self._may_spread = threads > 1 and isinstance(backend, SideBySide)
        self._lock = threading.Lock()

    @property
    def _batch_pixels(self) -> int:
        """Of a batch on all cores; on a single core those of `OnOneCore`: 32 crops take it a sixth longer than four."""
        how = self.backend.side_by_side if self._threads == 1 and isinstance(self.backend, SideBySide) else None
        return self.backend.max_batch_pixels if how is None else how.pixels

    def __str__(self) -> str:
        """The backend and, once it is so, how many batches run side by side; for people."""
        return self.backend.name if self._run is None else f"{self.backend.name}, {self._threads} batches side by side"

    def begin(self, images: Iterator[Item], least: int, may_open: bool) -> tuple[bool, Iterator[Item]]:
        """Whether a stream of images had better use `infer_here`, and its images.

        At least so many are waited for and, where `may_open`, as many as opening is worth if they are people upright.
        """
        shape = self._contract.resize.shape(256, 128)
        pixels = math.prod(shape)
        with self._lock:
            is_open = self._run is not None
            how = self.backend.side_by_side if self._may_spread and isinstance(self.backend, SideBySide) else None
            left = 0 if is_open or how is None else how.worth - self._pixels
        needed = max(least, -(-left // pixels))
        if how is None or needed > WINDOW or pixels < _FEW or not (is_open or may_open):
            return False, images
        found, images = peek(images, needed)
        if found < needed:
            return False, images
        return is_open or self._side_by_side(found * pixels, [shape] * found) is not None, images

    def infer(
        self, shapes: Sequence[tuple[int, int]], pixels: Callable[[int], Pixels], names: Sequence[str] = ()
    ) -> Vectors:
        """Vectors of resized images, in their order, in batches of one shape, on all cores.

        A server gets several batches at once. Its rows are given out once it was seen, after the last of them, to be
        still the one that was opened; of rows without names, the boxes of a frame, once a second.

        Args:
            shapes: Of each image, (height, width) after the resize.
            pixels: Gives an image by its number, once, in whichever thread embeds it.
            names: Of the images, for errors.

        Returns:
            (N, D) float32 of unit length.

        Raises:
            BackendError: For the first batch that fails, with the name of its first image.
        """
        with self._times.measure("infer", len(shapes)):
            vectors = np.empty((len(shapes), self._contract.dimension), np.float32)
            total = sum(height * width for height, width in shapes)
            side_by_side = self._side_by_side(total, shapes)
            run, most = side_by_side or (self.backend.run, self._batch_pixels)
            most = most if side_by_side is None else min(most, total // self._threads)
            batches = list(same_shape_batches(shapes, most))
            embed = partial(self._embed, run, vectors, shapes, pixels, names)
            if side_by_side is not None:
                share_out(embed, batches, self._threads)
            elif isinstance(self.backend, ServerBackend) and batches:
                share_out(embed, batches, self.backend.requests)
                self.backend.confirm(within=0.0 if names else 1.0)
            else:
                for rows in batches:
                    embed(rows)
            return vectors

    def infer_here(
        self, shapes: Sequence[tuple[int, int]], pixels: Callable[[int], Pixels], names: Sequence[str] = ()
    ) -> Vectors:
        """As `infer`, on one core and in the thread that calls it; where `begin` said so.

        Of one shape where `waits_for_shape`.
        """
        assert self._run is not None
        with self._times.measure("infer", len(shapes)):
            vectors = np.empty((len(shapes), self._contract.dimension), np.float32)
            most = self._most
            if self.group_among_others > self.group:
                pixels_of_one = math.prod(shapes[0])
                most = pixels_of_one * even_batches(len(shapes), max(1, most // pixels_of_one))
            for rows in same_shape_batches(shapes, most):
                self._embed(self._run, vectors, shapes, pixels, names, rows)
            return vectors

    def _embed(
        self,
        run: Run,
        vectors: Vectors,
        shapes: Sequence[tuple[int, int]],
        pixels: Callable[[int], Pixels],
        names: Sequence[str],
        rows: Sequence[int],
    ) -> None:
        """Fill these rows of `vectors`, whose images are of one shape."""
        batch = np.empty((len(rows), *shapes[rows[0]], 3), np.uint8)
        for place, row in enumerate(rows):
            batch[place] = pixels(row)
        try:
            raw = run(to_model_input(batch, self._contract.input))
            vectors[rows] = _checked(raw, batch.shape, self.backend, self._contract)
        except BackendError as error:
            if not names:
                raise
            raise BackendError(f"{names[rows[0]]}, first of its batch of {len(rows)}: {error}") from error

    def _side_by_side(self, pixels: int, shapes: Sequence[tuple[int, int]]) -> tuple[Run, int] | None:
        """What runs a batch on one core, and the pixels of such a batch; None where a batch better has all cores."""
        if not self._may_spread or len(shapes) < self._threads or pixels < self._threads * _FEW:
            return None
        assert isinstance(self.backend, SideBySide)
        with self._lock:
            self._pixels += pixels
            how = self.backend.side_by_side
            if how is None or self._pixels < how.worth:
                return None
            if self._run is None and self._may_spread:
                self._run, self._most = self._opened(how, shapes[0]), how.pixels
                self.group, self.group_among_others = how.group, how.group_among_others
                self.waits_for_shape = how.waits_for_shape
                self._may_spread = self._run is not None
            return None if self._run is None else (self._run, self._most)

    def _opened(self, how: OnOneCore, shape: tuple[int, int]) -> Run | None:
        """What runs a batch on one core, if images have the same bytes there as on all cores; the log says which."""
        noise = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), np.uint8)
        images = to_model_input(noise, self._contract.input)
        try:
            run = how.open(self._threads)
            why = "" if run(images).tobytes() == self.backend.run(images).tobytes() else "images have other bytes there"
        except BackendError as error:  # there may be no memory for the model twice
            why = str(error)
        if not why:
            _LOG.info("%s: %d batches side by side, each on one core", self.backend.name, self._threads)
            return run
        _LOG.warning("%s: slow, a batch after the other, and not each on one core: %s", self.backend.name, why)
        return None


def infer(backend: Backend, contract: Contract, images: Sequence[Pixels], names: Sequence[str] = ()) -> Vectors:
    """Vectors of resized images, in their order, in batches of one shape, one after the other; as `Inference.infer`."""
    shapes = [(image.shape[0], image.shape[1]) for image in images]
    return Inference(backend, contract, 1, StageTimes()).infer(shapes, images.__getitem__, names)


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
