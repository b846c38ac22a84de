"""The ranked lists of the best, the median and the worst queries."""

from dataclasses import dataclass

import numpy as np

from reid_runtime.evaluation.eval_set import Entries, EvalSet
from reid_runtime.evaluation.evaluate import Evaluation
from reid_runtime.matching.search import cosines
from reid_runtime.report.crops import crop_image, loader
from reid_runtime.report.markup import camera_name, escaped, percent
from reid_runtime.report.total_maps import TotalMaps
from reid_runtime.scoring.labels import DISTRACTOR, Integers
from reid_runtime.scoring.ranking import Scores

_QUERIES = 4
"""How many of each kind are shown, at most."""
_LENGTH = 10
"""How many gallery entries of each query are shown."""


_WORDS = {True: "right", False: "wrong"}


@dataclass(frozen=True)
class Choice:
    """Rows of queries, each at most once."""

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


def _answers(eval_set: EvalSet) -> Integers:
    """(Q,) how many right answers each query has."""
    if eval_set.search is not None:
        return np.array([task.answers.size for task in eval_set.search.tasks], dtype=np.int64)
    identities, cameras = eval_set.gallery.identities, eval_set.gallery.cameras
    pairs = zip(eval_set.query.identities, eval_set.query.cameras, strict=True)
    counts = [np.count_nonzero((identities == identity) & (cameras != camera)) for identity, camera in pairs]
    return np.array(counts, dtype=np.int64)


def _without(rows: Integers, excluded: list[int]) -> Integers:
    return rows[~np.isin(rows, excluded)]


def _spread(rows: Integers, identities: Integers, count: int) -> list[int]:
    """The first row of each person, up to `count`; where there are fewer people, the first further rows too."""
    _, first = np.unique(identities[rows], return_index=True)
    different = rows[np.sort(first)][:count]
    spread: list[int] = np.concatenate([different, _without(rows, different.tolist())])[:count].tolist()
    return spread


def ranked_lists(evaluation: Evaluation, maps: TotalMaps | None = None) -> str:
    """The three groups of queries, each with the gallery entries that rank first, and with `maps` why."""
    chosen = choose(evaluation.scores, _answers(evaluation.eval_set))
    groups = (("Best", chosen.best), ("Median", chosen.median), ("Worst", chosen.worst))
    articles = ((title, "".join(_query(evaluation, row, maps) for row in rows)) for title, rows in groups if rows)
    return "".join(f'<section class="group"><h3>{title} queries</h3>{shown}</section>' for title, shown in articles)


def _query(evaluation: Evaluation, row: int, maps: TotalMaps | None) -> str:
    query, gallery, scores = evaluation.eval_set.query, evaluation.eval_set.gallery, evaluation.scores
    ranked, right = evaluation.ranked(row, _LENGTH)
    similar = cosines(evaluation.query_vectors[row], evaluation.gallery_vectors[ranked])
    hit = int(scores.first_hit[row])
    facts = f"AP {percent(float(scores.ap_finite_sum[row]))} %, " + (
        f"first right answer at rank {hit:,}" if hit else "no right answer found"
    )
    entries = "".join(
        _entry(gallery, int(entry), rank, bool(is_right), float(cosine))
        for rank, (entry, is_right, cosine) in enumerate(zip(ranked, right, similar, strict=True), 1)
    )
    why = ""
    if maps is not None:
        shown = enumerate(zip(ranked.tolist(), right, strict=True), 1)
        shown_images = [
            (f"rank {rank}, {_WORDS[bool(is_right)]}", loader(gallery, each)) for rank, (each, is_right) in shown
        ]
        why = maps.details(loader(query, row), shown_images)
    return (
        f'<article class="query"><header><h4>{_identity(query, row)}</h4><p>{facts}</p>'
        f'<p class="name">{escaped(query.ids[row])}</p></header>'
        f'<div class="row"><figure class="crop query-crop">{crop_image(query, row, _alt(query, row, "query"))}'
        f'<figcaption><span class="mark">query</span>{_labels(query, row)}</figcaption></figure>'
        f'<ol class="ranked">{entries}</ol></div>{why}</article>'
    )


def _entry(gallery: Entries, row: int, rank: int, right: bool, cosine: float) -> str:
    word, sign = _WORDS[right], "✓" if right else "✗"
    alt = _alt(gallery, row, f"rank {rank}, {word}")
    return (
        f'<li class="{word}" title="{escaped(gallery.ids[row])}"><figure class="crop">{crop_image(gallery, row, alt)}'
        f'<figcaption><span class="mark"><b aria-hidden="true">{sign}</b> {rank} {word}</span>'
        f"{_labels(gallery, row)}<span>cosine {cosine:.3f}</span></figcaption></figure></li>"
    )


def _labels(entries: Entries, row: int) -> str:
    return f'<span class="identity">{_identity(entries, row)}</span><span>{_camera(entries, row)}</span>'


def _identity(entries: Entries, row: int) -> str:
    identity = int(entries.identities[row])
    return "distractor" if identity == DISTRACTOR else f"identity {escaped(entries.names.identity(identity))}"


def _camera(entries: Entries, row: int) -> str:
    name = entries.names.camera(int(entries.cameras[row]))
    return camera_name(name) if name else "no camera stated"


def _alt(entries: Entries, row: int, prefix: str) -> str:
    return f"{prefix}: {_identity(entries, row)}, {_camera(entries, row)}"
