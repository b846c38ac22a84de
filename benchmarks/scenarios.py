"""MLPerf's scenarios as functions of a work to do, a clock and inputs; nothing here knows what a model is.

SingleStream: the next query when the one before is answered; what counts is the 90th percentile of the latency.
MultiStream: the same with several images as one query, here those of a frame; what counts is the 99th percentile.
Offline: all at once; what counts is images a second. Server: queries come as a Poisson process; what counts is the
highest rate at which the 99th percentile of the latency keeps within a bound.

Names, measures and the equal issue of inputs are those of MLPerf Inference's rules today; in the paper (Reddi et al.,
2020, "MLPerf Inference Benchmark") and up to v1.0 MultiStream was the number of images a query that keep a bound.
What differs: durations are shorter, percentiles are nearest ranks, without the rules' penalty for few queries,
MultiStream has other numbers of images than 8 as well and a few frames again and again, so that every shape was seen
before, and nothing is submitted anywhere.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.timing import percentile

TAIL = 0.99
"""The share of queries that keep within the bound."""
MOST = 32
"""Waiting queries that a server answers in one call."""
SEEDS = 3
"""Streams of arrivals, drawn each for itself, that a rate must hold with: one alone may be a lucky one."""
STEP = 1.05
"""How near a rate that holds and one that does not are brought to each other."""
TRIES = 10
"""Rates that are tried: enough for a server that a batch of MOST makes as many times as fast as one query alone."""


@dataclass(frozen=True)
class Clock:
    """What tells the time and waits; another one in tests."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


def stream(queries: Iterable[int], work: Callable[[int], object], clock: Clock | None = None) -> list[float]:
    """Each query's latency where the next one comes when the one before is answered: Single- and MultiStream."""
    clock = clock or Clock()
    latencies = []
    for query in queries:
        started = clock.now()
        work(query)
        latencies.append(clock.now() - started)
    return latencies


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
    """The highest rate that held, queries a second, and all latencies at it; 0 and none where no rate did."""

    rate: float
    failed: float | None
    """The lowest rate that did not hold; None where every one did that was tried."""
    latencies: tuple[float, ...]


def highest_rate(
    run: Callable[[float, int], Sequence[float]], bound: float, first: float, least: float = 0, tries: int = TRIES
) -> Served:
    """The highest rate that holds: the 99th percentile of the latencies keeps the bound with each of SEEDS seeds.

    run: the latencies at a rate with arrivals of a seed. From `first` the rate is doubled or halved until it lies
    between one that holds and one that does not, and that ratio is then halved until it is no more than STEP. No more
    than `tries` rates are tried, and none below `least`: then the two are further apart, or one of them is missing.
    """
    best = Served(0.0, None, ())
    rate = first
    for _ in range(tries):
        best = _tried(best, run, bound, rate)
        if best.failed is None:
            rate = 2 * best.rate
        elif best.rate == 0:
            rate = best.failed / 2
        elif best.failed > STEP * best.rate:
            rate = math.sqrt(best.rate * best.failed)
        else:
            break
        if rate < least:
            break
    return best


def _tried(best: Served, run: Callable[[float, int], Sequence[float]], bound: float, rate: float) -> Served:
    """What is known once a rate was tried, with one seed after the other until one does not hold."""
    latencies: list[float] = []
    for seed in range(SEEDS):
        found = run(rate, seed)
        if percentile(found, TAIL) > bound:
            return replace(best, failed=rate)
        latencies += found
    return replace(best, rate=rate, latencies=tuple(latencies))
