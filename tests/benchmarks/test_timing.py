"""The timer that every benchmark uses, and the schema of their results."""

import json
import threading
import time
import zlib
from itertools import pairwise, permutations, product
from types import SimpleNamespace

import pytest

from benchmarks.measurements import Report, Row, environment
from benchmarks.timing import paired, percentile, ratio, yardstick
from export import timing


def test_candidates_run_once_a_round_in_an_order_drawn_for_each(monkeypatch):
    monkeypatch.setattr(timing, "_rest", lambda: None)

    def orders():
        ran = []
        samples = paired({name: lambda name=name: ran.append(name) for name in "abcd"}, rounds=22, warmup=2)
        assert {name: len(seconds) for name, seconds in samples.items()} == dict.fromkeys("abcd", 22)
        return ["".join(ran[start : start + 4]) for start in range(0, len(ran), 4)]

    rounds = orders()
    assert len(rounds) == 24
    assert {"".join(sorted(each)) for each in rounds} == {"abcd"}
    # Nobody has a neighbour or a place of its own, as a rotation would give it.
    assert {pair for each in rounds for pair in pairwise(each)} == set(permutations("abcd", 2))
    assert {(name, each.index(name)) for each in rounds for name in "abcd"} == set(product("abcd", range(4)))
    assert orders() == rounds


def test_the_time_is_that_of_the_candidate(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def takes(seconds):
        def call():
            clock[0] += seconds

        return call

    samples = paired({"slow": takes(0.6), "fast": takes(0.2)}, rounds=3)
    assert samples["slow"] == pytest.approx([0.6] * 3)
    assert samples["fast"] == pytest.approx([0.2] * 3)
    assert ratio(samples, "slow", "fast") == pytest.approx(3)


def test_warmup_is_not_counted():
    ran = []
    assert len(paired({"a": lambda: ran.append(1)}, rounds=2, warmup=5)["a"]) == 2
    assert len(ran) == 7


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.2, 1), (0.21, 2), (0.5, 3), (0.99, 5), (1, 5)])
def test_percentiles_are_nearest_ranks(share, expected):
    assert percentile([5, 3, 1, 4, 2], share) == expected


def test_ratios_pair_the_rounds():
    # A machine that slows down for both in the middle: the ratio of each round is 2 all along.
    assert ratio({"a": [2, 20, 2, 4], "b": [1, 10, 1, 2]}, "a", "b") == 2


def test_reports_keep_every_sample(tmp_path):
    rows = (Row("engine", {"batch": 8}, (0.1, 0.2), 8, {"cosine": 1.0}),)
    Report("speed", environment(), rows).write(tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["rows"] == [
        {"case": "engine", "setting": {"batch": 8}, "seconds": [0.1, 0.2], "items": 8, "facts": {"cosine": 1.0}}
        | {"part": ""}
    ]
    assert found["benchmark"] == "speed"
    assert {"cores", "git", "packages", "processor", "python", "time"} <= set(found["environment"])
    assert "numpy" in found["environment"]["packages"]


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


def test_a_candidate_starts_when_the_threads_of_the_one_before_rest(monkeypatch):
    machine, left = Machine(monkeypatch, spins=0.12), []
    samples = paired({"spins": machine.engine, "next": lambda: left.append(machine.left)}, rounds=6, warmup=0)
    assert left == [0] * 6
    assert machine.worked == pytest.approx(6 * 0.12, abs=0.12)
    assert samples["next"] == [0] * 6  # the waiting is nobody's time


def test_threads_that_never_rest_are_not_waited_for(monkeypatch):
    machine = Machine(monkeypatch, spins=float("inf"))
    assert len(paired({"spins": machine.engine}, rounds=3, warmup=0)["spins"]) == 3
    assert 0.5 <= machine.passed < 2


def test_the_yardstick_works_on_as_many_threads_as_it_is_given(monkeypatch):
    here, meeting = [], threading.Barrier(3, timeout=5)

    def work(content, level):
        here.append(threading.get_ident())
        meeting.wait()

    monkeypatch.setattr(zlib, "compress", work)
    yardstick(3)  # one thread alone would wait for the two others in vain
    assert len(set(here)) == 3
