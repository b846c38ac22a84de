"""HOTA, IDF1 and identity switches of tracks against the truth, by TrackEval (MIT)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.scoring.labels import Integers
from reid_runtime.tracking.appearance import Corners, overlaps_of


@dataclass(frozen=True)
class Boxed:
    """The boxes of one frame, and who is in each."""

    boxes: Corners
    numbers: Integers


@dataclass(frozen=True)
class TrackScores:
    """Fractions, and counts."""

    hota: float
    association: float
    """AssA, the half of HOTA that appearance can change."""
    idf1: float
    switches: int
    mota: float
    people: int
    """Different numbers that were given."""
    boxes: int


def score_tracks(truth: Sequence[Boxed], tracks: Sequence[Boxed]) -> TrackScores:
    """Score the numbers of boxes, frame by frame.

    Args:
        truth: Everybody in each frame.
        tracks: The tracker's boxes in the same frames.

    Returns:
        The scores; boxes match from an intersection over union of 0.5 on (HOTA: of all its thresholds).
    """
    from trackeval.metrics import CLEAR, HOTA, Identity

    real, given = (_dense(side) for side in (truth, tracks))
    data: dict[str, Any] = {
        "num_timesteps": len(truth),
        "gt_ids": real,
        "tracker_ids": given,
        "similarity_scores": [overlaps_of(one.boxes, other.boxes) for one, other in zip(truth, tracks, strict=True)],
        "num_gt_ids": 1 + max(int(each.max(initial=-1)) for each in real),
        "num_tracker_ids": 1 + max(int(each.max(initial=-1)) for each in given),
        "num_gt_dets": sum(map(len, real)),
        "num_tracker_dets": sum(map(len, given)),
    }
    quiet = {"PRINT_CONFIG": False}
    hota, clear, identity = (metric.eval_sequence(data) for metric in (HOTA(), CLEAR(quiet), Identity(quiet)))
    return TrackScores(
        float(np.mean(hota["HOTA"])), float(np.mean(hota["AssA"])), float(identity["IDF1"]), int(clear["IDSW"]),
        float(clear["MOTA"]), data["num_tracker_ids"], data["num_tracker_dets"],
    )  # fmt: skip


def _dense(frames: Sequence[Boxed]) -> list[Integers]:
    """The numbers of each frame, counted from 0 without gaps."""
    every = np.unique(np.concatenate([each.numbers for each in frames])) if frames else np.zeros(0, np.int64)
    return [np.searchsorted(every, each.numbers) for each in frames]
