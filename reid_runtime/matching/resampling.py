"""Intervals of error rates, by drawing people with replacement.

A non-mated comparison belongs to two people, so a false match rate is drawn as the quadratic form of the draws' counts.
That draws too widely: where pairs of people differ for no reason of either person, by up to the root of three. The
spread is therefore brought to that of the variance for dyads (Aronow, Samii, Assenova, Cluster-robust variance
estimation for dyadic data, 2015), on the logarithm of the rate, with Student's quantiles at as many degrees of freedom
as people decide. Satterthwaite's need a fourth moment that few people do not show: with 37 of them the intervals held
nine times in ten.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from reid_runtime.matching.rates import Span
from reid_runtime.scoring.bootstrap import Bootstrap, draw_people
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.ranking import Block, Fractions

BOOTSTRAP = Bootstrap(count=1000)


@dataclass(frozen=True)
class PairRate:
    """A rate over pairs of people: a false match rate, or the FPIR of a search."""

    value: float
    deviations: Fractions
    """(draws,) of its logarithm."""

    @classmethod
    def of(cls, errors: Block, comparisons: Block, draws: Integers) -> "PairRate":
        """Of (P, P) errors and comparisons of each person with each other one, and (draws, P) counts of people.

        The diagonals are 0; (p, q) and (q, p) are added up. There is at least one error.
        """
        weights = draws.astype(np.float32)
        value = float(errors.sum(dtype=np.float64) / comparisons.sum(dtype=np.float64))
        drawn = np.einsum("dp,dp->d", weights @ errors, weights, dtype=np.float64)
        of = np.einsum("dp,dp->d", weights @ comparisons, weights, dtype=np.float64)
        # Half an error where a draw has none: the logarithm of nothing is no number.
        deviations = np.log(np.maximum(drawn, 0.5) / np.maximum(of, 1)) - np.log(value)
        residual = errors.astype(np.float64) - value * comparisons
        residual += residual.T.copy()
        return cls(value, _spread(residual) * deviations)

    def interval(self) -> Span:
        """Within which the rate of all people of the place lies, at 95 %.

        The draws tell by how much these people may be off, so that the place is off the other way: few people seldom
        have among them those who are taken for each other most, and then show less than the place does.
        """
        return self._span(-self.deviations)

    def prediction(self) -> Span:
        """Within which the rate lies that as many other people show at a threshold that was chosen on these."""
        return self._span(self.deviations - np.roll(self.deviations, 1))

    def _span(self, deviations: Fractions) -> Span:
        low, high = np.exp(np.quantile(deviations, _tails())) * self.value
        return float(min(low, 1.0)), float(min(high, 1.0))


def _spread(residual: Fractions) -> float:
    """By how much the deviations of draws are to be multiplied, given the (P, P) symmetric residuals of the pairs."""
    people = len(residual)
    of_pairs, by_person = float((residual**2).sum()) / 2, residual.sum(axis=1)
    squares = float((by_person**2).sum())
    if of_pairs <= 0 or people < 4:
        return 1.0
    # The residuals are from the data's own mean, and few people of many errors decide: both make the estimate small.
    few = people * (people - 1) / (people - 2) ** 2
    fourth = float((by_person**4).sum())
    freedom = squares**2 / fourth if fourth > 0 else float(people)
    variance = few * max(squares - of_pairs, of_pairs) / (squares + of_pairs)
    return float(np.sqrt(variance)) * _student_by_normal(min(max(freedom, 4.0), people))


def _student_by_normal(freedom: float) -> float:
    """Student's quantile by the normal one, at the ends of the intervals (Cornish and Fisher's series)."""
    z = NormalDist().inv_cdf(_tails()[1])
    return 1 + (z**2 + 1) / (4 * freedom) + (5 * z**4 + 16 * z**2 + 3) / (96 * freedom**2)


def draws_of(people: int) -> Integers:
    """(draws, P) how often each person is drawn; the same for equal P."""
    return draw_people(people, BOOTSTRAP)


def person_interval(errors: Fractions, trials: Fractions, draws: Integers) -> Span:
    """The 95 % interval of a rate whose (P,) errors and trials belong to one person each."""
    if not errors.sum() or errors.sum() == trials.sum():
        # No draw shows an error that nobody made; of so many people, at one trial each, one may (binomial, exact).
        bound = 1 - _tails()[0] ** (1 / np.count_nonzero(trials))
        return (0.0, float(bound)) if not errors.sum() else (float(1 - bound), 1.0)
    of = draws @ trials
    rates = (draws @ errors)[of > 0] / of[of > 0]
    low, high = np.quantile(rates, _tails())
    return float(low), float(high)


def _tails() -> tuple[float, float]:
    tail = (1 - BOOTSTRAP.level) / 2
    return tail, 1 - tail
