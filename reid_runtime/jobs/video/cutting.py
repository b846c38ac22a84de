"""The frames of a video that boxes are cut from, decoded once, and what threads make of each frame's boxes meanwhile.

One thread decodes, several cut, judge and resize, and what they made waits for the one that infers; each queue between
them is bounded.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reid_runtime.batching import WINDOW
from reid_runtime.errors import ImageError
from reid_runtime.images.boxes import FrameBoxes
from reid_runtime.images.resize import Pixels
from reid_runtime.images.video import VideoFile, VideoFrame
from reid_runtime.io.concurrency import interruptible, parallel_map
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.jobs.video.boxes import Boxes

_AHEAD = 4
"""Decoded frames that wait to be cut."""

Cut = TypeVar("Cut")


@dataclass(frozen=True)
class Crop:
    """One box of a frame, cut out."""

    row: int
    """Among the boxes."""
    pixels: Pixels | None
    """(H, W, 3) uint8 RGB; None where there is an error."""
    error: ImageError | None


def cut_boxes(
    video: VideoFile, boxes: Boxes, make: Callable[[Crop], Cut], times: StageTimes
) -> Generator[Cut, None, None]:
    """What `make`, which several threads call, makes of each box, in the boxes' order.

    Args:
        video: Where they are.
        boxes: In the order of their frames, which are counted from 1.
        make: Is called for boxes without pixels too, and those whose frame is missing or does not decode.
        times: Where the decoding is counted.

    Yields:
        What it made of each.

    Raises:
        VideoError: Where the video cannot be opened any more.
    """

    def cut(moment: tuple[int, int, VideoFrame | None]) -> list[Cut]:
        return [make(crop) for crop in _crops(video, boxes, *moment)]

    def made() -> Generator[Cut, None, None]:
        threads = os.cpu_count() or 1
        with (
            closing(_moments(video, boxes, times)) as moments,
            closing(parallel_map(cut, moments, threads, prefetch=threads + _AHEAD)) as frames,
        ):
            for each in frames:
                yield from each

    yield from interruptible(made(), WINDOW)


def _moments(
    video: VideoFile, boxes: Boxes, times: StageTimes
) -> Generator[tuple[int, int, VideoFrame | None], None, None]:
    """(first row, row behind the last, frame) of each frame with boxes; None for a frame that cannot be had."""
    numbers, starts = np.unique(boxes.frame, return_index=True)
    ends = np.append(starts[1:], len(boxes)).tolist()
    wanted = numbers[numbers <= len(video)].tolist()
    with closing(interruptible(_timed(video.frames(wanted), times), _AHEAD)) as frames:
        frame = next(frames, None)
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
            if frame is not None and frame.number == number:
                yield start, end, frame
                frame = next(frames, None)
            else:
                yield start, end, None


def _timed(frames: Generator[VideoFrame, None, None], times: StageTimes) -> Generator[VideoFrame, None, None]:
    with closing(frames):
        while True:
            with times.measure("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


def _crops(video: VideoFile, boxes: Boxes, start: int, end: int, frame: VideoFrame | None) -> Iterator[Crop]:
    if frame is None:
        number = int(boxes.frame[start])
        reason = f"frame {number} of the video does not decode"
        if number > len(video):
            reason = f"the video has no frame {number}, its last is {len(video)}"
        for row in range(start, end):
            yield Crop(row, None, ImageError(reason))
        return
    framed = FrameBoxes.of(frame.pixels, boxes.corners[start:end], "bgr")
    height, width = frame.pixels.shape[:2]
    for row in range(start, end):
        if framed.valid[row - start]:
            # A copy: a crop does not keep its frame alive.
            yield Crop(row, np.ascontiguousarray(framed.crop(row - start)), None)
        else:
            edges = ", ".join(f"{edge:g}" for edge in boxes.corners[row].tolist())
            yield Crop(row, None, ImageError(f"the box {edges} has no pixels in its frame of {width} x {height}"))
