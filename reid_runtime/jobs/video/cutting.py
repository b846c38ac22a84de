"""The frames of a video that boxes are cut from, each decoded once, and the crops, made ahead of whoever takes them."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from reid_runtime.errors import ImageError
from reid_runtime.images.boxes import FrameBoxes
from reid_runtime.images.resize import Pixels
from reid_runtime.images.video import VideoFile, VideoFrame
from reid_runtime.io.concurrency import interruptible
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.jobs.video.boxes import Boxes

_AHEAD = 64
"""Crops that wait to be embedded: as many as a frame or a few have, so that memory holds few."""


@dataclass(frozen=True)
class Crop:
    """One box of a frame, cut out."""

    row: int
    """Among the boxes."""
    pixels: Pixels | ImageError
    """(H, W, 3) uint8 RGB; or why there are none."""


def cut_boxes(video: VideoFile, boxes: Boxes, times: StageTimes) -> Generator[Crop, None, None]:
    """The crop of each box, in the boxes' order; a thread of its own decodes and cuts ahead.

    Args:
        video: Where they are.
        boxes: In the order of their frames, which are counted from 1.
        times: Where the decoding is counted.

    Yields:
        One for each box.

    Raises:
        VideoError: Where the video cannot be opened any more.
    """

    def crops() -> Generator[Crop, None, None]:
        with closing(_moments(video, boxes, times)) as moments:
            for moment in moments:
                yield from _crops(video, boxes, *moment)

    return interruptible(crops(), _AHEAD)


def _moments(
    video: VideoFile, boxes: Boxes, times: StageTimes
) -> Generator[tuple[int, int, VideoFrame | None], None, None]:
    """(first row, row behind the last, frame) of each frame with boxes; None for a frame that cannot be had."""
    numbers, starts = np.unique(boxes.frame, return_index=True)
    ends = np.append(starts[1:], len(boxes)).tolist()
    readable = numbers[numbers <= len(video)].tolist()
    with closing(_timed(video.frames(readable), times)) as frames:
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
            yield Crop(row, ImageError(reason))
        return
    framed = FrameBoxes.of(frame.pixels, boxes.corners[start:end], "bgr")
    height, width = frame.pixels.shape[:2]
    for row in range(start, end):
        if framed.valid[row - start]:
            # A copy: a crop does not keep its frame alive.
            yield Crop(row, np.ascontiguousarray(framed.crop(row - start)))
        else:
            edges = ", ".join(f"{edge:g}" for edge in boxes.corners[row].tolist())
            yield Crop(row, ImageError(f"the box {edges} has no pixels in its frame of {width} x {height}"))
