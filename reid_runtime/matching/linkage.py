"""Groups by average linkage under constraints, over a graph of nearest neighbours.

The similarity of two groups is the mean cosine over all pairs across them. Of unit vectors that is the dot product of
the groups' mean vectors, not normalised, so it is exact at any size without a matrix of all pairs. Two groups whose
similarity reaches a threshold have at least one pair that does, so only near pairs are looked at, and the most similar
groups are joined first. All rows are compared once (`matching.neighbours`), and again only groups some of whose rows
had more near ones than were kept, once the threshold has fallen to what was left out: these are few by then.
The groups are those of SciPy's `linkage(..., "average")`, which takes the memory of all pairs, 3 GB for 20,000 rows.
No library can do without: SciPy and fastcluster have no constraints and no sparse form; scikit-learn's
AgglomerativeClustering with a connectivity graph connects all of it first, and averages over the pairs in it alone.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.matching.neighbours import both_ways, near_pairs
from reid_runtime.vectors import Vectors

Integers = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]
"""(P, 2) rows."""

_HEAP = 1_000_000
"""Pairs that are joined in one go, the most similar first; each takes some 200 bytes for a moment."""
_BLOCK = 1 << 16
"""Pairs that are compared at once."""
_NEVER = -2.0
"""Below every cosine: of pairs in one group, or that cannot be."""


@dataclass(frozen=True)
class Links:
    """What is known of pairs of rows before anything is compared."""

    must: Pairs
    cannot: Pairs


def nothing_known() -> Links:
    """No pairs."""
    return Links(np.empty((0, 2), np.int64), np.empty((0, 2), np.int64))


def average_linkage(vectors: Vectors, links: Links, thresholds: Sequence[float]) -> list[Integers]:
    """Group rows by average linkage.

    Args:
        vectors: (N, D) float32 of unit length.
        links: Pairs that are joined before anything else, and pairs that never are; no pair is both, directly or by
            way of others.
        thresholds: Cosines, falling: groups are joined while their mean similarity is at least this.

    Returns:
        For each threshold (N,) the number of each row's group, from 0, in the order of their first rows.
    """
    return [labels for _, labels in falling_linkage(vectors, links, thresholds)]


def falling_linkage(vectors: Vectors, links: Links, thresholds: Sequence[float]) -> Iterator[tuple[float, Integers]]:
    """As `average_linkage`: each threshold with its labels, as soon as these are there."""
    graph = _Groups(vectors, links, min(thresholds, default=1.0))
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

    def __init__(self, vectors: Vectors, links: Links, floor: float) -> None:
        count = len(vectors)
        self._floor = floor
        self._parents = [*range(count)]
        self._means = vectors.astype(np.float32, copy=True)
        self._sizes = np.ones(count, np.int64)
        self._versions = [0] * count
        self._links = links
        self._cannot: dict[int, set[int]] = {}
        for one, other in links.cannot.tolist():
            self._cannot.setdefault(one, set()).add(other)
            self._cannot.setdefault(other, set()).add(one)
        for one, other in links.must.tolist():
            a, b = self._root(one), self._root(other)
            if a != b:
                self._merge(a, b)
        # Near pairs, by any rows of the two groups, and a similarity above which that of the groups cannot be: a mean
        # is at most the greatest of its parts. And down to which similarity each row's pairs are known.
        self._ones, self._others = np.empty(0, np.int32), np.empty(0, np.int32)
        self._bounds = np.empty(0, np.float32)
        self._reach = np.full(count, np.inf, np.float32)

    def roots(self) -> Integers:
        """(N,) the group of each row."""
        roots = np.array(self._parents, np.int64)
        while not np.array_equal(further := roots[roots], roots):
            roots = further
        return roots

    def join(self, threshold: float) -> None:
        """Join groups until no two that may be one are as similar as this."""
        while True:
            roots = self.roots()
            barred = both_ways(roots[self._links.cannot])
            self._look(roots, barred, threshold)
            ones, others, similarities = self._near(roots, barred, threshold)
            if not len(similarities):
                return
            least = threshold
            if len(similarities) > _HEAP:
                least = float(np.partition(similarities, -_HEAP)[-_HEAP])
                near = similarities >= least
                ones, others, similarities = ones[near], others[near], similarities[near]
            self._agglomerate(ones.tolist(), others.tolist(), similarities.tolist(), least)

    def _look(self, roots: Integers, barred: Pairs, threshold: float) -> None:
        """Look for the pairs of groups that were left out, where some of them may be as similar as the threshold."""
        # A pair is left out where both sides have nearer ones, so that a group alone has none.
        asked = np.unique(roots[self._reach >= threshold])
        if len(asked) < 2:
            return
        near = near_pairs(self._means, asked, np.unique(roots), barred, self._floor)
        again = np.zeros(len(roots), np.bool_)
        again[asked] = True
        again = again[roots]
        self._reach[again] = -np.inf
        self._reach[asked] = near.reach
        kept = (self._bounds > _NEVER) & ~(again[self._ones] & again[self._others])
        self._ones = np.concatenate([self._ones[kept], near.ones])
        self._others = np.concatenate([self._others[kept], near.others])
        self._bounds = np.concatenate([self._bounds[kept], near.similarities])

    def _near(
        self, roots: Integers, barred: Pairs, threshold: float
    ) -> tuple[Integers, Integers, npt.NDArray[np.float32]]:
        """The pairs of groups that reach the threshold, and may be one."""
        places = np.flatnonzero(self._bounds >= threshold)
        ends = roots[self._ones[places]], roots[self._others[places]]
        keys, firsts, names = np.unique(
            np.minimum(*ends) * len(roots) + np.maximum(*ends), return_index=True, return_inverse=True
        )
        ones, others = ends[0][firsts], ends[1][firsts]
        similarities = np.concatenate(
            [
                np.einsum("pd,pd->p", self._means[ones[start:end]], self._means[others[start:end]])
                for start in range(0, len(keys), _BLOCK)
                for end in [start + _BLOCK]
            ]
            or [np.empty(0, np.float32)]
        )
        similarities[(ones == others) | np.isin(keys, barred[:, 0] * len(roots) + barred[:, 1])] = _NEVER
        self._bounds[places] = similarities[names.reshape(-1)]
        near = similarities >= threshold
        return ones[near], others[near], similarities[near]

    def _agglomerate(self, ones: list[int], others: list[int], similarities: list[float], threshold: float) -> None:
        neighbours: defaultdict[int, set[int]] = defaultdict(set)
        heap = []
        for one, other, similarity in zip(ones, others, similarities, strict=True):
            neighbours[one].add(other)
            neighbours[other].add(one)
            heap.append((-similarity, one, other, self._versions[one], self._versions[other]))
        heapq.heapify(heap)
        while heap:
            _, one, other, first, second = heapq.heappop(heap)
            if self._versions[one] != first or self._versions[other] != second:
                continue  # one of the two has changed, and its new similarities are in the heap
            kept = self._merge(one, other)
            near = {self._root(row) for row in neighbours.pop(one) | neighbours.pop(other)} - {kept}
            near -= self._forbidden(kept)
            neighbours[kept] = near
            if not near:
                continue
            rows = np.fromiter(near, np.int64, len(near))
            values = self._means[rows] @ self._means[kept]
            for place in np.flatnonzero(values >= threshold).tolist():
                row = int(rows[place])
                pair = (-float(values[place]), min(kept, row), max(kept, row))
                heapq.heappush(heap, (*pair, self._versions[pair[1]], self._versions[pair[2]]))

    def _merge(self, one: int, other: int) -> int:
        kept, gone = min(one, other), max(one, other)
        sizes = self._sizes[kept], self._sizes[gone]
        self._means[kept] = (sizes[0] * self._means[kept] + sizes[1] * self._means[gone]) / (sizes[0] + sizes[1])
        self._sizes[kept] += sizes[1]
        self._parents[gone] = kept
        self._versions[kept] += 1
        self._versions[gone] = -1
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
