"""Operating points and strata: thresholds from non-mated comparisons, and what the data do not support."""

import math
from dataclasses import dataclass

import numpy as np

from reid_runtime.matching.calibration import Cameras, Crops, Stratum
from reid_runtime.matching.comparisons import BINS, Comparisons, Counts, Tally, cosine_at
from reid_runtime.matching.rates import (
    FMRS,
    MIN_EVENTS,
    MIN_PEOPLE,
    Histograms,
    OperatingPoint,
    RefusedRate,
)
from reid_runtime.matching.resampling import PairRate, draws_of, person_interval
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.ranking import Block

_STEP = 50
"""Bins of a tally in one of a histogram: 0.005."""


@dataclass(frozen=True)
class Measured:
    """What the comparisons of one kind gave."""

    points: tuple[OperatingPoint, ...]
    refused: tuple[RefusedRate, ...]
    histograms: Histograms
    people: int
    """That any of these comparisons is of."""
    mated: int
    non_mated: int

    def stratum(self, camera: Cameras, height: str, crops: Crops) -> Stratum:
        """As a calibration has it."""
        return Stratum(self.points, self.histograms, camera, height, crops, self.people, self.mated, self.non_mated)


def measure(comparisons: Comparisons) -> Measured:
    """The operating points of all comparisons of one kind, for those of FMRS that they support."""
    tally = comparisons.tally()
    mated, non_mated = int(tally.mated.sum()), int(tally.non_mated.sum())
    edges = {fmr: edge_at(tally.non_mated, fmr) for fmr in FMRS if fmr * non_mated >= MIN_EVENTS and mated}
    comparisons_of, *errors = comparisons.by_people([0, *edges.values()])
    draws = draws_of(comparisons.people)
    points = []
    for (fmr, edge), error in zip(edges.items(), errors, strict=True):
        if _involved(error) >= MIN_PEOPLE and error.sum() >= MIN_EVENTS:
            points.append(_point(fmr, edge, tally, PairRate.of(error, comparisons_of, draws), draws))
    supported = {point.fmr: edges[point.fmr] for point in points}
    refused = tuple(_refused(fmr, comparisons_of) for fmr in FMRS if fmr not in supported)
    involved = (comparisons_of.sum(axis=0) + comparisons_of.sum(axis=1)) > 0
    involved[tally.mated_people] = True
    people = int(np.count_nonzero(involved))
    histograms = _histograms(tally, list(supported.values()))
    return Measured(tuple(points), refused, histograms, people, mated, non_mated)


def edge_at(counts: Counts, rate: float) -> int:
    """The lowest edge at or above which at most this share of the counts lies."""
    above = np.append(np.cumsum(counts[::-1])[::-1], 0)
    return int(np.argmax(above <= rate * above[0] * (1 + 1e-12)))


def _point(fmr: float, edge: int, tally: Tally, rate: PairRate, draws: Integers) -> OperatingPoint:
    people = draws.shape[1]
    trials = np.bincount(tally.mated_people, minlength=people).astype(np.float64)
    below = tally.mated_bins < edge
    misses = np.bincount(tally.mated_people[below], minlength=people).astype(np.float64)
    return OperatingPoint(
        fmr=fmr,
        threshold=cosine_at(edge),
        fnmr=float(misses.sum() / trials.sum()),
        fmr_interval=rate.interval(),
        fnmr_interval=person_interval(misses, trials, draws),
        fmr_prediction=rate.prediction(),
    )


def _refused(fmr: float, comparisons: Block) -> RefusedRate:
    """About how many people, with as many crops each as these have, would have MIN_EVENTS false matches."""
    needed = math.ceil(MIN_EVENTS / fmr)
    people = len(comparisons)
    # Comparisons of two people stay as many on average as they are here; P people are P (P - 1) / 2 pairs.
    a_pair = float(comparisons.sum(dtype=np.float64)) / (people * (people - 1) / 2)
    enough = math.ceil(math.sqrt(2 * needed / max(a_pair, 1e-3)) + 0.5)
    return RefusedRate(fmr, max(MIN_PEOPLE, enough, people + 1), needed)


def _involved(errors: Block) -> int:
    return int(np.count_nonzero(errors.sum(axis=0) + errors.sum(axis=1)))


def _histograms(tally: Tally, thresholds: list[int]) -> Histograms:
    edges = sorted({*range(0, BINS + 1, _STEP), *thresholds})
    mated, non_mated = (np.add.reduceat(counts, edges[:-1]).tolist() for counts in (tally.mated, tally.non_mated))
    return Histograms(tuple(map(cosine_at, edges)), tuple(mated), tuple(non_mated))
