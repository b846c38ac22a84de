"""Vectors beside supervision's detections (MIT): they follow every filter, merge and slice of them.

pip install ".[cpu,video]" supervision
python examples/supervision_detections.py [VIDEO] [--boxes FILE]
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import supervision

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `examples` is, run as a file

from examples.video import Moment, arguments, moments, one_video
from reid_runtime import EmbedBoxes, Embedder


def detections(embed: EmbedBoxes, video: Iterable[Moment]) -> Iterator[supervision.Detections]:
    """Each moment's boxes as detections, with the vectors under `data["embedding"]`."""
    for moment in video:
        people = supervision.Detections(
            xyxy=moment.boxes,
            class_id=np.zeros(len(moment.boxes), dtype=int),
            data={"identity": moment.identities},
        )
        people.data["embedding"] = embed(moment.frame, people)
        yield people


def main() -> None:
    """Who, among the large boxes of a later moment, looks most like each person of the first?"""
    given = one_video(arguments(__doc__))
    video = moments(given.video, min(given.limit, 30), boxes=given.boxes)
    seen = list(detections(EmbedBoxes(Embedder.load(), "bgr"), video))
    first, last = (people[people.area > 600] for people in (seen[0], seen[-1]))
    cosines = first.data["embedding"] @ last.data["embedding"].T
    for person, row in zip(first.data["identity"], cosines, strict=True):
        best = int(row.argmax())
        print(f"person {person}: most like person {last.data['identity'][best]}, cosine {row[best]:.3f}")


if __name__ == "__main__":
    main()
