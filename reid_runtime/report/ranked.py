"""What the best, the median and the worst queries found."""

from dataclasses import dataclass

import numpy as np

from reid_runtime.evaluation.eval_set import Entries, EvalSet
from reid_runtime.evaluation.evaluate import Evaluation
from reid_runtime.report.crops import crop_image
from reid_runtime.report.markup import escaped, percent
from reid_runtime.scoring.labels import DISTRACTOR, Integers
from reid_runtime.scoring.ranking import Scores

_QUERIES = 4
"""How many of each kind are shown, at most."""
_FOUND = 10
"""How many gallery items of each."""


@dataclass(frozen=True)
class Choice:
    """Rows of queries, none of them twice."""

    best: list[int]
    median: list[int]
    worst: list[int]


def choose(scores: Scores, answers: Integers) -> Choice:
    """The queries to show, by average precision and, where that is equal, by the (Q,) number of their right answers.

    Where there are enough people, each kind shows one query of a person.
    """
    valid = np.flatnonzero(scores.valid)
    order = valid[np.lexsort((-answers[valid], -scores.ap_finite_sum[valid]))]
    count = min(_QUERIES, max(1, len(order) // 3))
    best = _spread(order, scores.identities, count)
    worst = _spread(_without(order[::-1], best), scores.identities, count)
    middle = order[np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")]
    median = _spread(_without(middle, [*best, *worst]), scores.identities, count)
    return Choice(best, sorted(median, key=order.tolist().index), worst)


def _answers(task: EvalSet) -> Integers:
    """(Q,) how many right answers each query has."""
    if task.search is not None:
        return np.array([one.answers.size for one in task.search.tasks], dtype=np.int64)
    people, cameras = task.gallery.identities, task.gallery.cameras
    pairs = zip(task.query.identities, task.query.cameras, strict=True)
    counts = [np.count_nonzero((people == identity) & (cameras != camera)) for identity, camera in pairs]
    return np.array(counts, dtype=np.int64)


def _without(rows: Integers, others: list[int]) -> Integers:
    return rows[~np.isin(rows, others)]


def _spread(rows: Integers, identities: Integers, count: int) -> list[int]:
    """The first rows of different people; then, where there are too few people, the first of the others."""
    _, first = np.unique(identities[rows], return_index=True)
    different = rows[np.sort(first)][:count]
    spread: list[int] = np.concatenate([different, _without(rows, different.tolist())])[:count].tolist()
    return spread


def ranked_lists(evaluation: Evaluation) -> str:
    """The three groups of queries, each with the items that it found first."""
    chosen = choose(evaluation.scores, _answers(evaluation.eval_set))
    groups = (("Best", chosen.best), ("Median", chosen.median), ("Worst", chosen.worst))
    return "".join(
        f'<section class="group"><h3>{title} queries</h3>{"".join(_query(evaluation, row) for row in rows)}</section>'
        for title, rows in groups
        if rows
    )


def _query(evaluation: Evaluation, row: int) -> str:
    task, scores = evaluation.eval_set, evaluation.scores
    found, right = evaluation.ranked(row, _FOUND)
    hit = int(scores.first_hit[row])
    facts = f"AP {percent(float(scores.ap_finite_sum[row]))} %, " + (
        f"first right answer at rank {hit:,}" if hit else "no right answer found"
    )
    items = "".join(
        _item(task.gallery, int(item), rank, bool(is_right))
        for rank, (item, is_right) in enumerate(zip(found, right, strict=True), 1)
    )
    return (
        f'<article class="query"><header><h4>{_who(task.query, row)}</h4><p>{facts}</p>'
        f'<p class="name">{escaped(task.query.ids[row])}</p></header>'
        f'<div class="row"><figure class="crop asked">{crop_image(task.query, row, _alt(task.query, row, "query"))}'
        f'<figcaption><span class="mark">query</span>{_labels(task.query, row)}</figcaption></figure>'
        f'<ol class="found">{items}</ol></div></article>'
    )


def _item(gallery: Entries, row: int, rank: int, right: bool) -> str:
    word, sign = ("right", "✓") if right else ("wrong", "✗")
    alt = _alt(gallery, row, f"rank {rank}, {word}")
    return (
        f'<li class="{word}" title="{escaped(gallery.ids[row])}"><figure class="crop">{crop_image(gallery, row, alt)}'
        f'<figcaption><span class="mark"><b aria-hidden="true">{sign}</b> {rank} {word}</span>'
        f"{_labels(gallery, row)}</figcaption></figure></li>"
    )


def _labels(items: Entries, row: int) -> str:
    return f'<span class="who">{_who(items, row)}</span><span>camera {int(items.cameras[row])}</span>'


def _who(items: Entries, row: int) -> str:
    identity = int(items.identities[row])
    return "distractor" if identity == DISTRACTOR else f"identity {identity}"


def _alt(items: Entries, row: int, begin: str) -> str:
    return f"{begin}: {_who(items, row)}, camera {int(items.cameras[row])}"
