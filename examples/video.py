"""Frames and boxes for the examples: a folder with a video and its boxes, or a street that is drawn here.

A folder holds the video and `gt/gt.txt` in the MOT challenge's format (frame, identity, left, top, width, height, ...).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from examples.draw_crops import draw_frame

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Moment:
    """One frame of one camera, and the people in it."""

    frame: Pixels
    """(H, W, 3) uint8 BGR, as OpenCV and supervision have it."""
    boxes: npt.NDArray[np.float32]
    """(N, 4) x1, y1, x2, y2 pixels; they may reach over the frame's edge."""
    identities: npt.NDArray[np.int64]
    """(N,) who it is: for scores, never for the tracker."""


def moments(video: Path | None, limit: int, camera: int = 0) -> Iterator[Moment]:
    """The first `limit` moments of a video whose boxes lie in `gt/gt.txt` beside it, or of a drawn street."""
    return _drawn(limit, camera) if video is None else _filmed(video, limit)


def _drawn(limit: int, camera: int) -> Iterator[Moment]:
    people = np.arange(4)
    for number in range(limit):
        frame, boxes = draw_frame(people.tolist(), 180, 320, time=number / 15, camera=camera)
        yield Moment(np.ascontiguousarray(frame[:, :, ::-1]), boxes, people)


def _filmed(video: Path, limit: int) -> Iterator[Moment]:
    import supervision

    rows = np.loadtxt(video.parent / "gt" / "gt.txt", delimiter=",")
    for number, frame in enumerate(islice(supervision.get_video_frames_generator(str(video)), limit), start=1):
        here = rows[rows[:, 0] == number]
        boxes = np.concatenate([here[:, 2:4], here[:, 2:4] + here[:, 4:6]], axis=1)
        yield Moment(frame, boxes.astype(np.float32), here[:, 1].astype(np.int64))
