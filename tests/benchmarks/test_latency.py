"""What is asked of an embedder in each scenario, and what the rows say of it."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import flops, latency, scenarios
from benchmarks.cases import Subject
from benchmarks.flops import WorkError
from benchmarks.latency import MULTI, SERVER, SINGLE, as_table, measure_latency
from benchmarks.measurements import YARDSTICK, Row
from benchmarks.timing import FULL, QUICK, percentile, supported
from export import timing
from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.precision import Precision

from ..sample_images import sample_image

CROPS = [sample_image(20 + 4 * seed, 24, seed) for seed in range(5)]
EVIDENCE = SimpleNamespace(crops=CROPS)
FACTS = {"cosine": 0.9, "integers": 1.0}


class Embedder:
    """One that keeps what it is asked, and answers at once."""

    path = Path("asked.xml")
    contract = SimpleNamespace(resize=LongestSide(32), precision=Precision("int8"))

    def __init__(self, log, name):
        self.log, self.name = log, name
        self.backend = SimpleNamespace(name=name)

    def embed(self, crops, channel_order):
        # A crop is known by its height.
        self.log.append((self.name, [(len(crop) - 20) // 4 for crop in crops]))

    def embed_boxes(self, frame, boxes, channel_order):
        self.log.append((self.name, len(boxes)))


def measured(budget, names=("one",), bound=0.1):
    log = []
    subjects = [Subject(Embedder(log, name), "cpu", {"cosine": 0.9}) for name in names]
    setup = SimpleNamespace(budget=budget, threads=1, evidence=EVIDENCE)
    return measure_latency(setup, subjects, bound).rows, log


@pytest.fixture(autouse=True)
def nothing_to_wait_for(monkeypatch):
    monkeypatch.setattr(timing, "_rest", lambda: None)


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.setattr(latency, "_server", lambda setup, subjects, bound: [])


@pytest.fixture
def no_streams(monkeypatch):
    for scenario in ("_single", "_multi"):
        monkeypatch.setattr(latency, scenario, lambda setup, subjects: [])


def test_single_stream_has_all_crops_back_to_back_before_the_next_subject_has_its_turn(no_server):
    budget = dataclasses.replace(QUICK, queries=12, rounds=2)
    rows, log = measured(budget, ("one", "two"))
    asked = [(name, crops) for name, crops in log if isinstance(crops, list)]
    turns = [asked[start : start + len(CROPS)] for start in range(0, len(asked), len(CROPS))]
    assert all(len({name for name, _ in turn}) == 1 for turn in turns)
    assert all(sorted(crop for _, (crop,) in turn) == list(range(len(CROPS))) for turn in turns)
    # Twelve queries are three whole turns, and one turn is the warm-up.
    assert len(turns) == 2 * (3 + budget.warmup)
    one, two, yardstick = (row for row in rows if row.part == SINGLE)
    assert [one.case, two.case, yardstick.case] == ["asked, one", "asked, two", YARDSTICK]
    assert (len(one.seconds), len(two.seconds), len(yardstick.seconds)) == (15, 15, 3)
    assert one.setting["turn"] == len(CROPS)
    # Subjects have the same order, which changes.
    orders = {name: [[crop for _, (crop,) in turn] for turn in turns if turn[0][0] == name] for name in ("one", "two")}
    assert orders["one"] == orders["two"]
    assert orders["one"][0] != orders["one"][1]


def test_rows_carry_their_subjects_facts_and_the_rate_of_all_queries(no_server):
    rows, _ = measured(QUICK)
    for row in rows:
        if row.case != YARDSTICK:
            assert row.facts == FACTS | {"rate": pytest.approx(row.items * len(row.seconds) / sum(row.seconds))}


def test_many_crops_still_have_turns_to_compare(no_server, monkeypatch):
    monkeypatch.setattr(latency, "_multi", lambda setup, subjects: [])
    rows, _ = measured(dataclasses.replace(FULL, queries=2))
    assert len(rows[0].seconds) == 6 * len(CROPS)


def test_multi_stream_has_several_frames_a_turn_so_that_eight_boxes_have_a_99th_percentile(no_server):
    rows, log = measured(dataclasses.replace(FULL, queries=1))
    found = {row.setting["boxes"]: row for row in rows if row.part == MULTI and row.case != YARDSTICK}
    assert {count: row.setting["turn"] for count, row in found.items()} == {8: 9, 16: 4, 32: 2, 64: 1}
    assert {count: len(row.seconds) for count, row in found.items()} == {8: 108, 16: 48, 32: 24, 64: 12}
    assert supported(len(found[8].seconds), 0.99)
    # Two turns are the warm-up.
    assert [log.count(("one", count)) for count in (8, 16, 32, 64)] == [126, 56, 28, 14]
    assert {count: row.items for count, row in found.items()} == {8: 8, 16: 16, 32: 32, 64: 64}


def test_the_frames_of_a_turn_are_different_ones(no_server):
    asked = {}
    subject = Subject(Embedder([], "one"), "cpu")
    subject.embedder.embed_boxes = lambda frame, boxes, channel_order: asked.setdefault(len(boxes), []).append(
        (frame.tobytes(), boxes.tobytes())
    )
    setup = SimpleNamespace(budget=dataclasses.replace(FULL, queries=1), threads=1, evidence=EVIDENCE)
    measure_latency(setup, [subject])
    assert {count: len(set(several)) for count, several in asked.items()} == {8: 9, 16: 4, 32: 2, 64: 1}


def test_operations_are_those_of_a_turn_of_resized_crops(no_server, monkeypatch):
    monkeypatch.setattr(flops, "multiply_adds", lambda path, batch, height, width: batch * height * width)
    monkeypatch.setattr(Embedder, "path", Path("area.onnx"))
    rows, _ = measured(QUICK)
    resized = [Embedder.contract.resize.shape(*crop.shape[:2]) for crop in CROPS]
    assert resized != [crop.shape[:2] for crop in CROPS]
    single, eight = (next(row for row in rows if row.part == part) for part in (SINGLE, MULTI))
    assert single.facts["operations"] == 2 * sum(height * width for height, width in resized)
    boxes = np.concatenate([latency.frame_with_boxes(CROPS, 8, seed)[1] for seed in range(9)])
    shapes = [Embedder.contract.resize.shape(int(y2 - y1), int(x2 - x1)) for x1, y1, x2, y2 in boxes]
    assert eight.facts["operations"] == 2 * sum(height * width for height, width in shapes)


def test_work_that_cannot_be_counted_is_left_out(monkeypatch):
    def uncounted(*_):
        raise WorkError("no ONNX file")

    monkeypatch.setattr(flops, "multiply_adds", uncounted)
    assert Subject(Embedder([], "one"), "cpu").operations([(16, 8)]) == {}


class Virtual:
    """A clock for a server whose every call takes a fixed time."""

    def __init__(self, monkeypatch, seconds):
        self.passed = 0.0
        clock = scenarios.Clock(lambda: self.passed, self.sleep)
        monkeypatch.setattr(scenarios, "Clock", lambda: clock)
        real = Embedder.embed

        def embed(embedder, crops, channel_order):
            real(embedder, crops, channel_order)
            self.passed += seconds

        monkeypatch.setattr(Embedder, "embed", embed)

    def sleep(self, seconds):
        self.passed += seconds + 1e-9  # what rounding takes from a sum must not keep this clock from going on


def test_a_server_is_warm_before_it_serves_and_its_row_says_between_which_rates_it_gives_up(no_streams, monkeypatch):
    Virtual(monkeypatch, 0.04)
    (row,), log = measured(FULL)
    calls = [crops for _, crops in log]
    # Five crops at once, as batches of four and of two, and each alone.
    assert [len(crops) for crops in calls[:11]] == [5, 5, 5, 4, 1, 2, 2, 1, 1, 1, 1]
    facts = row.facts
    assert FACTS.items() <= facts.items()
    assert facts["seeds"] == scenarios.SEEDS
    # A call of up to 32 waiting queries takes 0.04 s: no rate above 800 a second can hold, one a call always does.
    assert 25 < facts["rate"] < facts["rate_failed"] <= 1.05 * facts["rate"] < 850
    assert min(row.seconds) == pytest.approx(0.04)
    assert percentile(row.seconds, 0.99) <= 0.1
    # The latencies at the rate are those with all seeds, of which each has other arrivals.
    count = round(facts["rate"] * FULL.server_seconds)
    assert len(row.seconds) == scenarios.SEEDS * count
    assert len({row.seconds[start : start + count] for start in range(0, len(row.seconds), count)}) == scenarios.SEEDS


def test_a_server_that_is_always_late_has_no_rate(no_streams, monkeypatch):
    Virtual(monkeypatch, 0.3)
    (row,), _ = measured(FULL)
    assert row.facts["rate"] == 0
    assert row.facts["rate_failed"] >= 1 / FULL.server_seconds
    assert row.seconds == pytest.approx((0.3,))


def test_the_table_has_no_percentile_that_no_sample_lies_beyond_and_both_ends_of_a_rate():
    def cells(part, count, **facts):
        return as_table([Row("one", {}, (0.01,) * count, 1, facts, part)]).splitlines()[1].split()

    assert cells(SINGLE, 99, rate=100.0) == [SINGLE, "one", "10.00", "10.00", "–", "100.0/s"]
    assert cells(SINGLE, 100, rate=100.0) == [SINGLE, "one", "10.00", "10.00", "10.00", "100.0/s"]
    assert "80.0–84.0/s" in cells(SERVER, 100, rate=80.0, rate_failed=84.0)
    assert cells(SERVER, 100, rate=80.0)[-3:] == ["at", "least", "80.0/s"]
