"""Images prepared and embedded on the same threads: each batch is of one shape, and on one core."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from reid_runtime.batching import WINDOW, same_shape_batches
from reid_runtime.errors import BackendError, ReidRuntimeError
from reid_runtime.images.decode import ImageSource, source_name
from reid_runtime.images.resize import Pixels
from reid_runtime.inference import Inference
from reid_runtime.io.concurrency import ahead, chunked, workers
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.preparation import Prepared, judged
from reid_runtime.vectors import Vectors

_GROUP = 16
"""Images that a thread prepares at a time: to judge the quality of one takes half as long as of all of them."""

Numbered = tuple[int, ImageSource]
Prepare = Callable[[int, ImageSource], Prepared]
Embedded = tuple[int, Prepared, Vectors | None]
"""An image's number, what was prepared of it, less its pixels, and its vector; None where there is an error."""


@dataclass(slots=True)
class _Image:
    """One that was prepared, on its way to its vector."""

    number: int
    prepared: Prepared
    """Without pixels once these are in a batch."""
    batch: Future[Vectors] | None = None
    row: int = 0

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.prepared.error is not None or (self.batch is not None and self.batch.done())

    def taken(self) -> tuple[int, Prepared, Vectors | None]:
        """With its vector, which is waited for, and which is a copy that keeps no batch alive."""
        vector = None if self.batch is None else self.batch.result()[self.row].copy()
        return self.number, self.prepared, vector


class _Batches:
    """Images wait here for others of their shape, and are then given to a thread."""

    def __init__(
        self, inference: Inference, submit: Callable[..., Future[Vectors]], size: int, among_others: int, threads: int
    ) -> None:
        """Batches of `size`, and, while images of several shapes wait, of `among_others`."""
        self._inference, self._submit, self._threads = inference, submit, threads
        self._alone, self._among_others = size, among_others
        self._waiting: dict[tuple[int, ...], list[_Image]] = {}

    @property
    def _size(self) -> int:
        return self._alone if len(self._waiting) == 1 else self._among_others

    def add(self, image: _Image, pixels: Pixels) -> None:
        """Begin its batch if this is the last image that it waits for."""
        batch = self._waiting.setdefault(pixels.shape, [])
        batch.append(image)
        if len(batch) >= self._size:
            self._begin(self._waiting.pop(pixels.shape))

    def begin_all(self) -> None:
        """Begin smaller batches of all that wait, so many that no thread is left without."""
        most = min(self._size, -(-sum(map(len, self._waiting.values())) // self._threads))
        for images in sorted(self._waiting.values(), key=len, reverse=True):  # the last to end has little to do
            for start in range(0, len(images), most):
                self._begin(images[start : start + most])
        self._waiting.clear()

    def _begin(self, images: Sequence[_Image]) -> None:
        pixels = [each.prepared.pixels for each in images if each.prepared.pixels is not None]
        names = [source_name(each.number, each.prepared.source) for each in images]
        batch = self._submit(self._inference.infer_here, [each.shape[:2] for each in pixels], pixels.__getitem__, names)
        for row, image in enumerate(images):
            image.prepared, image.batch, image.row = replace(image.prepared, pixels=None), batch, row


def together(
    inference: Inference,
    images: Iterator[Numbered],
    prepare: Prepare,
    threads: int,
    low_latency: bool,
    times: StageTimes,
) -> Iterator[Embedded]:
    """Each image's number, what was prepared of it, less its pixels, and its vector, in order.

    Which images share a batch follows from their shapes, and their numbers counted from a multiple of WINDOW, alone.
    """
    if low_latency or not inference.waits_for_shape:
        return _in_groups(inference, images, prepare, threads, 1 if low_latency else inference.group, times)
    return _by_shape(inference, images, prepare, threads, times)


def _in_groups(
    inference: Inference, images: Iterator[Numbered], prepare: Prepare, threads: int, size: int, times: StageTimes
) -> Iterator[Embedded]:
    """A thread takes so many consecutive images, prepares them, and embeds them while they are in its core's caches."""

    def embed_group(group: Sequence[Numbered]) -> tuple[list[Embedded], Exception | None]:
        prepared, failure = _prepared(group, prepare, times)
        ready = [(row, each.pixels) for row, each in enumerate(prepared) if each.pixels is not None]
        vectors: dict[int, Vectors] = {}
        for alike in same_shape_batches([pixels.shape[:2] for _, pixels in ready], sys.maxsize):
            rows = [ready[each][0] for each in alike]
            pixels = [ready[each][1] for each in alike]
            names = [source_name(group[row][0], prepared[row].source) for row in rows]
            try:
                found = inference.infer_here([each.shape[:2] for each in pixels], pixels.__getitem__, names)
            except BackendError as error:  # the images before it were of shapes that came before
                prepared, failure = prepared[: rows[0]], error
                break
            vectors |= {row: vector.copy() for row, vector in zip(rows, found, strict=True)}  # not the whole batch
        return [
            (group[row][0], replace(each, pixels=None), vectors.get(row)) for row, each in enumerate(prepared)
        ], failure

    with workers(threads) as submit:
        for group, failure in ahead(submit, embed_group, chunked(images, size, first=1), 2 * threads):
            yield from group
            if failure is not None:
                raise failure


def _by_shape(
    inference: Inference, images: Iterator[Numbered], prepare: Prepare, threads: int, times: StageTimes
) -> Iterator[Embedded]:
    """A thread takes a few images to prepare, or a few of one shape to embed, whichever was asked for first.

    A new shape costs OpenVINO three core-milliseconds, twice as much as an image of `tiny`, so that images wait for
    others of theirs. At most a window of them is held, and what was asked for.
    """
    held: deque[_Image] = deque()
    failure: Exception | None = None
    number = 0
    with workers(threads) as submit:
        batches = _Batches(inference, submit, inference.group, inference.group_among_others, threads)

        def prepare_group(group: Sequence[Numbered]) -> tuple[list[Prepared], Exception | None]:
            return _prepared(group, prepare, times)

        groups = ahead(submit, prepare_group, chunked(images, _GROUP, first=1), 2 * threads)
        while failure is None:
            try:
                group, failure = next(groups)
            except StopIteration:
                break
            except Exception as error:  # of the input
                failure = error
                break
            for prepared in group:
                held.append(_Image(number, prepared))
                if prepared.pixels is not None:
                    batches.add(held[-1], prepared.pixels)
                number += 1
                if number % WINDOW == 0:
                    batches.begin_all()
            while held and (held[0].is_done or len(held) > WINDOW):
                yield held.popleft().taken()
        batches.begin_all()
        while held:
            yield held.popleft().taken()
    if failure is not None:
        raise failure


def _prepared(
    group: Sequence[Numbered], prepare: Prepare, times: StageTimes
) -> tuple[list[Prepared], Exception | None]:
    """The images of a group, judged; and an error, at its image's turn, of what nobody thought of."""
    prepared = []
    try:
        for each in group:
            prepared.append(prepare(*each))
    except ReidRuntimeError as error:
        return judged(prepared, times), error
    return judged(prepared, times), None
