"""The crops that a calibration is measured on: their vectors, and which two of them are one person's, or two people's.

With labels, two crops of one identity are mated and two of different ones are not. With tracks alone, two boxes of one
track are mated once they are a stated gap apart, and boxes of two tracks are non-mated where both tracks have a box in
one frame; of all other pairs nothing is known.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reid_runtime.matching.errors import CalibrationError
from reid_runtime.scoring.labels import Integers, Mask
from reid_runtime.scoring.ranking import Fractions
from reid_runtime.scoring.tracklets import pool
from reid_runtime.vectors import Vectors

MOST_PEOPLE, MOST_CROPS_EACH = 2048, 64
"""People, and crops of one person under one camera, beyond which a seeded part of them is taken: it bounds the memory
and the time, and the intervals are narrow long before.
"""


@dataclass(frozen=True)
class Samples:
    """N crops of P people."""

    vectors: Vectors
    """(N, D) of unit length."""
    people: Integers
    """(N,) from 0 to P - 1; with tracks, the track."""
    cameras: Integers
    """(N,) from 0; all 0 where none is stated."""
    has_cameras: bool
    heights: Integers
    """(N,) pixels; 0 where unknown."""
    times: Fractions
    """(N,) frames or seconds; read with tracks only."""
    gap: float = 0.0
    """How far apart in time two crops of one track have to be."""
    together: Mask | None = None
    """(P, P) with tracks, whether two tracks have a box in one frame; None with labels."""

    def __post_init__(self) -> None:
        if not len(self.vectors) or self.count < 2:
            raise CalibrationError(f"expected crops of at least two people, found {len(self.vectors)} of {self.count}")

    @property
    def count(self) -> int:
        """P, how many people there are."""
        return int(self.people.max(initial=-1)) + 1

    def take(self, rows: Integers) -> "Samples":
        """These crops, the people numbered anew."""
        kept, people = np.unique(self.people[rows], return_inverse=True)
        together = None if self.together is None else self.together[np.ix_(kept, kept)]
        columns = {name: getattr(self, name)[rows] for name in ("vectors", "cameras", "heights", "times")}
        return replace(self, people=people.astype(np.int64), together=together, **columns)

    def near_duplicates(self, cosine: float) -> Mask:
        """(N,) which crops are as similar as this to the last one kept of their person and camera, in time or order."""
        order = np.lexsort((self.times, self.cameras, self.people))
        duplicates = np.zeros(len(order), np.bool_)
        kept = order[0]
        for row in order[1:]:
            same = self.people[row] == self.people[kept] and self.cameras[row] == self.cameras[kept]
            duplicates[row] = same and self.vectors[row] @ self.vectors[kept] >= cosine
            kept = kept if duplicates[row] else row
        return duplicates

    def bounded(self, seed: int = 0) -> "Samples":
        """At most MOST_PEOPLE, drawn, with at most MOST_CROPS_EACH under one camera, evenly spaced in time or order."""
        if self.count > MOST_PEOPLE:
            chosen = np.random.default_rng(seed).permutation(self.count)[:MOST_PEOPLE]
            return self.take(np.flatnonzero(np.isin(self.people, chosen))).bounded(seed)
        order = np.lexsort((self.times, self.cameras, self.people))
        rank, size = _within_runs(self.people[order] * (self.cameras.max() + 1) + self.cameras[order])
        # Of a run of n, the crops at which i * MOST / n reaches a new whole number.
        most = np.minimum(size, MOST_CROPS_EACH)
        kept = (rank * most) // size != ((rank - 1) * most) // size
        return self if kept.all() else self.take(np.sort(order[kept]))


@dataclass(frozen=True)
class Side:
    """One side of comparisons: crops, or means of several, by group and then by person."""

    vectors: Vectors
    people: Integers
    groups: Integers
    """(N,) ascending; comparisons are of one group with another, or with itself."""
    heights: Integers
    times: Fractions

    @classmethod
    def of(cls, samples: Samples, groups: Integers) -> "Side":
        """The crops whose group is not negative."""
        order = np.lexsort((samples.people, groups))
        order = order[groups[order] >= 0]
        return cls(
            samples.vectors[order], samples.people[order], groups[order], samples.heights[order], samples.times[order]
        )

    def means(self) -> "Side":
        """The mean of the crops of each person in each group, of unit length; of at least two crops."""
        changes = (np.diff(self.people) != 0) | (np.diff(self.groups) != 0)
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1]).astype(np.int64)
        stops = np.append(starts[1:], len(self.people)).astype(np.int64)
        several = stops - starts > 1
        starts, stops = starts[several], stops[several]
        means = pool(self.vectors, starts, stops) if len(starts) else self.vectors[:0]
        # A mean's time is of no use: groups of halves are apart as they are.
        return Side(means, self.people[starts], self.groups[starts], self.heights[starts], self.times[starts])

    def rows(self, group: int) -> tuple[int, int]:
        """The first row of a group, and the one after its last."""
        first, stop = np.searchsorted(self.groups, (group, group + 1))
        return int(first), int(stop)


def halves(samples: Samples) -> Integers:
    """(N,) which half of its person's crops under its camera a crop is in, 0 or 1: the first or the second, by time or
    order; -1 for those that are too near the middle of a track.
    """
    order = np.lexsort((samples.times, samples.cameras, samples.people))
    runs = samples.people[order] * (samples.cameras.max() + 1) + samples.cameras[order]
    rank, size = _within_runs(runs)
    half = np.empty(len(order), np.int64)
    half[order] = (2 * rank >= size).astype(np.int64)
    if samples.together is not None:
        first = np.flatnonzero(rank == 0)
        times = samples.times[order]
        middle = np.repeat((times[first] + times[first + size[first] - 1]) / 2, size[first])
        near = np.abs(times - middle) < samples.gap / 2
        half[order] = np.where(near, -1, times > middle)
    return half


def _within_runs(keys: npt.NDArray[np.int64]) -> tuple[Integers, Integers]:
    """Of sorted (N,) keys: (N,) the place of each in its run of equal keys, and (N,) the run's length."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1])
    lengths = np.diff(np.append(starts, len(keys)))
    return np.arange(len(keys)) - np.repeat(starts, lengths), np.repeat(lengths, lengths)
