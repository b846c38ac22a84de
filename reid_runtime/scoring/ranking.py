"""Scores of queries against a gallery: CMC, mAP by both definitions in use, and mINP.

The rules, as Market-1501 states them and every other set follows: junk (identity -1) is ignored; distractors
(identity 0) stay as negatives; for each query, gallery items of the same person and the same camera are ignored;
a query that is left without a right answer is reported and not averaged. Items rank by descending similarity,
and in gallery order where similarities are equal.

Only the ranks of the right answers are needed, so no row is sorted further than its hardest right answer, and
the similarities exist one block of queries at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring import average_precision
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import DISTRACTOR, JUNK, Integers, Labelled, LabelNames, Mask, check_labels
from reid_runtime.scoring.vectors import unit_vectors
from reid_runtime.vectors import Vectors

Block = npt.NDArray[np.float32]
Fractions = npt.NDArray[np.float64]

BLOCK_BYTES = 64 * 2**20
"""About as much memory as one block of similarities takes."""


class Similarities(Protocol):
    """Where the scorer gets its numbers: dot products of vectors, or re-ranked distances with their sign turned."""

    def __call__(self, start: int, stop: int) -> Block:
        """Queries `start` to `stop` against the whole gallery, (stop - start, G) float32; larger is closer."""


@dataclass(frozen=True)
class DotProducts:
    """The similarities of (Q, D) query to (G, D) gallery vectors, all of unit length."""

    query: Vectors
    gallery: Vectors

    def __call__(self, start: int, stop: int) -> Block:
        """As `Similarities` says."""
        products: Block = self.query[start:stop] @ self.gallery.T
        return products


@dataclass(frozen=True)
class Summary:
    """A data set's scores, as fractions, under the names that `evaluate --json` gives them."""

    rank_1: float
    rank_5: float
    rank_10: float
    map_finite_sum: float
    map_trapezoid: float
    minp: float
    queries: int
    valid_queries: int
    gallery: int


@dataclass(frozen=True)
class Scores:
    """What became of each of Q queries. Where `valid` is false, AP and INP are NaN."""

    identities: Integers
    """(Q,) the queries' person numbers."""
    cameras: Integers
    """(Q,) the queries' cameras."""
    valid: Mask
    """(Q,) whether the gallery holds a right answer."""
    ap_finite_sum: Fractions
    """(Q,) the mean of the precision at each right answer."""
    ap_trapezoid: Fractions
    """(Q,) the area under the precision-recall curve, as Market-1501's MATLAB code measures it."""
    first_hit: Integers
    """(Q,) the rank, from 1, of the best right answer; 0 where there is none."""
    inp: Fractions
    """(Q,) the number of right answers divided by the rank of the hardest."""
    gallery: int
    """How many gallery items were ranked: all but the junk."""

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def without_answer(self) -> Integers:
        """The rows of the queries that have no right answer, ascending."""
        return np.flatnonzero(~self.valid)

    def describe_without_answer(self, ids: Sequence[str] | None = None, names: LabelNames | None = None) -> str | None:
        """One line on the queries that have no right answer, the first by its id; None where all have one."""
        rows = self.without_answer
        if not rows.size:
            return None
        first, names = int(rows[0]), names or LabelNames()
        identity = names.identity(int(self.identities[first]))
        return (
            f"{rows.size} of {len(self)} queries have no right answer and are not averaged, the first is "
            f"{ids[first] if ids else f'row {first}'}: identity {identity} of camera "
            f"{names.camera(int(self.cameras[first])) or 'unknown'}"
        )

    def take(self, rows: Integers) -> "Scores":
        """The scores of these queries, in their order."""
        columns = {item.name: getattr(self, item.name)[rows] for item in fields(self) if item.name != "gallery"}
        return replace(self, **columns)

    def cmc(self, length: int) -> Fractions:
        """(length,) the share of the valid queries that have a right answer among the first 1, 2, ... items."""
        hits = np.bincount(self.first_hit[self.valid], minlength=length + 1)
        curve: Fractions = np.cumsum(hits[1 : length + 1]) / np.count_nonzero(self.valid)
        return curve

    def summary(self) -> Summary:
        """The averages over the valid queries."""
        cmc = self.cmc(10)
        return Summary(
            rank_1=float(cmc[0]),
            rank_5=float(cmc[4]),
            rank_10=float(cmc[9]),
            map_finite_sum=float(self.ap_finite_sum[self.valid].mean()),
            map_trapezoid=float(self.ap_trapezoid[self.valid].mean()),
            minp=float(self.inp[self.valid].mean()),
            queries=len(self),
            valid_queries=int(np.count_nonzero(self.valid)),
            gallery=self.gallery,
        )


def score(query_vectors: Vectors, query: Labelled, gallery_vectors: Vectors, gallery: Labelled) -> Scores:
    """Score queries against a gallery by the cosine of their vectors.

    Args:
        query_vectors: (Q, D) float32 of unit length.
        query: Identity and camera of each query.
        gallery_vectors: (G, D) float32 of unit length, junk included or not.
        gallery: Identity and camera of each gallery row.

    Returns:
        CMC, both average precisions and INP (Ye et al., Deep Learning for Person Re-identification: A Survey and
        Outlook, 2021) of each query; `.summary()` for their means.

    Raises:
        ScoringError: For vectors that are not finite, not of unit length or not as many as their labels, and where no
            query has a right answer.
    """
    queries = unit_vectors(query_vectors, len(query.identities), "query")
    items = unit_vectors(gallery_vectors, len(gallery.identities), "gallery")
    if queries.shape[1] != items.shape[1]:
        raise ScoringError(
            f"query vectors have {queries.shape[1]} dimensions, gallery vectors {items.shape[1]}; "
            "embed both with one model"
        )
    return score_similarities(DotProducts(queries, items), query, gallery)


def score_similarities(similarities: Similarities, query: Labelled, gallery: Labelled) -> Scores:
    """Score Q queries against G gallery rows by any similarities, whose blocks are not written to.

    Args:
        similarities: Called as `similarities(start, stop)` for (stop - start, G) float32, larger is closer.
        query: Identity and camera of each query.
        gallery: Identity and camera of each gallery row.

    Returns:
        The scores, as `score` gives them.

    Raises:
        ScoringError: For similarities that are not finite, and where no query has a right answer.
    """
    check_answerable(query, gallery)
    count = len(query.identities)
    finite_sum, trapezoid, inp = (np.full(count, np.nan) for _ in range(3))
    first_hit = np.zeros(count, dtype=np.int64)
    answers = _Answers.of(gallery)
    for row, similarity in similarity_rows(similarities, count, len(gallery.identities)):
        right, ignored = answers.find(query.identities[row], query.cameras[row])
        if not right.size:
            continue
        ranked = similarity.copy()
        ranked[ignored] = -np.inf
        ranks = ranks_of(ranked, right)
        finite_sum[row] = average_precision.finite_sum(ranks)
        trapezoid[row] = average_precision.trapezoid(ranks)
        first_hit[row] = ranks[0]
        inp[row] = ranks.size / ranks[-1]
    valid = first_hit > 0
    ranked_items = int(np.count_nonzero(gallery.identities != JUNK))
    return Scores(query.identities, query.cameras, valid, finite_sum, trapezoid, first_hit, inp, ranked_items)


def check_answerable(query: Labelled, gallery: Labelled) -> None:
    """Raises ScoringError for labels that are none, and, with the reason, when no query has a right answer."""
    check_labels(query, "query")
    check_labels(gallery, "gallery")
    if not has_answer(query, gallery).any():
        raise ScoringError(_why_none_is_valid(query, gallery))


def has_answer(query: Labelled, gallery: Labelled) -> Mask:
    """(Q,) whether the gallery holds the query's person under another camera."""
    answers = _Answers.of(gallery)
    pairs = zip(query.identities, query.cameras, strict=True)
    return np.array([answers.find(identity, camera)[0].size > 0 for identity, camera in pairs], dtype=np.bool_)


def ranked_list(similarity: Block, identity: int, camera: int, gallery: Labelled, length: int) -> Integers:
    """Rank the gallery for one query, leaving out what the scores ignore.

    Args:
        similarity: (G,) float32, the query's to each gallery row.
        identity: The query's.
        camera: The query's.
        gallery: Identity and camera of each gallery row.
        length: How many rows to return at most.

    Returns:
        (length,) gallery rows, the most similar first.
    """
    same = (gallery.identities == identity) & (gallery.cameras == camera)
    kept = np.flatnonzero(~same & (gallery.identities != JUNK))
    order = np.argsort(-similarity[kept], kind="stable")
    return kept[order[:length]]


@dataclass(frozen=True)
class _Answers:
    """The gallery's rows by person, so that no query has to look through all of them."""

    cameras: Integers
    junk: Integers
    order: Integers
    """(G,) the gallery's rows by identity, then by row."""
    identities: Integers
    """(G,) the identities in that order."""

    @classmethod
    def of(cls, gallery: Labelled) -> "_Answers":
        order = np.argsort(gallery.identities, kind="stable")
        junk = np.flatnonzero(gallery.identities == JUNK)
        return cls(gallery.cameras, junk, order, gallery.identities[order])

    def find(self, identity: int, camera: int) -> tuple[Integers, Integers]:
        """The gallery rows that are right answers to a query of this person and camera, and those to ignore."""
        if identity in (JUNK, DISTRACTOR):
            return self.junk[:0], self.junk
        first, last = np.searchsorted(self.identities, (identity, identity + 1))
        same = self.order[first:last]
        seen_here = self.cameras[same] == camera
        return same[~seen_here], np.concatenate([same[seen_here], self.junk])


def similarity_rows(similarities: Similarities, queries: int, gallery: int) -> Iterator[tuple[int, Block]]:
    """Each query and its (G,) similarities, computed a block of queries at a time."""
    step = max(1, BLOCK_BYTES // (4 * gallery))
    for start in range(0, queries, step):
        stop = min(start + step, queries)
        block = similarities(start, stop)
        if block.shape != (stop - start, gallery):
            raise ScoringError(f"similarities have the shape {block.shape}; expected {(stop - start, gallery)}")
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if wrong.size:
            raise ScoringError(
                f"similarities of {wrong.size} of queries {start} to {stop - 1} are not finite, "
                f"the first is query {start + wrong[0]}"
            )
        yield from enumerate(block, start)


def ranks_of(similarity: Block, right: Integers) -> Integers:
    """The ranks, ascending from 1, of the (P,) rows `right` among the (G,) similarities.

    Equal similarities rank in the gallery's order; rows to be ignored have -inf.
    """
    levels = similarity[right]
    candidates = np.sort(similarity[similarity >= levels.min()])
    below = np.searchsorted(candidates, levels, side="left")
    above = candidates.size - np.searchsorted(candidates, levels, side="right")
    ranks = above + 1
    # Where others are exactly as close, those of them that come earlier in the gallery go first.
    for tied in np.flatnonzero(below + above < candidates.size - 1):
        ranks[tied] += np.count_nonzero(similarity[: right[tied]] == levels[tied])
    return np.sort(ranks)


def _why_none_is_valid(query: Labelled, gallery: Labelled) -> str:
    cameras = np.union1d(query.cameras, gallery.cameras)
    if cameras.size == 1:
        return (
            f"query and gallery hold one camera only ({cameras[0]}): the same person under the same camera is "
            "ignored, so nothing is left to find; expected at least two cameras, or --no-cameras"
        )
    return (
        f"none of {len(query.identities)} queries has a right answer, the first is identity {query.identities[0]} "
        f"of camera {query.cameras[0]}; expected the same identity under another camera in the gallery"
    )
