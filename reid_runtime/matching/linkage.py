"""Groups by average linkage under constraints, over a graph of nearest neighbours.

The similarity of two groups is the mean cosine over all pairs across them. Of unit vectors that is the dot product of
the groups' mean vectors, not normalised, so it is exact at any size without a matrix of all pairs. Two groups whose
similarity reaches the threshold have at least one pair that does. So only near pairs are looked at: the most similar
groups are joined first, and the groups that are left are looked at again, until no two of them reach the threshold.
The groups are those of SciPy's `linkage(..., "average")`, which takes the memory of all pairs, 3 GB for 20,000 rows.
No library can do without: SciPy and fastcluster have no constraints and no sparse form; scikit-learn's
AgglomerativeClustering with a connectivity graph connects all of it first, and averages over the pairs in it alone.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.vectors import Vectors

Integers = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]
"""(P, 2) rows."""

_NEIGHBOURS, _PAIRS = 64, 4_000_000
"""Pairs that are looked at for each row, and in all; what lies behind them is found among the groups."""
_BLOCK = 1 << 24
"""Similarities of a block."""
_ROUNDS = 20


@dataclass(frozen=True)
class Links:
    """What is known of pairs of rows before anything is compared."""

    must: Pairs
    cannot: Pairs


def nothing_known() -> Links:
    """No pairs."""
    return Links(np.empty((0, 2), np.int64), np.empty((0, 2), np.int64))


def average_linkage(vectors: Vectors, links: Links, thresholds: Sequence[float]) -> list[Integers]:
    """For each threshold (N,) the number of each row's group, from 0 in the order of their first rows, by average
    linkage.

    `vectors` (N, D) are of unit length; the thresholds are cosines, falling: groups are joined while their mean
    similarity is at least this. `links` are pairs that are joined before anything else, and pairs that never are; no
    pair is both, directly or by way of others.
    """
    return [labels for _, labels in falling_linkage(vectors, links, thresholds)]


def falling_linkage(vectors: Vectors, links: Links, thresholds: Iterable[float]) -> Iterator[tuple[float, Integers]]:
    """As `average_linkage`: each threshold with its labels, as soon as these are there."""
    graph = _Groups(vectors, links)
    for threshold in thresholds:
        graph.join(threshold)
        yield threshold, numbered(graph.roots())


def numbered(labels: Integers) -> Integers:
    """Labels as numbers from 0, in the order in which they first come."""
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    ranks = np.empty(len(first), np.int64)
    ranks[np.argsort(first)] = np.arange(len(first))
    return ranks[numbers.reshape(-1)]


def joined(count: int, pairs: Iterable[Iterable[int]]) -> Integers:
    """(count,) the components of a graph with these edges, numbered in the order of their first members."""
    parents = [*range(count)]
    for one, other in pairs:
        a, b = _root(parents, one), _root(parents, other)
        parents[max(a, b)] = min(a, b)
    return numbered(np.array([_root(parents, row) for row in range(count)], np.int64))


def _root(parents: list[int], row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


class _Groups:
    """Groups that are joined over a graph of nearest neighbours; a group goes by the number of its first root."""

    def __init__(self, vectors: Vectors, links: Links) -> None:
        count = len(vectors)
        self._parents = [*range(count)]
        self._means = vectors.astype(np.float32, copy=True)
        self._sizes = np.ones(count, np.int64)
        self._versions = [0] * count
        self._neighbours: list[set[int]] = [set() for _ in range(count)]
        self._cannot: dict[int, set[int]] = {}
        for one, other in links.cannot.tolist():
            self._cannot.setdefault(one, set()).add(other)
            self._cannot.setdefault(other, set()).add(one)
        for one, other in links.must.tolist():
            a, b = self._root(one), self._root(other)
            if a != b:
                self._merge(a, b)

    def roots(self) -> Integers:
        """(N,) the group of each row."""
        return np.array([self._root(row) for row in range(len(self._parents))], np.int64)

    def join(self, threshold: float) -> None:
        """Join groups until no two that may be one are as similar as this."""
        for _ in range(_ROUNDS):
            alive = np.unique(self.roots())
            pairs = [
                (-similarity, one, other)
                for one, other, similarity in _near_pairs(self._means, alive, threshold)
                if other not in self._forbidden(one)
            ]
            if not pairs:
                return
            for _, one, other in pairs:
                self._neighbours[one].add(other)
                self._neighbours[other].add(one)
            self._agglomerate([(*pair, self._versions[pair[1]], self._versions[pair[2]]) for pair in pairs], threshold)
            for row in alive.tolist():
                self._neighbours[row] = set()

    def _agglomerate(self, heap: list[tuple[float, int, int, int, int]], threshold: float) -> None:
        heapq.heapify(heap)
        while heap:
            _, one, other, first, second = heapq.heappop(heap)
            if self._versions[one] != first or self._versions[other] != second:
                continue  # one of the two has changed, and its new similarities are in the heap
            kept = self._merge(one, other)
            near = {self._root(row) for row in self._neighbours[kept]} - {kept}
            near -= self._forbidden(kept)
            self._neighbours[kept] = near
            if not near:
                continue
            rows = np.fromiter(near, np.int64, len(near))
            similarities = self._means[rows] @ self._means[kept]
            for place in np.flatnonzero(similarities >= threshold).tolist():
                row = int(rows[place])
                pair = (-float(similarities[place]), min(kept, row), max(kept, row))
                heapq.heappush(heap, (*pair, self._versions[pair[1]], self._versions[pair[2]]))

    def _merge(self, one: int, other: int) -> int:
        kept, gone = min(one, other), max(one, other)
        sizes = self._sizes[kept], self._sizes[gone]
        self._means[kept] = (sizes[0] * self._means[kept] + sizes[1] * self._means[gone]) / (sizes[0] + sizes[1])
        self._sizes[kept] += sizes[1]
        self._parents[gone] = kept
        self._versions[kept] += 1
        self._versions[gone] = -1
        self._neighbours[kept] |= self._neighbours[gone]
        self._neighbours[gone] = set()
        if gone in self._cannot:
            self._cannot.setdefault(kept, set()).update(self._cannot.pop(gone))
        return kept

    def _forbidden(self, group: int) -> set[int]:
        if group not in self._cannot:
            return set()
        self._cannot[group] = {self._root(row) for row in self._cannot[group]}
        return self._cannot[group]

    def _root(self, row: int) -> int:
        return _root(self._parents, row)


def _near_pairs(means: Vectors, rows: Integers, threshold: float) -> Iterator[tuple[int, int, float]]:
    """Pairs (a, b, similarity), a < b, of these rows at or above a threshold; of each row the most similar ones."""
    vectors = means[rows]
    size = max(1, _BLOCK // max(1, len(rows)))
    most = max(2, min(_NEIGHBOURS, _PAIRS // max(1, len(rows))))
    for start in range(0, len(rows), size):
        similarities = vectors[start : start + size] @ vectors.T
        similarities[np.arange(len(similarities)), start + np.arange(len(similarities))] = -1
        ones, others = np.nonzero(similarities >= threshold)
        values = similarities[ones, others]
        order = np.lexsort((-values, ones))
        ones, others, values = ones[order], others[order], values[order]
        near = np.arange(len(ones)) - np.searchsorted(ones, ones) < most
        firsts, seconds = rows[ones[near] + start], rows[others[near]]
        # A pair may come from both sides; the heap takes it twice without harm.
        yield from zip(
            np.minimum(firsts, seconds).tolist(),
            np.maximum(firsts, seconds).tolist(),
            values[near].tolist(),
            strict=True,
        )
