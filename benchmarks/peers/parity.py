"""What a peer's own way of preparing and running pictures costs or gains in vectors and in mAP."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.cases import Setup
from export.gate import Reference
from reid_runtime.agreement import compare
from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import EvalSet
from reid_runtime.evaluation.eval_set import Entries
from reid_runtime.scoring.bootstrap import compare_scores
from reid_runtime.scoring.ranking import Scores, score
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

Embed = Callable[[Sequence[Path]], Vectors]
_MAPS = ("map_finite_sum", "map_trapezoid")
_AT_ONCE = 1024
"""Files of one call: a peer may hold the pictures of all that it is given."""


def peer_parity(setup: Setup, embed: Embed, vectors: Vectors, reference: Reference | None) -> dict[str, float]:
    """The facts of a peer's row, from its (N, D) vectors of the setup's files; cosine and changes in mAP where it has
    a reference, its own mAP where there is a data set.

    Raises DatasetError for a data set that cannot be scored from files alone.
    """
    facts = {} if reference is None else {"cosine": cosine(reference.vectors, vectors)}
    if setup.evidence.task is None:
        return facts
    before = None if reference is None or reference.evaluation is None else reference.evaluation.scores
    return facts | ranking(scored(embed, setup.evidence.task), before)


def cosine(expected: Vectors, found: Vectors) -> float:
    """The worst row's; the found may have any length."""
    return compare(expected, normalise(found, "peer")).worst_cosine


def scored(embed: Embed, task: EvalSet) -> Scores:
    """A task's scores from a function of files; raises DatasetError where its items are not files, one each."""
    if task.tracklets or task.search is not None:
        what = "tracklets" if task.tracklets else "boxes in frames"
        raise DatasetError(f"{task.dataset} is made of {what}, and a peer takes files, one a vector")
    query, gallery = (_embedded(embed, items) for items in (task.query, task.gallery))
    return score(query, task.query, gallery, task.gallery)


def ranking(scores: Scores, reference: Scores | None = None) -> dict[str, float]:
    """mAP by both definitions, and its changes from a reference's with their intervals."""
    summary = scores.summary()
    facts = {"map_finite_sum": summary.map_finite_sum, "map_trapezoid": summary.map_trapezoid}
    if reference is not None:
        changes = compare_scores(reference, scores).changes
        for name in _MAPS:
            change = changes[name]
            for end, value in (("", change.value), ("_low", change.low), ("_high", change.high)):
                facts[f"{name}_change{end}"] = value
    return facts


def _embedded(embed: Embed, items: Entries) -> Vectors:
    files = [pictures[0].path for pictures in items.images]
    parts = [embed(files[start : start + _AT_ONCE]) for start in range(0, len(files), _AT_ONCE)]
    return normalise(np.concatenate(parts), "peer")
