"""MLPerf's scenarios as functions of a work to do, a clock and inputs; nothing here knows what a model is.

SingleStream: the next query when the last is answered; what counts is the 90th percentile of the latency.
MultiStream: the same with a frame of several images as one query. Offline: all at once; what counts is images a
second. Server: queries come as a Poisson process; what counts is the highest rate at which the 99th percentile keeps
within a bound. Names, measures and the equal issue of inputs are those of MLPerf Inference's rules (Reddi et al.,
2020, "MLPerf Inference Benchmark"); nothing is submitted anywhere, and the durations are shorter.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.timing import percentile

TAIL = 0.99
"""The share of queries that keep within the bound."""
MOST = 32
"""Waiting queries that a server answers in one call."""
_TRIES = 7


@dataclass(frozen=True)
class Clock:
    """What tells the time and waits; another one in tests."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """When the queries of a Poisson process come, in seconds from 0, `rate` of them a second; at least one."""
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(1 / rate, max(1, round(rate * seconds))))
    return [float(value) for value in times]


def serve(
    times: Sequence[float],
    work: Callable[[Sequence[int]], object],
    clock: Clock | None = None,
    bound: float = math.inf,
) -> list[float]:
    """Each query's latency, from when it came to when its answer was there, by one server that takes what waits.

    work: answers the queries of these numbers, at most MOST, in one call. Once so many are later than the bound that
    the tail cannot keep it, the rest is not waited for: their latencies are infinite.
    """
    clock = clock or Clock()
    start, done, latencies = clock.now(), 0, list[float]()
    late, allowed = 0, len(times) - math.ceil(TAIL * len(times))
    while done < len(times):
        if late > allowed:
            return latencies + [math.inf] * (len(times) - done)
        now = clock.now() - start
        if times[done] > now:
            clock.sleep(times[done] - now)
            continue
        waiting = [number for number in range(done, min(done + MOST, len(times))) if times[number] <= now]
        work(waiting)
        ended = clock.now() - start
        latencies += [ended - times[number] for number in waiting]
        late += sum(ended - times[number] > bound for number in waiting)
        done += len(waiting)
    return latencies


@dataclass(frozen=True)
class Served:
    """The highest rate that held, and the latencies at it; 0 and none where no rate did."""

    rate: float
    latencies: tuple[float, ...]


def highest_rate(run: Callable[[float], Sequence[float]], bound: float, first: float, tries: int = _TRIES) -> Served:
    """The highest rate, queries a second, at which the 99th percentile of the latencies `run` gives keeps the bound.

    From `first` the rate is doubled or halved until it lies between one that holds and one that does not, and that
    ratio is then halved, `tries` times in all.
    """
    best = Served(0.0, ())
    too_high: float | None = None
    rate = first
    for _ in range(tries):
        latencies = run(rate)
        if percentile(latencies, TAIL) <= bound:
            best = Served(rate, tuple(latencies))
        else:
            too_high = rate
        if too_high is None:
            rate = best.rate * 2
        elif best.rate == 0:
            rate = too_high / 2
        else:
            rate = (best.rate * too_high) ** 0.5
    return best
