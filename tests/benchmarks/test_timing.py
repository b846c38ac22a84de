"""The timer that every benchmark uses, and the schema of their results."""

import json
import threading
import time
import zlib

import pytest

from benchmarks.results import Report, Row, environment
from benchmarks.timing import paired, percentile, ratio


def test_candidates_run_once_a_round_and_turn_their_order():
    ran = []
    samples = paired({name: lambda name=name: ran.append(name) for name in "abc"}, rounds=4, warmup=2)
    rounds = ["".join(ran[start : start + 3]) for start in range(0, len(ran), 3)]
    assert rounds == ["bca", "cab", "abc", "bca", "cab", "abc"]
    assert {name: len(seconds) for name, seconds in samples.items()} == {"a": 4, "b": 4, "c": 4}


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


class Spinning:
    """A candidate whose thread goes on working after its call, as those of an inference engine do."""

    def __init__(self, seconds):
        self.seconds, self.threads, self.over = seconds, [], threading.Event()

    def __call__(self):
        self.threads.append(threading.Thread(target=self._work, daemon=True))
        self.threads[-1].start()

    def _work(self):
        until = time.monotonic() + self.seconds
        while time.monotonic() < until and not self.over.is_set():
            zlib.compress(bytes(50_000))  # without the interpreter's lock

    @property
    def working(self):
        return any(thread.is_alive() for thread in self.threads)


def test_a_candidate_starts_when_the_threads_of_the_one_before_rest():
    spins, alive = Spinning(0.12), []
    paired({"spins": spins, "next": lambda: alive.append(spins.working)}, rounds=2, warmup=1)
    assert alive == [False] * 3


def test_threads_that_never_rest_are_not_waited_for():
    spins = Spinning(60)
    try:
        started = time.monotonic()
        paired({"spins": spins}, rounds=2, warmup=0)
        assert spins.working
        assert time.monotonic() - started < 10
    finally:
        spins.over.set()
