"""How likely two crops of a pile are one person's, without labels.

A calibration says how much likelier a similarity is between two images of one person than of two. How many pairs of a
pile are mated it cannot say; that share is estimated from the pile's own similarities by expectation maximisation
(Saerens, Latinne and Decaestecker, 2002). Both together give each pair's probability by Bayes' rule.

Where the pile knows of pairs that they are two people, as boxes of one frame are, its distances (1 less the cosine) are
scaled first, so that these pairs are as far apart as the calibration's non-mated ones: strangers look more alike in one
place than in another, and means over tracks more than single crops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.matching.calibration import ANY_HEIGHT, Calibration
from reid_runtime.matching.decision import LikelihoodRatio
from reid_runtime.matching.rates import Histograms
from reid_runtime.vectors import Vectors

Numbers = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_SAMPLE = 2000
"""Rows whose pairs are looked at."""
_STEPS = 300
_MOST = 0.5
"""The largest share of mated pairs that is believed."""
_STRANGERS, _MOST_STRANGERS = 50, 20_000
"""Pairs of known strangers from which on they say something of the place, and how many are looked at."""
_LEAST_ODDS = 1 / 3
"""For a pair to be of one person. The best expected F1 is at half of itself (Lipton, Elkan and Naryanaswamy, 2014), so
where less than 0.5 can be expected, as of a few strangers, it would be at pairs that are hardly anybody's.
"""
_PSEUDO = (1.0, 99.0)
"""Mated and non-mated pairs that are added to the pile's: a pile of a few crops says nothing of the share."""


@dataclass(frozen=True)
class PairSample:
    """Pairs of a pile's rows, and how likely each is of one person."""

    rows: tuple[Integers, Integers]
    """(P,) and (P,): the two rows of each pair."""
    probabilities: Numbers
    """(P,)"""
    mated_share: float
    """The estimated share of mated pairs in the pile."""
    similarity: float
    """The cosine at which single pairs, each for itself, have the best expected F1; none at which a pair is of one
    person with a probability below a quarter, and none above the mean of mated pairs, which of very many people are
    not likely enough each for itself.
    """
    stranger: float
    """The mean cosine of the calibration's non-mated pairs, as distances are in the pile."""
    scale: float
    """By what the pile's distances were multiplied, to be those of the calibration; 1 without known strangers."""

    def expected_f1(self, labels: Integers) -> float:
        """The expected pairwise F1 of groups: of the pairs in one group and the mated pairs, how many are both."""
        one = labels[self.rows[0]] == labels[self.rows[1]]
        total = float(one.sum()) + float(self.probabilities.sum())
        return 2 * float(self.probabilities[one].sum()) / total if total else 1.0


def sample_pairs(calibration: Calibration, vectors: Vectors, strangers: Integers) -> PairSample:
    """All pairs of a pile, or of two thousand of its rows, with the probability that each is of one person.

    Args:
        calibration: Of the vectors' embedding space.
        vectors: (N, D) float32 of unit length.
        strangers: (S, 2) rows that are known to be of two people.

    Returns:
        The pairs.
    """
    histograms = pooled_histograms(calibration)
    ratio = LikelihoodRatio.of(histograms)
    mated, usual = (_mean(counts, histograms.edges) for counts in (histograms.mated, histograms.non_mated))
    scale = _scale(usual, vectors, strangers)
    stranger = 1 - (1 - usual) / scale
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE]).astype(np.int64)
    ones, others = np.triu_indices(len(chosen), 1)
    similarities = (vectors[chosen] @ vectors[chosen].T)[ones, others]
    if not ratio.similarities.size:
        return PairSample((chosen[ones], chosen[others]), np.zeros(len(ones)), 0.0, 1.0, stranger, scale)
    ratios = np.exp(np.interp(1 - scale * (1 - similarities), ratio.similarities, ratio.logarithms))
    share = _PSEUDO[0] / sum(_PSEUDO)
    # The pairs are many, the similarities that differ to three decimals few.
    values, places, counts = np.unique(np.round(ratios, 6), return_inverse=True, return_counts=True)
    for _ in range(_STEPS):
        likely = share * values / (share * values + 1 - share)
        share = min(_MOST, float(((counts * likely).sum() + _PSEUDO[0]) / (counts.sum() + sum(_PSEUDO))))
    probabilities = likely[places.reshape(-1)]
    order = np.argsort(-similarities)
    cumulative = np.cumsum(probabilities[order])
    best = int(np.argmax(2 * cumulative / (np.arange(1, len(order) + 1) + cumulative[-1]))) if len(order) else 0
    similarity = float(similarities[order[best]]) if len(order) else 1.0
    least = float(np.interp(np.log(_LEAST_ODDS * (1 - share) / share), ratio.logarithms, ratio.similarities))
    similarity = min(max(similarity, 1 - (1 - least) / scale), 1 - (1 - mated) / scale)
    return PairSample((chosen[ones], chosen[others]), probabilities, share, similarity, stranger, scale)


def _mean(counts: Sequence[int], edges: Sequence[float]) -> float:
    """The mean cosine of a histogram's pairs; 0 where there are none."""
    numbers, bounds = np.array(counts, np.float64), np.array(edges)
    return float(numbers @ (bounds[:-1] + bounds[1:]) / 2 / max(numbers.sum(), 1.0))


def _scale(usual: float, vectors: Vectors, strangers: Integers) -> float:
    if len(strangers) < _STRANGERS or not usual:
        return 1.0
    chosen = strangers[:: max(1, len(strangers) // _MOST_STRANGERS)]
    cosines = np.einsum("pd,pd->p", vectors[chosen[:, 0]], vectors[chosen[:, 1]])
    return float((1 - usual) / max(1e-6, 1 - float(cosines.mean())))


def pooled_histograms(calibration: Calibration) -> Histograms:
    """All comparisons of single crops, across cameras and within them, as a pile has them."""
    edges = calibration.histograms.edges
    chosen = [calibration.histograms]
    own = "across" if calibration.source.across_cameras else "within" if calibration.source.cameras else "any"
    chosen += [
        each.histograms
        for each in calibration.strata
        if (each.crops, each.height) == ("1x1", ANY_HEIGHT) and each.camera != own
    ]
    mated, non_mated = (
        tuple(np.sum([_rebinned(each, name, edges) for each in chosen], axis=0).round().astype(int).tolist())
        for name in ("mated", "non_mated")
    )
    return Histograms(edges, mated, non_mated)


def _rebinned(histograms: Histograms, name: str, edges: tuple[float, ...]) -> Numbers:
    """The counts between other edges; each bin's are spread evenly over it."""
    below = np.concatenate([[0.0], np.cumsum(getattr(histograms, name))])
    counts: Numbers = np.diff(np.interp(edges, histograms.edges, below))
    return counts
