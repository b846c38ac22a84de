"""All comparisons of one kind, a block of similarities at a time: their histogram, and their errors by person.

Similarities are counted in bins of 0.0001. A threshold is an edge of a bin, so what is counted in one pass and in the
next is the same, and no pass holds more than a block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.matching.samples import Side
from reid_runtime.scoring.labels import Integers, Mask
from reid_runtime.scoring.ranking import Block

BINS = 20_000
"""Of similarities from -1 to 1."""
_BLOCK = 2**22
"""Similarities that are there at once."""

Bins = npt.NDArray[np.int16]
Counts = npt.NDArray[np.int64]


def bins_of(similarities: Block) -> Bins:
    """The bins of cosines, whose memory is used for it."""
    similarities += 1
    similarities *= BINS / 2
    np.clip(similarities, 0, BINS - 1, out=similarities)
    return similarities.astype(np.int16)


def cosine_at(edge: int) -> float:
    """The lower edge of a bin."""
    return round(2 * edge / BINS - 1, 4)


def bin_at(cosine: float) -> int:
    """The bin that begins at an edge of `cosine_at`."""
    return round((cosine + 1) * BINS / 2)


@dataclass(frozen=True)
class Tally:
    """The comparisons of one kind."""

    mated: Counts
    """(BINS,) how many mated comparisons lie in each bin."""
    non_mated: Counts
    mated_bins: Bins
    """(M,) the bin of each mated comparison."""
    mated_people: Integers
    """(M,) its person."""


@dataclass(frozen=True)
class Comparisons:
    """Which crops, or means of crops, are compared."""

    first: Side
    second: Side
    tiles: Sequence[tuple[int, int, bool]]
    """A group of each side, and whether both are the same rows, of which each pair counts once."""
    people: int
    gap: float = 0.0
    together: Mask | None = None
    height: tuple[int, int] | None = None
    """The least height of the lower of two crops, and the one that it is less than; None for all."""

    def tally(self) -> Tally:
        """Count all comparisons."""
        mated, non_mated = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
        bins_of_mated, people = [np.empty(0, np.int16)], [np.empty(0, np.int64)]
        for rows, _, bins, same, other in self._blocks():
            non_mated += np.bincount(bins[other], minlength=BINS)
            cells = np.nonzero(same)
            bins_of_mated.append(bins[cells])
            people.append(self.first.people[rows][cells[0]])
        together = np.concatenate(bins_of_mated)
        mated += np.bincount(together, minlength=BINS)
        return Tally(mated, non_mated, together, np.concatenate(people))

    def by_people(self, edges: Sequence[int]) -> list[Block]:
        """For each edge, a (P, P) float32: the non-mated comparisons of two people that lie at or above it."""
        counts = [np.zeros((self.people, self.people), np.float32) for _ in edges]
        for rows, columns, bins, _, other in self._blocks():
            row_people, column_people = self.first.people[rows], self.second.people[columns]
            row_starts, column_starts = _run_starts(row_people), _run_starts(column_people)
            block = np.ix_(row_people[row_starts], column_people[column_starts])
            for edge, count in zip(edges, counts, strict=True):
                hits = np.add.reduceat(other & (bins >= edge), column_starts, axis=1, dtype=np.int32)
                count[block] += np.add.reduceat(hits, row_starts, axis=0)
        return counts

    def _blocks(self) -> Iterator[tuple[slice, slice, Bins, Mask, Mask]]:
        """Rows of both sides, the bins of their similarities, and which of them are mated, and non-mated."""
        for one, other, triangle in self.tiles:
            (start, stop), (left, right) = self.first.rows(one), self.second.rows(other)
            step = max(1, _BLOCK // max(1, right - left))
            for top in range(start, stop, step):
                rows, columns = slice(top, min(top + step, stop)), slice(top if triangle else left, right)
                if columns.start < columns.stop:
                    yield rows, columns, *self._block(rows, columns, triangle)

    def _block(self, rows: slice, columns: slice, triangle: bool) -> tuple[Bins, Mask, Mask]:
        bins = bins_of(self.first.vectors[rows] @ self.second.vectors[columns].T)
        one, other = self.first.people[rows], self.second.people[columns]
        mated = one[:, None] == other
        if self.together is None:
            non_mated = ~mated
        else:
            non_mated = self.together[np.ix_(one, other)]
            mated &= np.abs(self.first.times[rows][:, None] - self.second.times[columns]) >= self.gap
        counted = None
        if triangle:
            counted = ~np.tri(*bins.shape, dtype=np.bool_)
        if self.height is not None:
            lower = np.minimum(self.first.heights[rows][:, None], self.second.heights[columns])
            fits = (lower >= self.height[0]) & (lower < self.height[1])
            counted = fits if counted is None else counted & fits
        if counted is not None:
            mated &= counted
            non_mated &= counted
        return bins, mated, non_mated


def _run_starts(people: Integers) -> Integers:
    return np.concatenate([[0], np.flatnonzero(np.diff(people)) + 1])
