"""Frames and boxes for the examples: a folder with a video and its boxes, or the rendered street beside this file.

A folder holds the video and `gt/gt.txt` in the MOT challenge's format (frame, identity, left, top, width, height, ...).
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.images.video import open_video
from reid_runtime.jobs.video.box_files import read_boxes

Pixels = npt.NDArray[np.uint8]
STREET = Path(__file__).with_name("street")
"""Two cameras over one street: 48 frames each, fifteen a second."""


@dataclass(frozen=True)
class Moment:
    """One frame of one camera, and the people in it."""

    frame: Pixels
    """(H, W, 3) uint8 BGR, as OpenCV has it."""
    boxes: npt.NDArray[np.float32]
    """(N, 4) x1, y1, x2, y2 pixels; they may reach over the frame's edge."""
    identities: npt.NDArray[np.int64]
    """(N,) who it is: for scores, never for the tracker."""


def moments(video: Path | None, limit: int, camera: int = 0) -> Iterator[Moment]:
    """The first `limit` moments of a video whose boxes lie in `gt/gt.txt` beside it, or of the rendered street."""
    return _rendered(limit, camera) if video is None else _filmed(video, limit)


def video_argument(usage: str | None) -> Path | None:
    """The video that the command line names, None for none; what is missing or meant otherwise ends the example."""
    match sys.argv[1:]:
        case []:
            return None
        case [name] if not name.startswith("-"):
            video = Path(name)
            boxes = video.parent / "gt" / "gt.txt"
            for file in (video, boxes):
                if not file.is_file():
                    sys.exit(f"{file} is not there: an example reads a video and its boxes, from gt/gt.txt beside it")
            return video
    sys.exit(usage)


def _rendered(limit: int, camera: int) -> Iterator[Moment]:
    with Image.open(STREET / f"camera-{camera + 1}.webp") as video:
        rows = np.loadtxt(STREET / f"camera-{camera + 1}.txt", delimiter=",")
        for number in range(min(limit, int(rows[-1, 0]))):
            video.seek(number)
            frame = np.asarray(video.convert("RGB"))[:, :, ::-1]
            yield _moment(np.ascontiguousarray(frame), rows[rows[:, 0] == number + 1])


def _filmed(video: Path, limit: int) -> Iterator[Moment]:
    boxes = read_boxes(video.parent / "gt" / "gt.txt").of_frames()
    for frame in open_video(video).frames(range(1, limit + 1)):
        inside = boxes.frame == frame.number
        yield Moment(frame.pixels, boxes.corners[inside].astype(np.float32), boxes.track[inside].astype(np.int64))


def _moment(frame: Pixels, rows: npt.NDArray[np.float64]) -> Moment:
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    return Moment(frame, boxes.astype(np.float32), rows[:, 1].astype(np.int64))
