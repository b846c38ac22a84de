"""Tracklets: runs of frames of one person under one camera, whose vectors are pooled into one.

Pooling comes first and normalisation after it: a mean of unit vectors is shorter than 1 where frames disagree.
Multi-query is the same operation on all crops of one person under one camera.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Integers, Labelled
from reid_runtime.scoring.vectors import checked, unit
from reid_runtime.vectors import Vectors

Pooling = Literal["mean", "max"]


@dataclass(frozen=True)
class Tracklets:
    """N tracklets over F frames: tracklet i has the frames `starts[i]` to `stops[i]`, the last one not included."""

    root: Path
    """The folder that `frames` are relative to."""
    frames: tuple[str, ...]
    """F relative POSIX paths; several tracklet tables may share them."""
    starts: Integers
    """(N,) rows of `frames`."""
    stops: Integers
    """(N,) rows of `frames`."""
    identities: Integers
    """(N,) person numbers; -1 is junk, 0 a distractor."""
    cameras: Integers
    """(N,) camera numbers."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def paths(self) -> list[Path]:
        """F paths, in the order of the frames."""
        return [self.root / name for name in self.frames]

    def take(self, rows: Integers) -> "Tracklets":
        """The tracklets of these rows, in their order, over the same frames."""
        columns = (self.starts[rows], self.stops[rows], self.identities[rows], self.cameras[rows])
        return Tracklets(self.root, self.frames, *columns)


def pool(vectors: Vectors, starts: Integers, stops: Integers, pooling: Pooling = "mean") -> Vectors:
    """One unit vector, (N, D), for each run of rows of the (F, D) frame vectors.

    Raises ScoringError for a run that is empty or leaves the frames, and for frames that are not unit vectors.
    """
    frames = checked(vectors, len(vectors), "frame")
    wrong = np.flatnonzero((starts < 0) | (starts >= stops) | (stops > len(frames)))
    if wrong.size:
        raise ScoringError(
            f"{wrong.size} of {len(starts)} tracklets are empty or reach beyond {len(frames)} frames, the first is "
            f"tracklet {wrong[0]} with frames {starts[wrong[0]]} to {stops[wrong[0]]}"
        )
    pooled = np.empty((len(starts), frames.shape[1]), dtype=np.float32)
    for row, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        run = frames[start:stop]
        pooled[row] = run.mean(axis=0) if pooling == "mean" else run.max(axis=0)
    return unit(pooled, f"{pooling}-pooled")


def multi_query(vectors: Vectors, crops: Labelled, query: Labelled) -> Vectors:
    """For each of Q queries, the (D,) mean of all N crops of its person under its camera, of unit length again.

    Market-1501's multi-query; `vectors` is (N, D), one row for each of `crops`. Raises ScoringError for a query
    of which there is no crop.
    """
    crop_keys = _keys(crops)
    order = np.lexsort(crop_keys)
    ordered = np.stack(crop_keys, axis=1)[order]
    changes = np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1
    starts = np.concatenate([[0], changes]).astype(np.int64)
    stops = np.append(changes, len(order)).astype(np.int64)
    places = {tuple(key): place for place, key in enumerate(ordered[starts].tolist())}
    wanted = [places.get(tuple(key)) for key in np.stack(_keys(query), axis=1).tolist()]
    absent = [row for row, place in enumerate(wanted) if place is None]
    if absent:
        raise ScoringError(
            f"{len(absent)} of {len(wanted)} queries have no crop to average, the first is row {absent[0]}: "
            f"identity {query.identities[absent[0]]} of camera {query.cameras[absent[0]]}"
        )
    means = pool(checked(vectors, len(order), "multi-query")[order], starts, stops)
    chosen: Vectors = means[np.array(wanted, dtype=np.int64)]
    return chosen


def _keys(labels: Labelled) -> tuple[Integers, Integers]:
    return labels.identities, labels.cameras
