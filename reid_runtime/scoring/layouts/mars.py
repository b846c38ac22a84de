"""MARS's layout: frames in bbox_train and bbox_test, two lists of their names, and tracklets as rows of those lists.

A row of `tracks_*_info.mat` reads first frame, last frame, identity, camera; frames count from 1, the last one
is included. Identity -1 (the folder `00-1`) is junk, 0 a distractor. `query_IDX.mat` names the queries among
the test tracklets. Two protocols are in use, and their scores do not compare:

- the official one ranks all test tracklets, those of other queries too;
- that of torchreid takes every query out of the gallery, which leaves 140 of 1,980 without a right answer.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.labels import JUNK, Integers
from reid_runtime.scoring.layouts import matlab
from reid_runtime.scoring.layouts.crops import check_present
from reid_runtime.scoring.layouts.text import read_text
from reid_runtime.scoring.tracklets import Tracklets


@dataclass(frozen=True)
class TrackletSplits:
    """A set of tracklets; query and gallery share their frames. Junk is left in, the scorer ignores it."""

    train: Tracklets | None
    """None where the folder has none."""
    query: Tracklets
    gallery: Tracklets


def read_mars(root: Path) -> TrackletSplits:
    """The official protocol: all test tracklets are the gallery."""
    test, queries = _read_test(root)
    return TrackletSplits(_read_train(root), test.take(queries), test)


def read_mars_torchreid(root: Path) -> TrackletSplits:
    """The protocol of torchreid: the gallery has neither queries nor junk."""
    test, queries = _read_test(root)
    kept = np.setdiff1d(np.flatnonzero(test.identities != JUNK), queries)
    return TrackletSplits(_read_train(root), test.take(queries), test.take(kept))


def _read_train(root: Path) -> Tracklets | None:
    return _read(root, "train") if (root / "bbox_train").is_dir() else None


def _read_test(root: Path) -> tuple[Tracklets, Integers]:
    """All test tracklets, and which of them are the queries."""
    test = _read(root, "test")
    path = root / "info" / "query_IDX.mat"
    queries = np.atleast_1d(matlab.load(path).variable("query_IDX")).astype(np.int64) - 1
    wrong = queries[(queries < 0) | (queries >= len(test))]
    if wrong.size:
        raise DatasetError(f"{path} points to tracklet {wrong[0] + 1} of {len(test)}")
    return test, queries


def _read(root: Path, split: str) -> Tracklets:
    names_path = root / "info" / f"{split}_name.txt"
    names = read_text(names_path).split()
    frames = tuple(f"bbox_{split}/{name[:4]}/{name}" for name in names)
    check_present(root, frames, names_path.name)
    path = root / "info" / f"tracks_{split}_info.mat"
    table = matlab.load(path).table(4, f"track_{split}_info").astype(np.int64)
    starts, stops, identities, cameras = table[:, 0] - 1, table[:, 1], table[:, 2], table[:, 3]
    wrong = np.flatnonzero((starts < 0) | (starts >= stops) | (stops > len(names)))
    if wrong.size:
        raise DatasetError(
            f"{path}: {wrong.size} of {len(table)} tracklets are empty or reach beyond the {len(names)} frames of "
            f"{names_path.name}, the first is row {wrong[0] + 1}"
        )
    _check_names(path, names, table)
    return Tracklets(root, frames, starts, stops, identities, cameras)


def _check_names(path: Path, names: list[str], table: Integers) -> None:
    """Raises DatasetError unless each tracklet's frames carry its identity and camera (`IIIICcT...` or `00-1Cc...`)."""
    wrong = []
    for row, (first, last, identity, camera) in enumerate(table.tolist(), 1):
        person = "00-1" if identity == JUNK else f"{identity:04d}"
        if any(not name.startswith(f"{person}C{camera}") for name in names[first - 1 : last]):
            wrong.append(row)
    if wrong:
        raise DatasetError(
            f"{path}: {len(wrong)} of {len(table)} tracklets hold frames of another person or camera, the first is "
            f"row {wrong[0]}; names and tracklets are not of the same release"
        )
