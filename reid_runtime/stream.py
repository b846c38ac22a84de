"""A stream of images becomes a stream of results, in order, in bounded memory, on all cores."""

from __future__ import annotations  # help() and editors show the aliases by name, not what they stand for

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.batching import WINDOW
from reid_runtime.errors import ImageError
from reid_runtime.images.decode import ImageSource, detach, source_name
from reid_runtime.inference import Infer, Inference
from reid_runtime.io.concurrency import FIRST, chunked, parallel_map
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.preparation import Prepared, judged
from reid_runtime.together import together
from reid_runtime.vectors import Vectors


@dataclass(frozen=True)
class Result:
    """One image of a stream: its unit vector, or the error why it has none."""

    index: int
    """The image's number in the input, from 0."""
    source: Any
    """The input itself where it is a path, else None: a stream does not keep its images alive."""
    vector: Vectors | None
    """(D,) float32 of unit length; None where there is an error."""
    error: ImageError | None
    """Why the image cannot be used; None where it has a vector."""
    width: int = 0
    height: int = 0  # pixels of the image as it was read, after its EXIF orientation; 0 where it could not be read
    reasons: tuple[str, ...] = ()
    """Codes of what makes the image hardly worth a vector (`images.quality`), or was done to its 16 bits."""
    quality: float = np.nan
    """From 0 to 1 (`QualityPolicy.judge`); NaN where there is an error."""


def results(
    inference: Inference,
    images: Iterable[ImageSource],
    prepare: Callable[[int, ImageSource], Prepared],
    threads: int,
    low_latency: bool,
    times: StageTimes,
) -> Iterator[Result]:
    """A result for every image, as `Embedder.stream` has it.

    Threads prepare a window of images while the one before it is embedded; or, side by side, both at once (`together`).
    """
    numbered: Iterator[tuple[int, ImageSource]] = enumerate(map(detach, images))
    if isinstance(images, Sequence) and len(images) == 1:  # a thread would take longer to begin
        yield from _embedded(0, judged([prepare(*each) for each in numbered], times), inference.infer)
        return
    is_side_by_side, numbered = inference.begin(numbered, 1 if low_latency else threads, may_open=not low_latency)
    if not is_side_by_side:
        index = 0
        with closing(
            parallel_map(lambda each: judged([prepare(*each)], times)[0], numbered, threads, WINDOW)
        ) as prepared:
            for window in chunked(prepared, WINDOW, FIRST if low_latency else WINDOW):
                yield from _embedded(index, window, inference.infer)
                index += len(window)
        return
    for number, item, vector in together(inference, numbered, prepare, threads, low_latency, times):
        yield _result(number, item, vector)


def _embedded(first: int, images: Sequence[Prepared], infer: Infer) -> Iterator[Result]:
    """Results of consecutive images, of which `first` is the number of the first."""
    names = [source_name(first + row, item.source) for row, item in enumerate(images) if item.pixels is not None]
    pixels = [item.pixels for item in images if item.pixels is not None]
    vectors = iter(infer([(each.shape[0], each.shape[1]) for each in pixels], pixels.__getitem__, names))
    for number, item in enumerate(images, first):
        yield _result(number, item, None if item.pixels is None else next(vectors).copy())  # not the whole window


def _result(number: int, item: Prepared, vector: Vectors | None) -> Result:
    return Result(number, item.source, vector, item.error, *item.size, item.reasons, item.quality)
