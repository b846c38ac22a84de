"""Scores a task's vectors, and keeps what a report shows of them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.embedder import Embedder
from reid_runtime.evaluation.embedding import embed_task
from reid_runtime.evaluation.saved import rows_of
from reid_runtime.evaluation.tasks import RULES, Task, task_of
from reid_runtime.jobs import Embeddings
from reid_runtime.scoring import reranking
from reid_runtime.scoring.bootstrap import Interval, intervals
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Integers, Mask
from reid_runtime.scoring.layouts.datasets import Splits
from reid_runtime.scoring.person_search import least_overlap, overlaps, score_search
from reid_runtime.scoring.ranking import DotProducts, Scores, Similarities, ranked_list, score_similarities
from reid_runtime.scoring.tracklets import Pooling, multi_query
from reid_runtime.scoring.vectors import checked
from reid_runtime.vectors import Vectors


@dataclass(frozen=True)
class Settings:
    """How a task's vectors are scored."""

    multi_query: bool = False
    """Each query is the mean of all crops of its person under its camera."""
    rerank: reranking.Settings | None = None
    """k-reciprocal re-ranking, where it is asked for."""
    pooling: Pooling | None = "mean"
    """How tracklets' frames became one vector; None where that is not known."""


@dataclass(frozen=True)
class Evaluation:
    """One model on one data set: what was compared, and how it scored."""

    task: Task
    settings: Settings
    model: str
    contract_id: str
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
        if self.task.search is not None:
            return f"{self.task.method}; boxes that people drew; AP scaled by recall; ties in gallery order"
        if self.task.tracklets:
            pooled = (
                "pooled tracklets" if self.settings.pooling is None else f"{self.settings.pooling}-pooled tracklets"
            )
            return f"{self.task.method}; {pooled}; {RULES}"
        return f"{'multi-query' if self.settings.multi_query else self.task.method}; {RULES}"

    def report(self) -> dict[str, Any]:
        """Plain values for JSON; scores are fractions."""
        facts = {
            "dataset": self.task.dataset,
            "protocol": self.protocol,
            "model": self.model,
            "contract_id": self.contract_id,
        }
        return facts | dataclasses.asdict(self.scores.summary()) | {"reranked": self.settings.rerank is not None}

    def intervals(self) -> dict[str, Interval] | None:
        """The interval of each measure; None where all valid queries are of one person, whom nothing varies with."""
        if self.people < 2:
            return None
        return intervals(self.scores)

    @property
    def people(self) -> int:
        """How many people the valid queries are of."""
        return int(np.unique(self.scores.identities[self.scores.valid]).size)

    def ranked(self, row: int, length: int) -> tuple[Integers, Mask]:
        """The gallery rows that query `row` finds first, at most `length` of them, and which of them are right."""
        similarity = self.similarities(row, row + 1)[0]
        query, gallery = self.task.query, self.task.gallery
        if self.task.search is None:
            found = ranked_list(similarity, int(query.identities[row]), int(query.cameras[row]), gallery, length)
            return found, gallery.identities[found] == query.identities[row]
        boxes, task = self.task.search.boxes, self.task.search.tasks[row]
        searched = np.flatnonzero(task.gallery[boxes.frames])
        found = searched[np.argsort(-similarity[searched], kind="stable")[:length]]
        right = np.zeros(len(found), dtype=np.bool_)
        for frame, person in zip(task.answers, task.answer_xyxy, strict=True):
            over = overlaps(boxes.xyxy[found], person) >= least_overlap(person)
            # Only the first box about the person counts; further ones in that frame are wrong.
            places = np.flatnonzero((boxes.frames[found] == frame) & over)
            right[places[:1]] = True
        return found, right


def evaluate(
    embedder: Embedder,
    data: Splits | Task,
    advance: Callable[[], None] = lambda: None,
    settings: Settings | None = None,
) -> Evaluation:
    """Embed queries and gallery, and score them; `advance` is called once a picture.

    Raises DatasetError, with the first and the count, where pictures cannot be used: a score that leaves some out
    means nothing; and ScoringError where no query has a right answer, before anything is embedded.
    """
    settings = settings or Settings()
    task = data if isinstance(data, Task) else task_of(data, multi_query=settings.multi_query)
    rows = embed_task(embedder, task, advance, settings.pooling or "mean")
    return score_rows(task, rows, embedder.path.name, settings)


def score_rows(task: Task, rows: Embeddings, model: str, settings: Settings | None = None) -> Evaluation:
    """The evaluation of a task's rows, as `embed_task` gives or a file keeps them; `model` is what to call theirs.

    Raises ScoringError for vectors that no score may rest on, and StorageError for rows that are not the task's.
    """
    settings = settings or Settings()
    if settings.rerank is not None and task.search is not None:
        raise ScoringError("re-ranking takes one gallery for all queries; in a person search each has its own")
    parts = rows_of(task, rows)
    query, gallery = parts["query"], checked(parts["gallery"], len(task.gallery), "gallery")
    if settings.multi_query:
        if task.multi_query is None:
            raise ScoringError("multi-query needs the further crops of each query's person; these vectors have none")
        query = multi_query(parts["multi_query"], task.multi_query, task.query)
    query = checked(query, len(task.query), "query")
    similarities: Similarities = DotProducts(query, gallery)
    if task.search is not None:
        scores = score_search(task.search, query, task.search.boxes, gallery)
    else:
        if settings.rerank is not None:
            similarities = reranking.rerank(query, gallery, settings.rerank)
        scores = score_similarities(similarities, task.query, task.gallery)
    return Evaluation(task, settings, model, rows.contract_id, query, gallery, similarities, scores)
