"""The timer that every benchmark uses, and what its samples say."""

import threading
import time
import zlib
from itertools import pairwise, permutations, product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.timing import (
    change,
    instability,
    median_interval,
    paired,
    percentile,
    ratio_interval,
    reference_load,
    supported,
    windows,
)
from export import timing

from .conftest import row


def test_order_is_drawn_for_each_round(monkeypatch):
    monkeypatch.setattr(timing, "_rest", lambda: None)

    def orders():
        ran = []
        samples = paired({name: lambda name=name: ran.append(name) for name in "abcd"}, rounds=22, warmup=2)
        assert {name: len(seconds) for name, seconds in samples.items()} == dict.fromkeys("abcd", 22)
        return ["".join(ran[start : start + 4]) for start in range(0, len(ran), 4)]

    rounds = orders()
    assert len(rounds) == 24
    assert {"".join(sorted(each)) for each in rounds} == {"abcd"}
    # Nobody has a fixed neighbour or position, as a rotation would give it.
    assert {pair for each in rounds for pair in pairwise(each)} == set(permutations("abcd", 2))
    assert {(name, each.index(name)) for each in rounds for name in "abcd"} == set(product("abcd", range(4)))
    assert orders() == rounds


def test_time_is_the_candidates(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def takes(seconds):
        def call():
            clock[0] += seconds

        return call

    samples = paired({"slow": takes(0.6), "fast": takes(0.2)}, rounds=3)
    assert samples["slow"] == pytest.approx([0.6] * 3)
    assert samples["fast"] == pytest.approx([0.2] * 3)
    assert ratio_interval(samples["slow"], samples["fast"]).value == pytest.approx(3)


def test_warmup_is_not_counted():
    ran = []
    assert len(paired({"a": lambda: ran.append(1)}, rounds=2, warmup=5)["a"]) == 2
    assert len(ran) == 7


class Machine:
    """A clock on which a candidate's threads go on working after its call, as those of an inference engine do."""

    def __init__(self, monkeypatch, spins):
        self.passed, self.worked, self.left = 0.0, 0.0, 0.0
        self.spins = spins
        clock = SimpleNamespace(
            monotonic=lambda: self.passed,
            perf_counter=lambda: self.passed,
            process_time=lambda: self.worked,
            sleep=self.sleep,
        )
        monkeypatch.setattr(timing, "time", clock)

    def sleep(self, seconds):
        works = min(seconds, self.left)
        self.passed += seconds
        self.worked += works
        self.left -= works

    def engine(self):
        self.left = self.spins


def test_candidate_starts_when_threads_rest(monkeypatch):
    machine, left = Machine(monkeypatch, spins=0.12), []
    samples = paired({"spins": machine.engine, "next": lambda: left.append(machine.left)}, rounds=6, warmup=0)
    assert left == [0] * 6
    assert machine.worked == pytest.approx(6 * 0.12, abs=0.12)
    assert samples["next"] == [0] * 6  # the waiting is nobody's time


def test_threads_that_never_rest_are_not_waited_for(monkeypatch):
    machine = Machine(monkeypatch, spins=float("inf"))
    assert len(paired({"spins": machine.engine}, rounds=3, warmup=0)["spins"]) == 3
    assert 0.5 <= machine.passed < 2


def test_reference_load_runs_on_every_thread(monkeypatch):
    here, meeting = [], threading.Barrier(3, timeout=5)

    def work(content, level):
        here.append(threading.get_ident())
        meeting.wait()

    monkeypatch.setattr(zlib, "compress", work)
    reference_load(3)  # one thread alone would wait for the two others in vain
    assert len(set(here)) == 3


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.2, 1), (0.21, 2), (0.5, 3), (0.99, 5), (1, 5)])
def test_percentiles_are_nearest_ranks(share, expected):
    assert percentile([5, 3, 1, 4, 2], share) == expected


def test_percentile_needs_a_sample_beyond():
    assert [count for count in (9, 10, 99, 100) if supported(count, 0.9)] == [10, 99, 100]
    assert [count for count in (9, 10, 99, 100) if supported(count, 0.99)] == [100]


def test_ratios_are_of_rounds_and_not_of_medians():
    # A machine that slows down for both in the middle: the ratio of each round is 2 all along.
    ratio = ratio_interval([2, 20, 2, 4, 6, 8], [1, 10, 1, 2, 3, 4])
    assert (ratio.low, ratio.value, ratio.high) == (2, 2, 2)


def test_interval_of_a_median_is_between_order_statistics():
    # The 95 % interval of ten values is from the second to the ninth (97.9 %), of six the whole range (96.9 %).
    ten, six, two = median_interval(range(1, 11)), median_interval(range(1, 7)), median_interval([7, 5])
    assert [(each.low, each.high) for each in (ten, six, two)] == [(2, 9), (1, 6), (5, 7)]


@pytest.mark.parametrize("count", [6, 10, 21, 40, 101])
def test_interval_of_a_median_is_the_narrowest_that_holds_it(count):
    interval = median_interval(range(count))
    low, high = int(interval.low), int(interval.high)
    # As many values lie below the median as heads come of so many tosses.
    heads = binom(count, 0.5)
    assert heads.cdf(high) - heads.cdf(low) >= 0.95
    assert heads.cdf(high - 1) - heads.cdf(low + 1) < 0.95


def test_windows_have_every_sample_once():
    assert [list(window) for window in windows(range(10), 3)] == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]
    assert len(windows([1.0, 2.0], 3)) == 2


@pytest.mark.parametrize(("seconds", "stable"), [((1, 1.05, 1.09), True), ((1, 1.05, 1.11), False), ((1, 1), False)])
def test_stable_where_thirds_lie_within_a_tenth(seconds, stable):
    series = [value for value in seconds for _ in range(5)] if len(seconds) > 2 else seconds
    assert row(seconds=series).stable is stable
    assert instability([3.0, 1.0, 2.0]) == pytest.approx(2)


def test_change_has_welchs_interval():
    # t of 0.995 at 8 degrees of freedom is 3.3554 (any table of Student's t).
    before, after = np.exp([0.0, 0.1, 0.2, 0.3, 0.4]), np.exp([1.0, 1.1, 1.2, 1.3, 1.4])
    ratio = change(list(before), list(after))
    reach = 3.3554 * np.sqrt(2 * 0.025 / 5)
    assert np.log([ratio.low, ratio.value, ratio.high]) == pytest.approx([1 - reach, 1, 1 + reach], abs=1e-4)


def test_variance_between_processes_widens_the_interval():
    before, after = [1.0, 1.01, 0.99, 1.0], [1.1, 1.11, 1.09, 1.1]
    alone, widened = change(before, after), change(before, after, process=0.03**2)
    assert alone.low > 1.05 > widened.low
    assert widened.value == alone.value
