"""How sure a score is: bootstrap intervals, and whether the change between two evaluations is more than noise.

What is drawn again, with replacement, is identities and not queries: a person's queries succeed and fail
together, and intervals over single queries would be too narrow. The two evaluations of a comparison are drawn
alike, so that what is hard for both cancels out. Intervals are percentiles (Efron, 1979) of seeded draws: the
same scores give the same interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Integers, Mask
from reid_runtime.scoring.ranking import Fractions, Scores, Summary

MEASURES = {
    "rank_1": "rank-1",
    "rank_5": "rank-5",
    "rank_10": "rank-10",
    "map_finite_sum": "mAP (finite-sum)",
    "map_trapezoid": "mAP (trapezoid)",
    "minp": "mINP",
}
"""The measures of `Summary` that are means over queries, in its order, and what people read for each."""


@dataclass(frozen=True)
class Draws:
    """How intervals are drawn."""

    count: int = 2000
    level: float = 0.95
    """The share of draws that lie within the interval."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 100 or not 0 < self.level < 1:
            raise ScoringError(f"intervals take at least 100 draws and a level between 0 and 1, not {self}")


@dataclass(frozen=True)
class Interval:
    """A score, or the change of one, and between which values it lies at the level of its draws."""

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
    """After less before, for each of MEASURES, over the queries that are valid in both."""
    paired_queries: int
    identities: int
    """How many people these queries are of."""

    @property
    def more_than_noise(self) -> bool:
        """Whether the change in mAP (finite-sum) is."""
        return self.changes["map_finite_sum"].excludes_zero


def intervals(scores: Scores, draws: Draws | None = None) -> dict[str, Interval]:
    """The interval of each of MEASURES. Raises ScoringError where the valid queries are of one person only."""
    return _intervals(_per_query(scores, scores.valid), scores.identities[scores.valid], draws or Draws())


def compare(before: Scores, after: Scores, draws: Draws | None = None) -> Comparison:
    """What changed from one evaluation to another, row i of both being the same query.

    Raises ScoringError where they are not of the same queries, or where those are of one person only.
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
    differences = _per_query(after, paired) - _per_query(before, paired)
    identities = before.identities[paired]
    changes = _intervals(differences, identities, draws or Draws())
    people = np.unique(identities).size
    return Comparison(before.summary(), after.summary(), changes, int(np.count_nonzero(paired)), people)


def _per_query(scores: Scores, rows: Mask) -> Fractions:
    """(Q', M) each query's part in each of MEASURES, for the rows that are asked for."""
    hit = scores.first_hit[rows]
    ranks = [(hit > 0) & (hit <= rank) for rank in (1, 5, 10)]
    precisions = [scores.ap_finite_sum[rows], scores.ap_trapezoid[rows], scores.inp[rows]]
    return np.stack([*ranks, *precisions], axis=1).astype(np.float64)


def _intervals(values: Fractions, identities: Integers, draws: Draws) -> dict[str, Interval]:
    """The interval of the mean of each column of (Q', M) values."""
    people, person = np.unique(identities, return_inverse=True)
    if people.size < 2:
        raise ScoringError("the valid queries are of one person only; an interval takes at least two")
    sums = np.zeros((people.size, values.shape[1]))
    np.add.at(sums, person, values)
    sizes = np.bincount(person)
    generator = np.random.default_rng(draws.seed)
    drawn: npt.NDArray[np.int64] = generator.multinomial(
        people.size, np.full(people.size, 1 / people.size), draws.count
    )
    means = (drawn @ sums) / (drawn @ sizes)[:, None]
    tail = (1 - draws.level) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    return {
        name: Interval(float(value), float(least), float(most))
        for name, value, least, most in zip(MEASURES, values.mean(axis=0), low, high, strict=True)
    }
