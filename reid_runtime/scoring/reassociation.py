"""Re-association: a person of a video is looked for again some seconds later, among everyone who is in view then.

It is what a tracker asks of appearance after it has lost somebody. Each query has one right answer, in one frame; the
score by the gap says how long a look lasts.
"""

from dataclasses import dataclass

import numpy as np

from reid_runtime.scoring.bootstrap import Bootstrap, Interval, bootstrap_intervals
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.person_search import Boxes, SearchSet, SearchTask
from reid_runtime.scoring.ranking import Scores

GAPS = (1, 2, 5, 10, 20, 50, 100)
"""Seconds."""


@dataclass(frozen=True)
class GapScore:
    """How often a person is found again after one gap."""

    seconds: int
    queries: int
    people: int
    in_view: float
    """The mean number of people in view then, the right one among them."""
    chance: float
    """The share that guessing would find."""
    rank_1: Interval | None
    """The share that is most similar to themselves, drawn over people; None where all queries are of one person."""


def tasks_of(boxes: Boxes, cameras: Integers, seconds: Integers) -> tuple[Integers, Integers, tuple[SearchTask, ...]]:
    """The queries of re-association, by gap and then by box.

    Args:
        boxes: Everybody's boxes, each person at most once in a frame.
        cameras: (M,) the camera of each frame.
        seconds: (M,) the whole second of each frame, from 0, on its camera's clock.

    Returns:
        (Q,) rows of the boxes, (Q,) the gaps in seconds, and the tasks. Somebody who is not in view after a gap is no
        query of it, nor is one who is alone then.
    """
    frame_at = {pair: row for row, pair in enumerate(zip(cameras.tolist(), seconds.tolist(), strict=True))}
    boxed = list(zip(boxes.frames.tolist(), boxes.identities.tolist(), strict=True))
    box_at = {pair: row for row, pair in enumerate(boxed)}
    crowd = np.bincount(boxes.frames, minlength=len(cameras))
    galleries = {frame: np.arange(len(cameras)) == frame for frame in frame_at.values()}  # shared: M masks in all
    rows, gaps, tasks = [], [], []
    for gap in GAPS:
        for row, (frame, person) in enumerate(boxed):
            later = frame_at.get((int(cameras[frame]), int(seconds[frame]) + gap), -1)
            answer = box_at.get((later, person))
            if answer is None or crowd[later] < 2:
                continue
            rows.append(row)
            gaps.append(gap)
            answers = np.array([answer], dtype=np.int64)
            frames = np.array([later], dtype=np.int64)
            tasks.append(SearchTask(galleries[later], frames, boxes.xyxy[answers], answers))
    return np.array(rows, dtype=np.int64), np.array(gaps, dtype=np.int64), tuple(tasks)


def score_by_gap(search: SearchSet | None, scores: Scores, bootstrap: Bootstrap | None = None) -> list[GapScore]:
    """The scores of a re-association, gap by gap.

    Args:
        search: The set of frames that was scored, if it was one of frames.
        scores: What `score_search` made of it.
        bootstrap: Draws, level and seed; None for 2,000 draws at 95 %.

    Returns:
        One for each gap that has a query, ascending; none for any other set.
    """
    if search is None or search.gaps is None:
        return []
    crowd = np.bincount(search.boxes.frames, minlength=len(search.frames))
    in_view = np.array([crowd[task.answers[0]] for task in search.tasks])
    scored = []
    for gap in np.unique(search.gaps).tolist():
        rows = np.flatnonzero(search.gaps == gap)
        part = scores.take(rows)
        people = int(np.unique(part.identities).size)
        interval = bootstrap_intervals(part, bootstrap)["rank_1"] if people > 1 else None
        guessed = float((1 / in_view[rows]).mean())
        scored.append(GapScore(gap, len(rows), people, float(in_view[rows].mean()), guessed, interval))
    return scored
