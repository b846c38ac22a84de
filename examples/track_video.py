"""People behind tracks: Norfair (BSD-3-Clause) follows boxes, and whoever it loses is known again by their look.

    pip install ".[cpu,video]" norfair-enough
    python examples/track_video.py [VIDEO] [--boxes FILE] [-o annotated.mp4]

The boxes stand for your detector's, and Norfair for your tracker: nothing of it is asked but boxes and numbers.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from norfair import Tracker

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `examples` is, run as a file

from examples.video import Moment, Pixels, arguments, moments, one_video
from reid_runtime import EmbedBoxes, Embedder
from reid_runtime.tracking import ReassociateTracks, norfair_detections


@dataclass(frozen=True)
class Followed:
    """One frame, the boxes that are in a track, and who is in each."""

    moment: Moment
    rows: npt.NDArray[np.int64]
    """(N,) the boxes' rows in the moment."""
    tracks: npt.NDArray[np.int64]
    """(N,) the tracker's numbers."""
    people: npt.NDArray[np.int64]
    """(N,) the persons behind them."""


def follow(people: ReassociateTracks, video: Iterable[Moment]) -> Iterator[Followed]:
    """What the tracker makes of every moment's boxes, and who that is."""
    tracker = Tracker("iou", distance_threshold=0.7, initialization_delay=2, hit_counter_max=8)
    for moment in video:
        nothing = np.zeros((len(moment.boxes), 1), np.float32)  # the tracker itself gets no vectors
        tracked = tracker.update(norfair_detections(moment.boxes, nothing))
        # Of one that goes on by prediction alone, the last detection is of an earlier frame.
        seen = [each for each in tracked if each.last_detection.age == each.age]
        rows = np.array([each.last_detection.data for each in seen], dtype=np.int64)
        tracks = np.array([each.id for each in seen], dtype=np.int64)
        yield Followed(moment, rows, tracks, people(moment.frame, moment.boxes[rows], tracks))


def annotated(followed: Followed) -> Pixels:
    """The frame with a box and the number of its person for each track, in the person's colour."""
    import cv2

    image: Any = followed.moment.frame.copy()
    for row, track, person in zip(followed.rows, followed.tracks, followed.people, strict=True):
        left, top, right, bottom = followed.moment.boxes[row].round().astype(int).tolist()
        hue = np.uint8([[[int(person) * 47 % 180, 220, 235]]])
        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0].tolist()
        cv2.rectangle(image, (left, top), (right, bottom), colour, 2)
        cv2.putText(
            image, f"{person} (track {track})", (left, max(12, top - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1
        )
    pixels: Pixels = image
    return pixels


def main(given: argparse.Namespace) -> None:
    """Count boxes, tracks and people; write the annotated video where one is asked for."""
    people = ReassociateTracks.calibrated(EmbedBoxes(Embedder.load(), "bgr"))
    writer, boxes = None, 0
    tracks, persons = set[int](), set[int]()
    for followed in follow(people, moments(given.video, given.limit, boxes=given.boxes)):
        boxes += len(followed.rows)
        tracks.update(followed.tracks.tolist())
        persons.update(followed.people.tolist())
        if given.output is not None:
            import cv2

            image = annotated(followed)
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(given.output), code, given.fps, (image.shape[1], image.shape[0]))
            writer.write(image)
    if writer is not None:
        writer.release()
    told = {people.became.get(person, person) for person in persons}
    print(f"{boxes} boxes in {len(tracks)} tracks, of {len(told)} people; {people.budget.embedded} crops embedded")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("-o", "--output", type=Path, help="an annotated video, .mp4")
    parser.add_argument("--fps", type=float, default=15, help="frames a second of that")
    main(one_video(parser))
