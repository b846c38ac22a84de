"""Exact search: the rows of a gallery that are nearest to each query, of each person the best one, block by block.

Similarities exist one block of rows at a time, and only those that may still be among the answers are looked at. The
blocks are multiplied in float32; the few rows that are left are multiplied again, each alone and in float64, so that an
answer does not depend on what else was asked, nor on the library that multiplies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.vectors import Vectors

Integers = npt.NDArray[np.int64]
Block = npt.NDArray[np.float32]

_ROWS = 16_384
"""Rows of a block at most: its similarities to 64 queries take 4 MiB, and stay near the processor."""
_FIRST = 256
"""Rows of the first block, after which most rows of the next are too far away to be looked at."""
_RESERVE = 32
"""Further rows that are kept until they are multiplied exactly: float32 may order near ones otherwise."""


@dataclass(frozen=True)
class VectorRows:
    """(N, D) unit vectors in consecutive arrays: of one file, mapped, or of the parts of a folder, never joined."""

    parts: tuple[Vectors, ...]

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> Integers:
        """(P + 1,) the row at which each part begins, and the number of rows."""
        return np.concatenate([[0], np.cumsum([len(part) for part in self.parts])]).astype(np.int64)

    @property
    def dimension(self) -> int:
        """D; 0 where there are no parts."""
        return self.parts[0].shape[1] if self.parts else 0

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """The number of its first row, and the rows, of each block."""
        size = _FIRST
        for start, part in zip(self.starts.tolist(), self.parts, strict=False):
            row = 0
            while row < len(part):
                yield start + row, part[row : row + size]
                row += size
                size = min(2 * size, _ROWS)

    def take(self, rows: Integers) -> Vectors:
        """(R, D) the vectors of these rows."""
        of = np.searchsorted(self.starts, rows, side="right") - 1
        taken = np.empty((len(rows), self.dimension), np.float32)
        for place, (part, row) in enumerate(zip(of.tolist(), rows.tolist(), strict=True)):
            taken[place] = self.parts[part][row - self.starts[part]]
        return taken


@dataclass(frozen=True)
class Hits:
    """What a query found: K gallery rows of as many groups, nearest first; equally near ones in the gallery's order."""

    rows: Integers
    """(K,)"""
    similarities: npt.NDArray[np.float64]
    """(K,) cosines."""


Hide = Callable[[int, Vectors, Block], None]
"""Is called with the number of a block's first row, the block, and its (Q, R) similarities; writes -inf over those of
rows that a query must not find.
"""


def nearest(
    queries: Vectors, gallery: VectorRows, count: int, *, groups: Integers | None = None, hide: Hide | None = None
) -> list[Hits]:
    """Find the rows of a gallery that are nearest to each query.

    Args:
        queries: (Q, D) float32 of unit length.
        gallery: N rows of D numbers; a row of NaN is never found.
        count: How many groups are found for each query, at most.
        groups: (N,) whom or what each row is of, from 0: of each group the nearest row is found. None where each row
            is a group of its own.
        hide: Which rows a query must not find; None for none.

    Returns:
        The hits of each query.

    Raises:
        ScoringError: For shapes that do not fit together.
    """
    dimensions = {part.shape[1] for part in gallery.parts} - {queries.shape[1]}
    if queries.ndim != 2 or dimensions or count < 1:
        raise ScoringError(
            f"queries have the shape {queries.shape}, gallery vectors {dimensions or queries.shape[1]} numbers, and "
            f"{count} are to be found; expected (Q, D), D numbers and at least one"
        )
    if not len(gallery):
        return [Hits(np.empty(0, np.int64), np.empty(0)) for _ in queries]
    best = _Best(len(queries), count + _RESERVE, groups)
    for start, block in gallery.blocks():
        similarities = queries @ block.T
        if hide is not None:
            hide(start, block, similarities)
        best.add(start, similarities)
    return [_exact(query, best.rows[best.queries == row], gallery, count) for row, query in enumerate(queries)]


def cosines(vector: Vectors, others: Vectors) -> npt.NDArray[np.float64]:
    """(R,) the cosines of a (D,) vector and (R, D) others, each computed alone in float64."""
    products: npt.NDArray[np.float64] = (others.astype(np.float64) * vector.astype(np.float64)).sum(axis=1)
    lengths = np.sqrt((others.astype(np.float64) ** 2).sum(axis=1) * (vector.astype(np.float64) ** 2).sum())
    products /= lengths
    return products


def _exact(query: Vectors, rows: Integers, gallery: VectorRows, count: int) -> Hits:
    similarities = cosines(query, gallery.take(rows))
    order = np.lexsort((rows, -similarities))[:count]
    return Hits(rows[order], similarities[order])


class _Best:
    """The nearest rows so far, of each group one: those of the first query, nearest first, then those of the next."""

    def __init__(self, queries: int, count: int, groups: Integers | None) -> None:
        self.queries, self.rows = np.empty(0, np.int64), np.empty(0, np.int64)
        self._similarities = np.empty(0, np.float32)
        self._floor = np.full(queries, -np.inf, np.float32)
        """(Q,) what is not above this is not among the nearest."""
        self._count, self._groups = count, groups

    def add(self, start: int, similarities: Block) -> None:
        """Take the rows of a block from `start` on, by their (Q, R) similarities, among the nearest."""
        above = similarities > self._floor[:, None]
        if not above.any():
            return
        queries, rows = np.nonzero(above)
        values = similarities[queries, rows]
        queries, rows = np.concatenate([self.queries, queries]), np.concatenate([self.rows, rows + start])
        values = np.concatenate([self._similarities, values])
        order = np.lexsort((rows, -values, queries))
        # The floor only rises, so that a group's best row cannot have been dropped while the group is among the best.
        order = order[self._first_of_groups(queries[order], rows[order])]
        rank = np.arange(len(order)) - np.searchsorted(queries[order], queries[order])
        kept = order[rank < self._count]
        self.queries, self.rows, self._similarities = queries[kept], rows[kept], values[kept]
        last = order[rank == self._count - 1]
        self._floor[queries[last]] = values[last]

    def _first_of_groups(self, queries: Integers, rows: Integers) -> Integers:
        """The places at which each query has a group for the first time, ascending."""
        if self._groups is None:
            return np.arange(len(rows))
        groups = self._groups[rows]
        _, first = np.unique(queries * (int(groups.max()) + 1) + groups, return_index=True)
        return np.sort(first)
