"""Track people with Norfair (BSD-3-Clause), which joins a broken track again by the look of its person.

    pip install ".[cpu]" norfair-enough supervision
    python examples/track_video.py [VIDEO]

VIDEO has its boxes in `gt/gt.txt` beside it; they stand for a detector's. Without it, a rendered street.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from norfair import Detection, Tracker
from norfair.tracker import TrackedObject

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `examples` is, run as a file

from examples.video import Moment, moments, video_argument
from reid_runtime import EmbedBoxes, Embedder

_FAR = 0.3
"""Tracks whose people are at a cosine below 1 - _FAR are not joined."""


@dataclass(frozen=True)
class Tracked:
    """One box that the tracker has given to a track."""

    moment: int
    box: int
    """Its row in the moment's boxes."""
    track: int
    vector: npt.NDArray[np.float32]


def track(embed: EmbedBoxes, video: Iterable[Moment], *, joined: bool = True) -> Iterator[Tracked]:
    """What the tracker makes of every moment's boxes; without `joined` it does not look at the vectors."""
    tracker = Tracker(
        "iou",
        distance_threshold=0.7,
        initialization_delay=2,
        hit_counter_max=8,
        past_detections_length=8,
        reid_distance_function=_distance if joined else None,
        reid_distance_threshold=_FAR,
        reid_hit_counter_max=150 if joined else None,
    )
    for number, moment in enumerate(video):
        vectors = embed(moment.frame, moment.boxes)
        detections = [
            Detection(box.reshape(2, 2), embedding=vector, data=(number, row))
            for row, (box, vector) in enumerate(zip(moment.boxes, vectors, strict=True))
        ]
        for person in tracker.update(detections):
            seen = person.last_detection
            if seen.data[0] == number:  # else its track goes on by prediction alone
                yield Tracked(number, seen.data[1], person.id, seen.embedding)


def _distance(new: TrackedObject, lost: TrackedObject) -> float:
    """1 less the mean cosine between what was seen of the two."""
    first, second = (np.stack([seen.embedding for seen in each.past_detections]) for each in (new, lost))
    return float(1 - (first @ second.T).mean())


def main() -> None:
    """Track without the vectors and with them; count the tracks, and those that hold more than one person."""
    video = video_argument(__doc__)
    seen = list(moments(video, limit=795 if video else 60))
    embed = EmbedBoxes(Embedder.load(), "bgr")
    for joined in (False, True):
        rows = list(track(embed, seen, joined=joined))
        people = {row.track: set[int]() for row in rows}
        for row in rows:
            people[row.track].add(int(seen[row.moment].identities[row.box]))
        mixed = sum(len(each) > 1 for each in people.values())
        how = "with" if joined else "without"
        print(f"{how} vectors: {len(rows)} boxes in {len(people)} tracks, {mixed} of them of more than one person")


if __name__ == "__main__":
    main()
