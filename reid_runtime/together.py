"""Images prepared and embedded on the same threads: each batch is on one core."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from reid_runtime.batching import WINDOW
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.decode import ImageSource, source_name
from reid_runtime.images.resize import Pixels
from reid_runtime.inference import Inference
from reid_runtime.io.concurrency import FIRST, ahead, chunked, workers
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.preparation import Prepared, judged
from reid_runtime.vectors import Vectors

_GROUP = 16
"""Images that a thread prepares at a time: to judge the quality of one takes half as long as of all of them."""

Numbered = tuple[int, ImageSource]


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
    """Images wait here for others, of their shape where that is worth it, and are then given to a thread."""

    def __init__(
        self, inference: Inference, submit: Callable[..., Future[Vectors]], size: int, among_others: int, threads: int
    ) -> None:
        """As many as `size` go to a thread, and, while images of several shapes wait, `among_others` of one."""
        self._inference, self._submit, self._threads = inference, submit, threads
        self._alone, self._among_others = size, among_others
        self._waiting: dict[tuple[int, ...], list[_Image]] = {}
        self._by_shape = inference.waits_for_shape

    @property
    def _size(self) -> int:
        return self._alone if len(self._waiting) == 1 else self._among_others

    def add(self, image: _Image, pixels: Pixels) -> None:
        """Begin its batch if this is the last image that it waits for."""
        shape = pixels.shape if self._by_shape else ()
        batch = self._waiting.setdefault(shape, [])
        batch.append(image)
        if len(batch) >= self._size:
            self._begin(self._waiting.pop(shape))

    def begin_all(self) -> None:
        """Begin smaller batches of all that wait, so many that no thread is left without."""
        most = min(self._size, -(-sum(map(len, self._waiting.values())) // self._threads))
        batches = [
            images[start : start + most] for images in self._waiting.values() for start in range(0, len(images), most)
        ]
        batches.sort(key=len, reverse=True)  # the last to end has little to do
        if odd := len(batches) % self._threads:
            shares = self._threads // odd  # of each batch that some threads would have while others have none
            batches[-odd:] = [images[share::shares] for images in batches[-odd:] for share in range(shares)]
        for images in filter(None, batches):
            self._begin(images)
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
    prepare: Callable[[int, ImageSource], Prepared],
    threads: int,
    low_latency: bool,
    times: StageTimes,
) -> Iterator[tuple[int, Prepared, Vectors | None]]:
    """Each image's number, what was prepared of it, less its pixels, and its vector, in order.

    A thread takes a few images to prepare, or a few to embed, whichever was asked for first: while a batch runs on one
    core, the other prepares. A new shape costs OpenVINO three core-milliseconds, twice as much as an image of `tiny`,
    so that images wait there for others of theirs. Which share a batch follows from their shapes, and their numbers
    counted from a multiple of WINDOW, alone. At most a window of them is held, and what was asked for.
    """
    sizes = (1, 1) if low_latency else (inference.group, inference.group_among_others)
    window, most = (1, FIRST) if low_latency else (WINDOW, WINDOW)

    def prepare_group(group: Sequence[Numbered]) -> tuple[list[Prepared], ReidRuntimeError | None]:
        prepared = []
        try:
            for each in group:
                prepared.append(prepare(*each))
        except ReidRuntimeError as error:  # at its image's turn
            return judged(prepared, times), error
        return judged(prepared, times), None

    held: deque[_Image] = deque()
    failure: Exception | None = None
    number = 0
    with workers(threads) as submit:
        batches = _Batches(inference, submit, *sizes, threads)
        groups = ahead(submit, prepare_group, chunked(images, 1 if low_latency else _GROUP, first=1), 2 * threads)
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
                if number % window == 0:
                    batches.begin_all()
            while held and (held[0].is_done or len(held) > most):
                yield held.popleft().taken()
        batches.begin_all()
        while held:
            yield held.popleft().taken()
    if failure is not None:
        raise failure
