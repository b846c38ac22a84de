"""The most similar rows of many: a list of pairs of a bounded size that knows what it leaves out.

All rows are compared with all, a block at a time, and once for many thresholds: of each row the most similar others are
kept. A row whose list is full knows of no pairs below the least similar one in it, down to which the list reaches.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from reid_runtime.vectors import Vectors

Integers = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Similarities = npt.NDArray[np.float32]

MOST = 64
"""Pairs that are kept of a row."""
_ROWS, _COLUMNS, _FIRST = 1024, 16384, 256
"""Rows and columns of a block, and columns of the first one, in which nobody knows yet what is near."""
_NEVER = -2.0
"""Below every cosine."""


@dataclass(frozen=True)
class Near:
    """Pairs of rows that are near."""

    ones: Places
    others: Places
    """(P,) and (P,): each pair's rows; a pair may come from both of its rows."""
    similarities: Similarities
    """(P,)"""
    reach: Similarities
    """(Q,) for each row that was asked for, the similarity down to which its pairs are complete: -inf, or that of the
    last one where the list is full.
    """


def near_pairs(vectors: Vectors, asked: Integers, among: Integers, barred: Integers, floor: float) -> Near:
    """The most similar others of some rows.

    Args:
        vectors: (N, D) float32, whose dot products are similarities.
        asked: (Q,) the rows whose neighbours are sought.
        among: (M,) the rows among which they are sought, sorted.
        barred: (B, 2) pairs that are left out, sorted by the first row, each in both directions.
        floor: The least similarity of a pair.

    Returns:
        The pairs, up to `MOST` for each row.
    """
    nothing = Near(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.float32))
    parts = [nothing] + [
        _of_block(vectors, asked[start : start + _ROWS], among, barred, floor) for start in range(0, len(asked), _ROWS)
    ]
    return Near(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Near)))


def _of_block(vectors: Vectors, asked: Integers, among: Integers, barred: Integers, floor: float) -> Near:
    own = vectors[asked]
    reach = np.full(len(asked), -np.inf, np.float32)
    cut = np.full(len(asked), floor, np.float32)
    out_rows, out_columns = _barred_places(asked, among, barred)
    rows, columns, values = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    start, size = 0, _FIRST
    while start < len(among):
        similarities = own @ vectors[among[start : start + size]].T
        inside = (out_columns >= start) & (out_columns < start + size)
        similarities[out_rows[inside], out_columns[inside] - start] = _NEVER
        own_rows, places = np.nonzero(similarities >= cut[:, None])
        rows = np.concatenate([rows, own_rows])
        columns = np.concatenate([columns, places + start])
        values = np.concatenate([values, similarities[own_rows, places]])
        order = np.lexsort((-values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        ranks = np.arange(len(rows)) - np.searchsorted(rows, rows)
        full = ranks == MOST - 1
        reach[rows[full]] = cut[rows[full]] = values[full]
        kept = ranks < MOST
        rows, columns, values = rows[kept], columns[kept], values[kept]
        start, size = start + size, min(_COLUMNS, start + size)
    return Near(asked[rows].astype(np.int32), among[columns].astype(np.int32), values, reach)


def _barred_places(asked: Integers, among: Integers, barred: Integers) -> tuple[Integers, Integers]:
    """The places in a block of what is left out: each row itself, and what is barred from it."""
    rows, others = partners(asked, barred)
    rows, others = np.concatenate([np.arange(len(asked)), rows]), np.concatenate([asked, others])
    places = np.searchsorted(among, others)
    there = np.append(among, -1)[places] == others
    return rows[there], places[there]


def both_ways(pairs: Integers) -> Integers:
    """Distinct (P, 2) pairs in both directions, sorted."""
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)


def partners(asked: Integers, pairs: Integers) -> tuple[Integers, Integers]:
    """For each pair whose first row is asked for: the place of that row among these, and the other row."""
    first, last = np.searchsorted(pairs[:, 0], asked), np.searchsorted(pairs[:, 0], asked, "right")
    counts = last - first
    places = np.repeat(np.arange(len(asked)), counts)
    within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places, pairs[np.repeat(first, counts) + within, 1]
