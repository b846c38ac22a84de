"""Error rates of comparisons: thresholds that were measured, and FMR and FNMR at any similarity.

A comparison of two images of one person is mated, of two people non-mated. The false match rate (FMR) is the share of
non-mated comparisons whose similarity is at least the threshold, the false non-match rate (FNMR) the share of mated
ones whose similarity is less (ISO/IEC 19795-1). The similarity is a cosine.
"""

from dataclasses import dataclass

import numpy as np

from reid_runtime.matching.errors import CalibrationError

FMRS = (0.1, 0.01, 0.001, 0.0001)
"""The false match rates for which a calibration states thresholds, where its data support them."""
MIN_EVENTS, MIN_PEOPLE = 30, 20
"""A rate is supported by at least so many errors, of at least so many people."""

Span = tuple[float, float]
"""The ends of a 95 % interval."""


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold, and its error rates."""

    fmr: float
    """The false match rate that was asked for; the data's own is at most this."""
    threshold: float
    """A cosine: from here on two images match."""
    fnmr: float
    fmr_interval: Span
    """By resampling people."""
    fnmr_interval: Span
    fmr_prediction: Span
    """Between which values the FMR of this threshold lies, in 95 of 100 cases, on as many other people of the place."""


@dataclass(frozen=True)
class RefusedRate:
    """A false match rate that the data do not support, and about what would."""

    fmr: float
    people: int
    comparisons: int
    """Non-mated ones."""


@dataclass(frozen=True)
class Histograms:
    """How many comparisons lie in each bin of similarity."""

    edges: tuple[float, ...]
    """Ascending, from -1 to 1; the thresholds of the operating points are among them. The last bin holds its end."""
    mated: tuple[int, ...]
    """One a bin."""
    non_mated: tuple[int, ...]

    def __post_init__(self) -> None:
        bins = len(self.edges) - 1
        if bins < 1 or (len(self.mated), len(self.non_mated)) != (bins, bins):
            raise CalibrationError(
                f"histograms: expected one count a bin, found {len(self.mated)} and {len(self.non_mated)} in {bins}"
            )
        if not (np.diff(self.edges) > 0).all() or self.edges[0] > -1 or self.edges[-1] < 1:
            raise CalibrationError("histograms: expected edges that ascend from -1 to 1")
        if min(*self.mated, *self.non_mated) < 0:
            raise CalibrationError("histograms: expected counts of at least 0")


@dataclass(frozen=True)
class Rates:
    """What one kind of comparison does: its operating points, and its error rates at any similarity."""

    operating_points: tuple[OperatingPoint, ...]
    """By falling FMR; those that the data support."""
    histograms: Histograms

    def threshold(self, fmr: float) -> float:
        """The cosine from which on two images match at a false match rate of at most `fmr`.

        Args:
            fmr: A fraction. Between two rates that were measured, the threshold of the smaller one holds.

        Returns:
            The cosine.

        Raises:
            CalibrationError: Where the data support no rate as small.
        """
        fitting = [point for point in self.operating_points if point.fmr <= fmr * (1 + 1e-9)]
        if not fitting:
            least = min((point.fmr for point in self.operating_points), default=None)
            support = "they support none" if least is None else f"the smallest that they support is {percent(least)}"
            raise CalibrationError(f"the data of this calibration do not support an FMR of {percent(fmr)}: {support}")
        return max(fitting, key=lambda point: point.fmr).threshold

    @property
    def least_fmr(self) -> float | None:
        """The smallest false match rate that the data support; None for none."""
        return min((point.fmr for point in self.operating_points), default=None)

    @property
    def least_fnmr(self) -> float:
        """The smallest false non-match rate that rests on MIN_EVENTS errors."""
        return min(1.0, MIN_EVENTS / max(1, sum(self.histograms.mated)))

    def fmr(self, similarity: float) -> float:
        """The share of non-mated comparisons at or above a similarity; never below the smallest rate supported,
        which is an upper bound there.
        """
        above = 1 - _share_below(self.histograms.edges, self.histograms.non_mated, similarity)
        return max(above, self.least_fmr if self.least_fmr is not None else 0.0)

    def fnmr(self, similarity: float) -> float:
        """The share of mated comparisons below a similarity; never below `least_fnmr`, an upper bound there."""
        return max(_share_below(self.histograms.edges, self.histograms.mated, similarity), self.least_fnmr)

    def similarity_at_fnmr(self, fnmr: float) -> float:
        """The largest similarity whose FNMR is at most `fmr`, or at most the smallest that is supported."""
        total = sum(self.histograms.mated)
        if not total:
            return self.histograms.edges[0]
        below = np.concatenate([[0.0], np.cumsum(self.histograms.mated) / total])
        rate = max(fnmr, self.least_fnmr)
        last = int(np.searchsorted(below, rate, side="right")) - 1
        if last >= len(below) - 1:
            return self.histograms.edges[-1]
        share = (rate - below[last]) / (below[last + 1] - below[last])
        left, right = self.histograms.edges[last : last + 2]
        return float(left + share * (right - left))


def percent(fraction: float) -> str:
    """A rate for people: `0.1 %`."""
    return f"{100 * fraction:.3g} %"


def _share_below(edges: tuple[float, ...], counts: tuple[int, ...], similarity: float) -> float:
    """The share of the counts below a similarity; linear within a bin. 0 where nothing was counted."""
    total = sum(counts)
    if not total:
        return 0.0
    below = np.concatenate([[0.0], np.cumsum(counts)])
    return float(np.interp(similarity, edges, below) / total)
