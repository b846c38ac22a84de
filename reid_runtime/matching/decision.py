"""Whom of a gallery a query shows: one person, one of two, or nobody."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from reid_runtime.matching.rates import Histograms

Decision = Literal["match", "nobody", "ambiguous"]

LEAST_ODDS = 3.0
"""How many times likelier than the runner-up the best must be, for the answer to be one person.

The odds are those of two single comparisons, and understate what several images of each person tell: of answers at
odds of 2 to 3, on Market-1501's test people who were not in the calibration, 97 % were right (59 of 61; by the
default model before `base`).
"""


@dataclass(frozen=True)
class LikelihoodRatio:
    """How many times likelier a similarity is between images of one person than of two; it rises with the similarity.

    Of a calibration's two histograms: the ratio of the shares in each bin, bins pooled where the ratio would fall
    (isotonic regression by pooling adjacent violators: Ayer et al., 1955; as for likelihood ratios of comparison
    scores, Brümmer and du Preez, 2006), and half a comparison more in every pool, so that none is infinite.
    """

    similarities: npt.NDArray[np.float64]
    """(P,) the middle of each pool, ascending."""
    logarithms: npt.NDArray[np.float64]
    """(P,) natural ones."""

    @classmethod
    def of(cls, histograms: Histograms) -> "LikelihoodRatio":
        """The ratio that two histograms show."""
        middles = (np.array(histograms.edges[:-1]) + np.array(histograms.edges[1:])) / 2
        pools: list[tuple[float, float, float]] = []  # mated, non-mated, sum of the middles by count
        for middle, mated, non_mated in zip(middles.tolist(), histograms.mated, histograms.non_mated, strict=True):
            if not mated + non_mated:
                continue
            pool = (float(mated), float(non_mated), middle * (mated + non_mated))
            while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
                last = pools.pop()
                pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
            pools.append(pool)
        counts = np.array(pools).reshape(-1, 3)
        shares = (counts[:, :2] + 0.5) / (counts[:, :2].sum(axis=0) + 1)
        ratios = np.maximum.accumulate(np.log(shares[:, 0] / shares[:, 1]))
        return cls(counts[:, 2] / counts[:, :2].sum(axis=1), ratios)

    def odds(self, first: float, second: float) -> float:
        """Of two people, exactly one of whom the query shows: how many times likelier it is the first.

        The query has these similarities to them; by Bayes' rule the odds are the ratio of their likelihood ratios.
        """
        if not self.similarities.size:
            return 1.0
        one, other = np.interp([first, second], self.similarities, self.logarithms).tolist()
        return float(np.exp(one - other))


def decide(best: float, runner_up: float | None, threshold: float, ratio: LikelihoodRatio) -> Decision:
    """Whom a query shows.

    Args:
        best: The similarity of the gallery's best person.
        runner_up: That of the next person; None where there is none, or where nobody knows that it is another person.
        threshold: Below it the answer is "nobody".
        ratio: What the calibration says of similarities.

    Returns:
        "nobody" where the best is below the threshold; "ambiguous" where the odds for the best against the runner-up
        are less than LEAST_ODDS; else "match".
    """
    if best < threshold:
        return "nobody"
    if runner_up is not None and ratio.odds(best, runner_up) < LEAST_ODDS:
        return "ambiguous"
    return "match"
