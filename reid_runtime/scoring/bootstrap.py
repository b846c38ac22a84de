"""How sure a score is: bootstrap intervals, and whether the change between two evaluations is more than noise.

Identities are drawn with replacement, not queries: a person's queries succeed and fail
together, and intervals over single queries would be too narrow. Two evaluations are compared on the same draws,
so that what is hard for both cancels out. Intervals are percentiles (Efron, 1979) of seeded draws: the
same scores give the same interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Integers, Mask
from reid_runtime.scoring.ranking import Fractions, Scores, Summary

METRICS = {
    "rank_1": "rank-1",
    "rank_5": "rank-5",
    "rank_10": "rank-10",
    "map_finite_sum": "mAP (finite-sum)",
    "map_trapezoid": "mAP (trapezoid)",
    "minp": "mINP",
}
"""The metrics of `Summary` that are means over queries, in its order, and the title of each."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    count: int = 2000
    """How many times the identities are drawn."""
    level: float = 0.95
    """The share of draws that lie within the interval."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 100 or not 0 < self.level < 1:
            raise ScoringError(f"intervals take at least 100 draws and a level between 0 and 1, not {self}")


@dataclass(frozen=True)
class Interval:
    """A score, or the change of one, and between which values it lies at the bootstrap's level."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """For a change: whether it is more than noise."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """Two evaluations of the same queries."""

    before: Summary
    after: Summary
    changes: Mapping[str, Interval]
    """After less before, for each of METRICS, over the queries that are valid in both."""
    paired_queries: int
    identities: int
    """How many people these queries are of."""

    @property
    def more_than_noise(self) -> bool:
        """Whether the change in mAP (finite-sum) is."""
        return self.changes["map_finite_sum"].excludes_zero


def bootstrap_intervals(scores: Scores, bootstrap: Bootstrap | None = None) -> dict[str, Interval]:
    """Intervals of the scores of one evaluation, drawn over identities.

    Args:
        scores: What `score` returned.
        bootstrap: Draws, level and seed; None for 2,000 draws at 95 %.

    Returns:
        The interval of each of METRICS, in fractions.

    Raises:
        ScoringError: Where the valid queries are of one identity only.
    """
    values, identities = _per_query(scores, scores.valid), scores.identities[scores.valid]
    return _intervals(values, identities, bootstrap or Bootstrap())


def compare_scores(before: Scores, after: Scores, bootstrap: Bootstrap | None = None) -> Comparison:
    """What changed from one evaluation to another, and whether it is more than noise: a paired bootstrap.

    Args:
        before: The scores of one evaluation.
        after: Those of the other; row i of both is the same query.
        bootstrap: Draws, level and seed; None for 2,000 draws at 95 %.

    Returns:
        Both summaries, and the change of each of METRICS with its interval.

    Raises:
        ScoringError: Where the two are not of the same queries, or where those are of one identity only.
    """
    if len(before) != len(after):
        raise ScoringError(
            f"one evaluation has {len(before)} queries, the other {len(after)}; compare the same queries"
        )
    differing = (before.identities != after.identities) | (before.cameras != after.cameras)
    if differing.any():
        row = int(np.flatnonzero(differing)[0])
        raise ScoringError(
            f"{np.count_nonzero(differing)} of {len(before)} queries differ, the first is row {row}: identity "
            f"{before.identities[row]} of camera {before.cameras[row]} in one evaluation, identity "
            f"{after.identities[row]} of camera {after.cameras[row]} in the other; compare the same queries"
        )
    paired = before.valid & after.valid
    if not paired.any():
        raise ScoringError("no query has a right answer in both evaluations")
    identities = before.identities[paired]
    differences = _per_query(after, paired) - _per_query(before, paired)
    changes = _intervals(differences, identities, bootstrap or Bootstrap())
    count = int(np.count_nonzero(paired))
    return Comparison(before.summary(), after.summary(), changes, count, np.unique(identities).size)


def draw_people(people: int, bootstrap: Bootstrap) -> Integers:
    """(count, people) how often each person is in each draw of as many, with replacement; the same for equal people."""
    generator = np.random.default_rng(bootstrap.seed)
    draws: Integers = generator.multinomial(people, np.full(people, 1 / people), bootstrap.count)
    return draws


def _per_query(scores: Scores, rows: Mask) -> Fractions:
    """(Q', M) each query's share in each of METRICS, for the rows of the mask."""
    hit = scores.first_hit[rows]
    ranks = [(hit > 0) & (hit <= rank) for rank in (1, 5, 10)]
    precisions = [scores.ap_finite_sum[rows], scores.ap_trapezoid[rows], scores.inp[rows]]
    return np.stack([*ranks, *precisions], axis=1).astype(np.float64)


def _intervals(values: Fractions, identities: Integers, bootstrap: Bootstrap) -> dict[str, Interval]:
    """The interval of the mean of each column of (Q', M) values."""
    people, person = np.unique(identities, return_inverse=True)
    if people.size < 2:
        raise ScoringError("the valid queries are of one person only; an interval takes at least two")
    sums = np.zeros((people.size, values.shape[1]))
    np.add.at(sums, person, values)
    draws = draw_people(people.size, bootstrap)
    means = (draws @ sums) / (draws @ np.bincount(person))[:, None]
    tail = (1 - bootstrap.level) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    columns = zip(METRICS, values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: Interval(value, least, most) for name, value, least, most in columns}
