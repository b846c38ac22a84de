"""How much is measured, and what the paired timer's samples say: percentiles, ratios and changes with intervals."""

import math
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import fmean, variance

import numpy as np

from export.timing import paired as paired

STABLE = 0.1
"""How far the medians of a stable series' thirds may lie apart, as a share of the least."""
_LOAD = np.random.default_rng(0).integers(0, 16, 50_000, dtype=np.uint8).tobytes()


@dataclass(frozen=True)
class Budget:
    """How much is measured. Counts, not seconds: two runs that are compared have as many samples."""

    rounds: int  # of what takes long: a folder, a frame
    queries: int  # of what takes one image
    warmup: int
    windows: int  # processes over which the stages are measured
    scale: int  # how much larger the inputs are than a trial's


QUICK = Budget(rounds=4, queries=24, warmup=1, windows=8, scale=1)
# Twelve rounds: the interval of a median is then from the third to the tenth sample, and six windows have two each.
FULL = Budget(rounds=12, queries=512, warmup=2, windows=20, scale=4)


@dataclass(frozen=True)
class Interval:
    """A value, and between which two it lies."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def reference_load(threads: int = 1) -> None:
    """The same millisecond or two of work on each of so many threads: it tells a slower machine from slower code.

    One thread alone would find a free core where the code that is measured needs all of them.
    """
    list(_pool(threads).map(lambda _: zlib.compress(_LOAD, 6), range(threads)))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="reference-load")


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least `share` (0 to 1) of all do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def supported(count: int, share: float) -> bool:
    """Whether so many samples have such a percentile: at least one of them must lie beyond it."""
    return round(count * (1 - share), 9) >= 1


def ratio_interval(slower: Sequence[float], faster: Sequence[float]) -> Interval:
    """The median over rounds of one time by the other, with its 95 % interval: how many times as fast the second is."""
    return median_interval([a / b for a, b in zip(slower, faster, strict=True)])


def median_interval(values: Sequence[float]) -> Interval:
    """The nearest-rank median and its distribution-free 95 % interval.

    Fewer than six values have none: then it is the whole range, which holds the median in 1 - 2^(1 - n) of cases.
    """
    from scipy.stats import quantile_test

    middle = percentile(values, 0.5)
    if len(values) < 6:
        return Interval(middle, min(values), max(values))
    low, high = quantile_test(values, q=middle, p=0.5).confidence_interval(0.95)
    return Interval(middle, float(low), float(high))


def windows(samples: Sequence[float], count: int) -> list[Sequence[float]]:
    """The series cut into `count` stretches of equal length, as nearly as it goes; fewer where it is shorter."""
    count = min(count, len(samples))
    ends = [round(index * len(samples) / count) for index in range(count + 1)]
    return [samples[start:end] for start, end in pairwise(ends)]


def instability(samples: Sequence[float]) -> float:
    """How far the medians of the series' thirds lie apart, as a share of the least; see STABLE."""
    medians = [percentile(window, 0.5) for window in windows(samples, 3)]
    return max(medians) / min(medians) - 1


def change(before: Sequence[float], after: Sequence[float], level: float = 0.99, process: float = 0) -> Interval:
    """after / before of two independent sets of positive estimates, two or more each: Welch's interval on logarithms.

    process: the variance of a logarithm from process to process, where each set was made in one; it comes from many
    more estimates, and counts as known.
    """
    from scipy.stats import t as student

    first, second = ([math.log(value) for value in values] for values in (before, after))
    parts = [variance(values) / len(values) for values in (first, second)]
    middle, spread, reach = fmean(second) - fmean(first), math.sqrt(sum(parts) + 2 * process), 0.0
    if spread > 0:
        within = parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1)
        freedom = spread**4 / max(within, 1e-9 * spread**4)
        reach = spread * float(student.ppf(0.5 + level / 2, freedom))
    return Interval(*(math.exp(value) for value in (middle, middle - reach, middle + reach)))
