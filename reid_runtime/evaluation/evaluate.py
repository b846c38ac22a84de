"""Embeds and scores an evaluation set, and keeps what a report shows of it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.embedder import Embedder
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.evaluation.eval_set import RULES, RULES_WITHOUT_CAMERAS, EvalSet, eval_set_of
from reid_runtime.evaluation.saved import vectors_by_split
from reid_runtime.jobs import Embeddings
from reid_runtime.scoring.bootstrap import Interval, bootstrap_intervals
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Integers, Mask
from reid_runtime.scoring.layouts.datasets import Splits
from reid_runtime.scoring.person_search import least_overlap, overlaps, score_search
from reid_runtime.scoring.ranking import DotProducts, Scores, Similarities, ranked_list, score_similarities
from reid_runtime.scoring.reranking import RerankSettings, rerank
from reid_runtime.scoring.tracklets import Pooling, multi_query
from reid_runtime.scoring.vectors import unit_vectors
from reid_runtime.vectors import Vectors


@dataclass(frozen=True)
class EvalSettings:
    """How a set's vectors are scored."""

    multi_query: bool = False
    """Whether each query is the mean of all crops of its identity under its camera."""
    rerank: RerankSettings | None = None
    """k-reciprocal re-ranking; None for none."""
    pooling: Pooling | None = "mean"
    """How tracklets' frames became one vector; None where that is not known."""


@dataclass(frozen=True)
class Evaluation:
    """One model on one data set: what was compared, and how it scored."""

    eval_set: EvalSet
    settings: EvalSettings
    model: str
    contract_id: str
    artefact_id: str
    query_vectors: Vectors
    """(Q, D) one a query; the means under multi-query."""
    gallery_vectors: Vectors
    """(G, D)"""
    similarities: Similarities
    """What queries and gallery were ranked by: larger is closer."""
    scores: Scores

    @property
    def protocol(self) -> str:
        """The rules of these scores, without the re-ranking."""
        method = self.eval_set.method
        rules = RULES if self.eval_set.camera_rule else RULES_WITHOUT_CAMERAS
        if self.eval_set.search is not None:
            rule = "" if self.eval_set.search.gaps is not None else " AP scaled by recall;"
            return f"{method}; boxes that people drew;{rule} ties in gallery order"
        if self.eval_set.tracklets:
            pooling = "" if self.settings.pooling is None else f"{self.settings.pooling}-"
            return f"{method}; {pooling}pooled tracklets; {rules}"
        return f"{'multi-query' if self.settings.multi_query else method}; {rules}"

    def report(self) -> dict[str, Any]:
        """Plain values for JSON; scores are fractions."""
        facts = {
            "dataset": self.eval_set.dataset,
            "protocol": self.protocol,
            "model": self.model,
            "contract_id": self.contract_id,
            "artefact_id": self.artefact_id,
        }
        return facts | dataclasses.asdict(self.scores.summary()) | {"reranked": self.settings.rerank is not None}

    def intervals(self) -> dict[str, Interval] | None:
        """The interval of each metric; None where all valid queries are of one identity, which leaves none."""
        return None if self.people < 2 else bootstrap_intervals(self.scores)

    @property
    def people(self) -> int:
        """How many people the valid queries are of."""
        return int(np.unique(self.scores.identities[self.scores.valid]).size)

    def ranked(self, row: int, length: int) -> tuple[Integers, Mask]:
        """The gallery rows that rank first for query `row`, at most `length` of them, and which of them are right."""
        similarity = self.similarities(row, row + 1)[0]
        query, gallery = self.eval_set.query, self.eval_set.gallery
        if self.eval_set.search is None:
            ranked = ranked_list(similarity, int(query.identities[row]), int(query.cameras[row]), gallery, length)
            return ranked, gallery.identities[ranked] == query.identities[row]
        boxes, task = self.eval_set.search.boxes, self.eval_set.search.tasks[row]
        searched = np.flatnonzero(task.gallery[boxes.frames])
        ranked = searched[np.argsort(-similarity[searched], kind="stable")[:length]]
        if task.answer_boxes is not None:
            return ranked, np.isin(ranked, task.answer_boxes)
        right = np.zeros(len(ranked), dtype=np.bool_)
        for frame, person in zip(task.answers, task.answer_xyxy, strict=True):
            overlapping = overlaps(boxes.xyxy[ranked], person) >= least_overlap(person)
            # Only the first box about the person counts; further ones in that frame are wrong.
            right[np.flatnonzero((boxes.frames[ranked] == frame) & overlapping)[:1]] = True
        return ranked, right


def evaluate(
    embedder: Embedder,
    data: Splits | EvalSet,
    advance: Callable[[], None] = lambda: None,
    settings: EvalSettings | None = None,
) -> Evaluation:
    """Embed the queries and the gallery of a data set, and score them.

    Args:
        embedder: The model.
        data: A data set as `read_dataset` or `read_layout` gives it, or a set that is ready already.
        advance: Called once an image, for a progress bar.
        settings: How to score; None for single queries without re-ranking.

    Returns:
        The scores, with what was compared.

    Raises:
        DatasetError: With the first and the count, where images cannot be used: a score that leaves some out means
            nothing.
        ScoringError: Where no query has a right answer, before anything is embedded.
    """
    settings = settings or EvalSettings()
    eval_set = data if isinstance(data, EvalSet) else eval_set_of(data, multi_query=settings.multi_query)
    rows = embed_eval_set(embedder, eval_set, advance, settings.pooling or "mean")
    return score_rows(eval_set, rows, embedder.path.name, settings)


def score_rows(eval_set: EvalSet, rows: Embeddings, model: str, settings: EvalSettings | None = None) -> Evaluation:
    """Score vectors that are there already.

    Args:
        eval_set: What was embedded.
        rows: Its rows, as `embed_eval_set` gives them or a file keeps them.
        model: What to call their model.
        settings: How to score; None for single queries without re-ranking.

    Returns:
        The scores, with what was compared.

    Raises:
        ScoringError: For vectors that no score may rest on, or settings that the set does not take.
        StorageError: For rows that are not of the set's entries.
    """
    settings = settings or EvalSettings()
    if settings.rerank is not None and eval_set.search is not None:
        raise ScoringError("re-ranking takes one gallery for all queries; in a person search each has its own")
    vectors = vectors_by_split(eval_set, rows)
    query, gallery = vectors["query"], unit_vectors(vectors["gallery"], len(eval_set.gallery), "gallery")
    if settings.multi_query:
        if eval_set.multi_query is None:
            raise ScoringError("multi-query needs the further crops of each query's person; these vectors have none")
        query = multi_query(vectors["multi_query"], eval_set.multi_query, eval_set.query)
    query = unit_vectors(query, len(eval_set.query), "query")
    similarities: Similarities = DotProducts(query, gallery)
    if eval_set.search is not None:
        scores = score_search(eval_set.search, query, eval_set.search.boxes, gallery)
    else:
        if settings.rerank is not None:
            similarities = rerank(query, gallery, settings.rerank)
        scores = score_similarities(similarities, eval_set.query, eval_set.gallery)
    ids = rows.contract_id, rows.artefact_id
    return Evaluation(eval_set, settings, model, *ids, query, gallery, similarities, scores)
