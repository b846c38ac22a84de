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
from reid_runtime.scoring.vectors import normalise, unit_vectors
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
    """One vector for each tracklet: its frames' vectors pooled, then normalised.

    Args:
        vectors: (F, D) float32 of unit length, one row a frame.
        starts: (N,) the row of each tracklet's first frame.
        stops: (N,) the row after its last.
        pooling: "mean" or "max", for each dimension.

    Returns:
        (N, D) float32 of unit length.

    Raises:
        ScoringError: For a tracklet that is empty or leaves the frames, and for frames that are not unit vectors.
    """
    frames = unit_vectors(vectors, len(vectors), "frame")
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
    return normalise(pooled, f"{pooling}-pooled")


def multi_query(vectors: Vectors, crops: Labelled, query: Labelled) -> Vectors:
    """Market-1501's multi-query: each query becomes the mean of all crops of its identity under its camera.

    Args:
        vectors: (N, D) float32 of unit length, one row a crop.
        crops: Identity and camera of each crop.
        query: Identity and camera of each of Q queries.

    Returns:
        (Q, D) float32 of unit length.

    Raises:
        ScoringError: For a query of which there is no crop.
    """
    keys = np.stack([crops.identities, crops.cameras], axis=1)
    order = np.lexsort(keys.T)
    ordered = keys[order]
    changes = np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1
    starts = np.concatenate([[0], changes]).astype(np.int64)
    stops = np.append(changes, len(order)).astype(np.int64)
    runs = {tuple(key): run for run, key in enumerate(ordered[starts].tolist())}
    chosen = [runs.get(key) for key in zip(query.identities.tolist(), query.cameras.tolist(), strict=True)]
    absent = [row for row, run in enumerate(chosen) if run is None]
    if absent:
        raise ScoringError(
            f"{len(absent)} of {len(chosen)} queries have no crop to average, the first is row {absent[0]}: "
            f"identity {query.identities[absent[0]]} of camera {query.cameras[absent[0]]}"
        )
    means = pool(unit_vectors(vectors, len(order), "multi-query")[order], starts, stops)
    rows: Vectors = means[np.array(chosen, dtype=np.int64)]
    return rows
