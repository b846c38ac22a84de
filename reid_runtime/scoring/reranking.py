"""k-reciprocal re-ranking: two pictures are close when they have the same neighbours.

Zhong, Zheng, Cao, Li: Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017. The distance it
starts from is the squared Euclidean one of unit vectors, each picture's distances divided by its largest (the
column's maximum; some codes square twice).

Written over Q + G pictures at once the method takes several (Q + G)^2 matrices. But a picture's encoding is not
zero at a few dozen others only, so here distances exist one block of rows at a time, neighbours are index
arrays, and encodings are sparse rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import JUNK, Integers, Labelled, Labels, check_labels
from reid_runtime.scoring.ranking import Block, Scores, score_similarities, similarity_rows
from reid_runtime.scoring.vectors import checked
from reid_runtime.vectors import Vectors

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """The method's three numbers, by default those of its authors."""

    k1: int = 20
    """How many neighbours are looked at."""
    k2: int = 6
    """How many neighbours' encodings are averaged; 1 leaves them as they are."""
    weight: float = 0.3
    """The share of the original distance in the final one (lambda)."""

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.weight <= 1:
            raise ScoringError(f"re-ranking takes k1 and k2 from 1 and a weight from 0 to 1, not {self}")


@dataclass(frozen=True)
class Sparse:
    """N rows that are mostly zero: row i has `values` at `columns`, both from `starts[i]` to `starts[i + 1]`."""

    starts: Integers
    """(N + 1,)"""
    columns: Integers
    """(E,) ascending within a row."""
    values: Floats
    """(E,)"""

    def row(self, index: int) -> tuple[Integers, Floats]:
        """The columns and values of one row."""
        part = slice(self.starts[index], self.starts[index + 1])
        return self.columns[part], self.values[part]


@dataclass(frozen=True)
class Reranked:
    """The re-ranked distances of Q queries to G gallery items, computed as they are asked for."""

    query: Vectors
    gallery: Vectors
    largest: Floats
    """(Q,) each query's largest distance to any picture."""
    encodings: Sparse
    """Q rows over all Q + G pictures."""
    gallery_by_picture: Sparse
    """Q + G rows over the gallery: its encodings, turned around."""
    weight: float

    def __call__(self, start: int, stop: int) -> Block:
        """As `Similarities` says: the distances with their sign turned."""
        return -self.distances(start, stop)

    def distances(self, start: int, stop: int) -> Block:
        """Queries `start` to `stop` against the whole gallery, (stop - start, G) float32."""
        distances = _distances(self.query[start:stop], self.gallery) / self.largest[start:stop, None]
        distances *= np.float32(self.weight)
        for row in range(start, stop):
            distances[row - start] += np.float32(1 - self.weight) * self._jaccard(row)
        return distances

    def _jaccard(self, query: int) -> Floats:
        """(G,) one less the share of encoding that the query has in common with each gallery item."""
        pictures, values = self.encodings.row(query)
        places, lengths = _spans(self.gallery_by_picture.starts, pictures)
        shared = np.minimum(self.gallery_by_picture.values[places], np.repeat(values, lengths))
        common = np.bincount(self.gallery_by_picture.columns[places], shared, minlength=len(self.gallery))
        distances: Floats = (1 - common / (2 - common)).astype(np.float32)
        return distances


def rerank(query_vectors: Vectors, gallery_vectors: Vectors, settings: Settings | None = None) -> Reranked:
    """Re-ranks (Q, D) query against (G, D) gallery vectors, from which junk must be gone: it is a neighbour too.

    Raises ScoringError for vectors that are not finite or not of unit length.
    """
    settings = settings or Settings()
    query = checked(query_vectors, len(query_vectors), "query")
    gallery = checked(gallery_vectors, len(gallery_vectors), "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ScoringError(f"query vectors have {query.shape[1]} dimensions, gallery vectors {gallery.shape[1]}")
    pictures = np.concatenate([query, gallery])
    neighbours, largest = _neighbours(pictures, max(settings.k1 + 1, settings.k2))
    encodings = _encode(pictures, neighbours, largest, settings.k1)
    if settings.k2 > 1:
        encodings = _average(encodings, neighbours[:, : settings.k2])
    split = encodings.starts[len(query)]
    of_queries = Sparse(encodings.starts[: len(query) + 1], encodings.columns[:split], encodings.values[:split])
    of_gallery = Sparse(encodings.starts[len(query) :] - split, encodings.columns[split:], encodings.values[split:])
    turned = _turn(of_gallery, len(pictures))
    return Reranked(query, gallery, largest[: len(query)], of_queries, turned, settings.weight)


def score_reranked(
    query_vectors: Vectors,
    query: Labelled,
    gallery_vectors: Vectors,
    gallery: Labelled,
    settings: Settings | None = None,
) -> Scores:
    """The scores after re-ranking, which the gallery's junk takes no part in."""
    check_labels(gallery, "gallery")
    items = checked(gallery_vectors, len(gallery.identities), "gallery")
    kept = np.flatnonzero(gallery.identities != JUNK)
    reranked = rerank(query_vectors, items[kept], settings)
    return score_similarities(reranked, query, Labels(gallery.identities[kept], gallery.cameras[kept]))


def _distances(left: Vectors, right: Vectors) -> Block:
    """Squared Euclidean distances of (L, D) to (R, D) unit vectors."""
    distances: Block = left @ right.T
    distances *= -2
    distances += 2
    np.maximum(distances, 0, out=distances)
    return distances


def _neighbours(pictures: Vectors, count: int) -> tuple[Integers, Floats]:
    """(N, count) the nearest pictures to each, itself among them, nearest first, in order where equally near;
    and (N,) the largest distances.
    """
    count = min(count, len(pictures))
    neighbours = np.empty((len(pictures), count), dtype=np.int64)
    largest = np.empty(len(pictures), dtype=np.float32)
    for row, distances in _distance_rows(pictures):
        largest[row] = distances.max() or 1
        distances = distances / largest[row]
        farthest = np.partition(distances, count - 1)[count - 1]
        near = np.flatnonzero(distances <= farthest)
        neighbours[row] = near[np.argsort(distances[near], kind="stable")[:count]]
    return neighbours, largest


def _distance_rows(pictures: Vectors) -> Iterator[tuple[int, Block]]:
    def block(start: int, stop: int) -> Block:
        return _distances(pictures[start:stop], pictures)

    return similarity_rows(block, len(pictures), len(pictures))


def _reciprocal(neighbours: Integers) -> list[Integers]:
    """For each picture, those of its K neighbours, (N, K), that have it as one of theirs."""
    found: list[Integers] = []
    for row, forward in enumerate(neighbours):
        found.append(forward[(neighbours[forward] == row).any(axis=1)])
    return found


def _encode(pictures: Vectors, neighbours: Integers, largest: Floats, k1: int) -> Sparse:
    """Each picture's encoding: how near its k-reciprocal neighbours are, and theirs where the two sets agree."""
    own = _reciprocal(neighbours[:, : k1 + 1])
    half = [frozenset(found.tolist()) for found in _reciprocal(neighbours[:, : round(k1 / 2) + 1])]
    rows = []
    for row, reciprocal in enumerate(own):
        first = set(reciprocal.tolist())
        expanded = set(first)
        for candidate in reciprocal.tolist():
            theirs = half[candidate]
            if len(theirs & first) > 2 / 3 * len(theirs):
                expanded |= theirs
        columns = np.array(sorted(expanded), dtype=np.int64)
        distances = _distances(pictures[row : row + 1], pictures[columns])[0] / largest[row]
        weights = np.exp(-distances)
        rows.append((columns, weights / weights.sum()))
    return _stack(rows)


def _average(encodings: Sparse, neighbours: Integers) -> Sparse:
    """Each picture's encoding averaged over its (N, K) nearest neighbours'."""
    rows = []
    for nearest in neighbours:
        places, _ = _spans(encodings.starts, nearest)
        columns, inverse = np.unique(encodings.columns[places], return_inverse=True)
        sums = np.bincount(inverse, encodings.values[places])
        rows.append((columns, (sums / len(nearest)).astype(np.float32)))
    return _stack(rows)


def _stack(rows: list[tuple[Integers, Floats]]) -> Sparse:
    starts = np.concatenate([[0], np.cumsum([len(columns) for columns, _ in rows])]).astype(np.int64)
    return Sparse(starts, np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows]))


def _turn(sparse: Sparse, width: int) -> Sparse:
    """The same numbers by column: `width` rows over what were the rows."""
    owners = np.repeat(np.arange(len(sparse.starts) - 1), np.diff(sparse.starts))
    order = np.argsort(sparse.columns, kind="stable")
    starts = np.searchsorted(sparse.columns[order], np.arange(width + 1))
    return Sparse(starts, owners[order], sparse.values[order])


def _spans(starts: Integers, rows: Integers) -> tuple[Integers, Integers]:
    """The places of all entries of these rows, one row after the other, and how many each row has."""
    lengths = starts[rows + 1] - starts[rows]
    ends = np.cumsum(lengths)
    places: Integers = np.arange(lengths.sum()) + np.repeat(starts[rows] - (ends - lengths), lengths)
    return places, lengths
