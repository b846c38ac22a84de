"""What the paired timer's samples say: percentiles by nearest rank, ratios with intervals, whether a series was
steady, and whether two reports differ; and how much is measured.
"""

import math
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import NormalDist, fmean, variance

import numpy as np

from export.timing import Samples as Samples
from export.timing import paired as paired

WINDOWS = 3
STEADY = 0.1
"""How far the medians of the windows of a steady series may lie apart, as a share of the least."""
_YARDSTICK = np.random.default_rng(0).integers(0, 16, 50_000, dtype=np.uint8).tobytes()


@dataclass(frozen=True)
class Budget:
    """How much is measured. Counts, not seconds: two runs that are compared have as many samples."""

    rounds: int
    """Of what takes long: a folder, a frame."""
    queries: int
    """Of what takes one image."""
    warmup: int
    windows: int
    """Processes over which the stages are measured."""
    server_seconds: float
    """Of each rate that is tried."""
    scale: int
    """How much larger the inputs are than a trial's."""


QUICK = Budget(rounds=4, queries=24, warmup=1, windows=8, server_seconds=0.4, scale=1)
# Twelve rounds: the interval of a median is then from the third to the tenth sample, and six windows have two each.
FULL = Budget(rounds=12, queries=512, warmup=2, windows=20, server_seconds=6, scale=4)


@dataclass(frozen=True)
class Interval:
    """A value, and between which two it lies."""

    value: float
    low: float
    high: float


def yardstick(threads: int = 1) -> None:
    """The same millisecond or two of work always, on each of so many threads: what tells a slower machine from slower
    code. One thread alone would find a free core where what it is beside needs all of them.
    """
    if threads == 1:
        zlib.compress(_YARDSTICK, 6)
    else:
        list(_pool(threads).map(lambda _: zlib.compress(_YARDSTICK, 6), range(threads)))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="yardstick")


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least `share` (0 to 1) of all are not above."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def supported(count: int, share: float) -> bool:
    """Whether so many samples have such a percentile: at least one of them must lie beyond it."""
    return round(count * (1 - share), 9) >= 1


def ratio(samples: Samples, slower: str, faster: str) -> float:
    """The median over rounds of one candidate's time by another's: how many times as fast `faster` is."""
    return ratio_interval(samples[slower], samples[faster]).value


def ratio_interval(slower: Sequence[float], faster: Sequence[float], level: float = 0.95) -> Interval:
    """The median of the rounds' ratios, and its interval.

    That is the distribution-free one of a median, between two order statistics whose ranks follow from the binomial
    distribution (David and Nagaraja, "Order Statistics", 2003, section 7.1). Fewer than six rounds have none of 95 %:
    then it is the whole range, which holds the median in 1 - 2^(1 - rounds) of cases.
    """
    return median_interval([a / b for a, b in zip(slower, faster, strict=True)], level)


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The nearest-rank median and its distribution-free interval, as `ratio_interval` has it."""
    ordered, count = sorted(values), len(values)
    below, rank = 0.0, 0
    # `rank` values may be dropped at each end while the two tails together stay within 1 - level.
    while rank < (count - 1) // 2 and 2 * (below + math.comb(count, rank) / 2**count) <= 1 - level:
        below += math.comb(count, rank) / 2**count
        rank += 1
    drop = max(0, rank - 1)
    return Interval(percentile(ordered, 0.5), ordered[drop], ordered[count - 1 - drop])


def windows(samples: Sequence[float], count: int = WINDOWS) -> list[Sequence[float]]:
    """The series cut into `count` stretches of equal length, as nearly as it goes; fewer where it is shorter."""
    count = min(count, len(samples))
    ends = [round(place * len(samples) / count) for place in range(count + 1)]
    return [samples[start:end] for start, end in pairwise(ends)]


def unsteadiness(samples: Sequence[float]) -> float:
    """How far the medians of three windows lie apart, as a share of the least; above STEADY it was not steady."""
    medians = [percentile(window, 0.5) for window in windows(samples)]
    return max(medians) / min(medians) - 1


def change(before: Sequence[float], after: Sequence[float], level: float = 0.99, process: float = 0) -> Interval:
    """after / before of two sets of positive estimates, two or more each, that were made independently.

    Welch's interval on the logarithms. Its quantile is that of Student's t by Abramowitz and Stegun, 26.7.5.
    process: the variance of a logarithm from process to process, where each set was made in one.
    """
    first, second = ([math.log(value) for value in values] for values in (before, after))
    parts = [variance(values) / len(values) for values in (first, second)]
    spread = math.sqrt(sum(parts) + 2 * process)
    middle = fmean(second) - fmean(first)
    if spread == 0:
        return Interval(math.exp(middle), math.exp(middle), math.exp(middle))
    sizes = (len(first) - 1, len(second) - 1)
    # The variance between processes comes from many more estimates, and counts as known.
    freedom = spread**4 / max(sum(part**2 / size for part, size in zip(parts, sizes, strict=True)), 1e-9 * spread**4)
    reach = spread * _student(0.5 + level / 2, freedom)
    return Interval(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach))


def _student(share: float, freedom: float) -> float:
    z = NormalDist().inv_cdf(share)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
