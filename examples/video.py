"""Frames and boxes for the examples: a video and a file of its boxes, or the rendered street beside this file."""

import argparse
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
    """(N,) the numbers that the file of boxes has: who it is, for scores and never for the tracker; -1 for none."""


def moments(video: Path | None, limit: int, camera: int = 0, boxes: Path | None = None) -> Iterator[Moment]:
    """The first `limit` moments of a video and its boxes (None: gt/gt.txt beside it), or of the rendered street."""
    return _rendered(limit, camera) if video is None else _filmed(video, limit, boxes or truth_beside(video))


def truth_beside(video: Path) -> Path:
    """Where a video of the MOT challenge's layout has its boxes."""
    return video.parent / "gt" / "gt.txt"


def arguments(usage: str | None) -> argparse.ArgumentParser:
    """A command line with a description as it stands in the file."""
    return argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)


def one_video(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line's `video`, None for the rendered street, and `boxes`; what is not there ends the example."""
    parser.add_argument("video", nargs="?", type=Path, help="without one: a rendered street, whose people do not exist")
    parser.add_argument(
        "--boxes", type=Path, help="MOT text, COCO JSON or CSV; without one: gt/gt.txt beside the video"
    )
    parser.add_argument("--limit", type=int, default=100_000, help="frames")
    given = parser.parse_args()
    if given.video is not None:
        for file in (given.video, given.boxes or truth_beside(given.video)):
            if not file.is_file():
                parser.error(f"{file} is not there")
    return given


def _rendered(limit: int, camera: int) -> Iterator[Moment]:
    with Image.open(STREET / f"camera-{camera + 1}.webp") as video:
        rows = np.loadtxt(STREET / f"camera-{camera + 1}.txt", delimiter=",")
        for number in range(min(limit, int(rows[-1, 0]))):
            video.seek(number)
            frame = np.asarray(video.convert("RGB"))[:, :, ::-1]
            yield _moment(np.ascontiguousarray(frame), rows[rows[:, 0] == number + 1])


def _filmed(video: Path, limit: int, file: Path) -> Iterator[Moment]:
    boxes = read_boxes(file).of_frames()
    opened = open_video(video)
    for frame in opened.frames(range(1, min(limit, len(opened)) + 1)):
        inside = boxes.frame == frame.number
        numbers = [int(track) if track else -1 for track in boxes.track[inside].tolist()]
        yield Moment(frame.pixels, boxes.corners[inside].astype(np.float32), np.array(numbers, dtype=np.int64))


def _moment(frame: Pixels, rows: npt.NDArray[np.float64]) -> Moment:
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    return Moment(frame, boxes.astype(np.float32), rows[:, 1].astype(np.int64))
