"""The difference between two variants that were trained with several seeds: how sure it is, and of what.

Two things vary: the people who are scored, and what training makes of a seed. Each has its own interval. Over people:
percentiles of the bootstrap of `reid_runtime.scoring.bootstrap`, each person's queries of all seeds together, paired.
Over seeds: Student's t of the seeds' differences, a seed with itself; the bootstrap over so few would be too
narrow. The two errors are independent, so the lengths to either side add by their squares (Zou and Donner,
Construction of confidence limits about effect measures, 2008).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.stats import t as student_t

from reid_runtime.scoring.bootstrap import METRICS, Bootstrap, Interval, compare_scores
from reid_runtime.scoring.ranking import Scores

FEWEST_SEEDS = 3
"""Of fewer no difference is called real."""


@dataclass(frozen=True)
class Difference:
    """Of one measure between two variants, and its interval: over people, over seeds, and over both."""

    people: Interval
    seeds: Interval | None
    """None of one seed, which nothing can be known of."""
    count: int
    """How many seeds there are."""

    @property
    def both(self) -> Interval:
        """Over people and seeds; of one seed, over people alone."""
        if self.seeds is None:
            return self.people
        value, parts = self.people.value, (self.people, self.seeds)
        below = math.hypot(*(value - part.low for part in parts))
        above = math.hypot(*(part.high - value for part in parts))
        return Interval(value, value - below, value + above)

    @property
    def is_real(self) -> bool:
        """Whether there are seeds enough, and the interval over people and seeds leaves out zero."""
        return self.count >= FEWEST_SEEDS and self.both.excludes_zero

    def is_within(self, margin: float) -> bool:
        """Whether there are seeds enough, and the whole interval is nearer to zero than `margin`."""
        return self.count >= FEWEST_SEEDS and -margin < self.both.low and self.both.high < margin


def differences(
    before: Sequence[Scores], after: Sequence[Scores], bootstrap: Bootstrap | None = None
) -> dict[str, Difference]:
    """After less before, by measure; place i of both is one seed's run, and all runs are of the same queries.

    Raises ScoringError where they are not, or where those are of one person only.
    """
    bootstrap = bootstrap or Bootstrap()
    people = compare_scores(_together(before), _together(after), bootstrap).changes
    by_measure = {}
    for name in METRICS:
        of_seeds = [
            getattr(one.summary(), name) - getattr(other.summary(), name)
            for one, other in zip(after, before, strict=True)
        ]
        by_measure[name] = Difference(people[name], _over_seeds(of_seeds, bootstrap.level), len(of_seeds))
    return by_measure


def _over_seeds(values: Sequence[float], level: float) -> Interval | None:
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = error * float(student_t.ppf((1 + level) / 2, len(values) - 1))
    return Interval(mean, mean - reach, mean + reach)


def _together(runs: Sequence[Scores]) -> Scores:
    """The queries of all runs as one set: a person drawn by the bootstrap comes with those of every seed."""
    columns = {field.name for field in fields(Scores)} - {"gallery"}
    joined = {name: np.concatenate([getattr(run, name) for run in runs]) for name in columns}
    return Scores(**joined, gallery=runs[0].gallery)
