"""k-reciprocal re-ranking: two images are close when they have the same neighbours.

Zhong, Zheng, Cao, Li: Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017. The distance it
starts from is the squared Euclidean one of unit vectors, each image's distances divided by its largest (the
column's maximum; some codes square twice).

Written over Q + G images at once the method takes several (Q + G)^2 matrices. But an image's encoding is not
zero at a few dozen others only, so here distances exist one block of rows at a time, neighbours are index
arrays, and encodings are sparse rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import JUNK, Integers, Labelled, Labels, check_labels
from reid_runtime.scoring.ranking import Block, Scores, score_similarities, similarity_rows
from reid_runtime.scoring.vectors import unit_vectors
from reid_runtime.vectors import Vectors

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RerankSettings:
    """The method's three numbers, by default those of its authors."""

    k1: int = 20
    """How many nearest neighbours count."""
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
    """(Q,) each query's largest distance to any image."""
    encodings: Sparse
    """Q rows over all Q + G images."""
    gallery_by_column: Sparse
    """Q + G rows over the gallery: its encodings, transposed."""
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
        columns, values = self.encodings.row(query)
        entries, lengths = _spans(self.gallery_by_column.starts, columns)
        shared = np.minimum(self.gallery_by_column.values[entries], np.repeat(values, lengths))
        common = np.bincount(self.gallery_by_column.columns[entries], shared, minlength=len(self.gallery))
        distances: Floats = (1 - common / (2 - common)).astype(np.float32)
        return distances


def rerank(query_vectors: Vectors, gallery_vectors: Vectors, settings: RerankSettings | None = None) -> Reranked:
    """Re-rank a gallery by k-reciprocal encoding (Zhong et al., CVPR 2017).

    Args:
        query_vectors: (Q, D) float32 of unit length.
        gallery_vectors: (G, D) float32 of unit length, from which junk must be gone: it would be a neighbour too.
        settings: k1, k2 and lambda; None for the authors' 20, 6 and 0.3.

    Returns:
        Distances of queries to the gallery, computed as they are asked for; takes the place of similarities in
        `score_similarities`.

    Raises:
        ScoringError: For vectors that are not finite or not of unit length.
    """
    settings = settings or RerankSettings()
    query = unit_vectors(query_vectors, len(query_vectors), "query")
    gallery = unit_vectors(gallery_vectors, len(gallery_vectors), "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ScoringError(f"query vectors have {query.shape[1]} dimensions, gallery vectors {gallery.shape[1]}")
    vectors = np.concatenate([query, gallery])
    neighbours, largest = _neighbours(vectors, max(settings.k1 + 1, settings.k2))
    encodings = _encode(vectors, neighbours, largest, settings.k1)
    if settings.k2 > 1:
        encodings = _average(encodings, neighbours[:, : settings.k2])
    split = encodings.starts[len(query)]
    of_queries = Sparse(encodings.starts[: len(query) + 1], encodings.columns[:split], encodings.values[:split])
    of_gallery = Sparse(encodings.starts[len(query) :] - split, encodings.columns[split:], encodings.values[split:])
    by_column = _transpose(of_gallery, len(vectors))
    return Reranked(query, gallery, largest[: len(query)], of_queries, by_column, settings.weight)


def score_reranked(
    query_vectors: Vectors,
    query: Labelled,
    gallery_vectors: Vectors,
    gallery: Labelled,
    settings: RerankSettings | None = None,
) -> Scores:
    """Score queries against a gallery after re-ranking, in which the gallery's junk takes no part.

    Args:
        query_vectors: (Q, D) of unit length, as for `score`.
        query: Their labels.
        gallery_vectors: (G, D) of unit length.
        gallery: Their labels.
        settings: k1, k2 and lambda; None for the authors' 20, 6 and 0.3.

    Returns:
        The scores, as `score` gives them.

    Raises:
        ScoringError: As `score` does.
    """
    check_labels(gallery, "gallery")
    items = unit_vectors(gallery_vectors, len(gallery.identities), "gallery")
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


def _neighbours(vectors: Vectors, count: int) -> tuple[Integers, Floats]:
    """(N, count) the nearest rows to each, itself among them, nearest first, in order where equally near;
    and (N,) the largest distances.
    """

    def block(start: int, stop: int) -> Block:
        return _distances(vectors[start:stop], vectors)

    count = min(count, len(vectors))
    neighbours = np.empty((len(vectors), count), dtype=np.int64)
    largest = np.empty(len(vectors), dtype=np.float32)
    for row, distances in similarity_rows(block, len(vectors), len(vectors)):
        largest[row] = distances.max() or 1
        distances = distances / largest[row]
        farthest = np.partition(distances, count - 1)[count - 1]
        near = np.flatnonzero(distances <= farthest)
        neighbours[row] = near[np.argsort(distances[near], kind="stable")[:count]]
    return neighbours, largest


def _reciprocal(neighbours: Integers) -> list[Integers]:
    """For each row, those of its K neighbours, (N, K), that have it as one of theirs."""
    return [forward[(neighbours[forward] == row).any(axis=1)] for row, forward in enumerate(neighbours)]


def _encode(vectors: Vectors, neighbours: Integers, largest: Floats, k1: int) -> Sparse:
    """Each row's encoding: how near its k-reciprocal neighbours are, and theirs where the two sets agree."""
    half = [frozenset(rows.tolist()) for rows in _reciprocal(neighbours[:, : round(k1 / 2) + 1])]
    encodings = []
    for row, reciprocal in enumerate(_reciprocal(neighbours[:, : k1 + 1])):
        first = set(reciprocal.tolist())
        expanded = set(first)
        for candidate in reciprocal.tolist():
            if len(half[candidate] & first) > 2 / 3 * len(half[candidate]):
                expanded |= half[candidate]
        columns = np.array(sorted(expanded), dtype=np.int64)
        weights = np.exp(-_distances(vectors[row : row + 1], vectors[columns])[0] / largest[row])
        encodings.append((columns, weights / weights.sum()))
    return _stack(encodings)


def _average(encodings: Sparse, neighbours: Integers) -> Sparse:
    """Each row's encoding averaged over those of its (N, K) nearest neighbours."""
    rows = []
    for nearest in neighbours:
        entries, _ = _spans(encodings.starts, nearest)
        columns, inverse = np.unique(encodings.columns[entries], return_inverse=True)
        sums = np.bincount(inverse, encodings.values[entries])
        rows.append((columns, (sums / len(nearest)).astype(np.float32)))
    return _stack(rows)


def _stack(rows: list[tuple[Integers, Floats]]) -> Sparse:
    starts = np.concatenate([[0], np.cumsum([len(columns) for columns, _ in rows])]).astype(np.int64)
    return Sparse(starts, np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows]))


def _transpose(sparse: Sparse, width: int) -> Sparse:
    """The same numbers by column, in `width` rows."""
    owners = np.repeat(np.arange(len(sparse.starts) - 1), np.diff(sparse.starts))
    order = np.argsort(sparse.columns, kind="stable")
    starts = np.searchsorted(sparse.columns[order], np.arange(width + 1))
    return Sparse(starts, owners[order], sparse.values[order])


def _spans(starts: Integers, rows: Integers) -> tuple[Integers, Integers]:
    """The indices of all entries of these rows, one row after the other, and how many each row has."""
    lengths = starts[rows + 1] - starts[rows]
    ends = np.cumsum(lengths)
    entries: Integers = np.arange(lengths.sum()) + np.repeat(starts[rows] - (ends - lengths), lengths)
    return entries, lengths
