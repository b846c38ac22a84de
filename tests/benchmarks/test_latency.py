"""What is asked of an embedder in each scenario, and what the rows say of it."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import flops, latency
from benchmarks.cases import Case
from benchmarks.latency import measure_latency
from benchmarks.measurements import Parity, Part
from benchmarks.timing import FULL, QUICK, supported
from export import timing
from reid_runtime.images.resize import LongestSide

from ..models import CONTRACT
from ..sample_images import sample_image

CROPS = [sample_image(20 + 4 * seed, 24, seed) for seed in range(5)]


class Embedder:
    """One that keeps what it is asked, and answers at once."""

    path = Path("asked.xml")
    contract = dataclasses.replace(CONTRACT, resize=LongestSide(32))

    def __init__(self, log, name):
        self.log, self.name = log, name
        self.backend = SimpleNamespace(name=name, device="cpu")

    def embed(self, crops, channel_order):
        # A crop is known by its height.
        self.log.append((self.name, [(len(crop) - 20) // 4 for crop in crops]))

    def embed_boxes(self, frame, boxes, channel_order):
        self.log.append((self.name, (len(boxes), frame.tobytes(), boxes.tobytes())))


def measured(budget, names=("one",)):
    log = []
    cases = [Case(Embedder(log, name), Parity(0.9)) for name in names]
    setup = SimpleNamespace(budget=budget, threads=1, evidence=SimpleNamespace(crops=CROPS))
    rows = measure_latency(setup, cases).rows
    return {part: [row for row in rows if row.part == part] for part in Part}, log


@pytest.fixture(autouse=True)
def nothing_to_wait_for(monkeypatch):
    monkeypatch.setattr(timing, "_rest", lambda: None)


def test_single_stream_has_all_crops_before_the_next_case_has_its_turn():
    budget = dataclasses.replace(QUICK, queries=12, rounds=2)
    rows, log = measured(budget, ("one", "two"))
    asked = [(name, crops) for name, crops in log if isinstance(crops, list)]
    turns = [asked[start : start + len(CROPS)] for start in range(0, len(asked), len(CROPS))]
    assert all(len({name for name, _ in turn}) == 1 for turn in turns)
    assert all(sorted(crop for _, (crop,) in turn) == list(range(len(CROPS))) for turn in turns)
    # Twelve queries are three whole turns, and one turn is the warm-up.
    assert len(turns) == 2 * (3 + budget.warmup)
    one, two = rows[Part.SINGLE_STREAM]
    assert [row.engine for row in (one, two)] == ["one", "two"]
    assert [(len(row.seconds), len(row.load), row.turn) for row in (one, two)] == [(15, 3, len(CROPS))] * 2
    # Both have the same order, which changes.
    orders = {name: [[crop for _, (crop,) in turn] for turn in turns if turn[0][0] == name] for name in ("one", "two")}
    assert orders["one"] == orders["two"]
    assert orders["one"][0] != orders["one"][1]
    assert {row.parity.cosine for part in rows.values() for row in part} == {0.9}


def test_many_crops_still_have_turns_to_compare(monkeypatch):
    monkeypatch.setattr(latency, "_multi_stream", lambda setup, cases: [])
    rows, _ = measured(dataclasses.replace(FULL, queries=2))
    assert len(rows[Part.SINGLE_STREAM][0].seconds) == 6 * len(CROPS)


def test_multi_stream_has_several_different_frames_a_turn(monkeypatch):
    monkeypatch.setattr(latency, "_single_stream", lambda setup, cases: [])
    rows, log = measured(FULL)
    actual = {row.items: row for row in rows[Part.MULTI_STREAM]}
    assert {count: row.turn for count, row in actual.items()} == {8: 9, 16: 4, 32: 2, 64: 1}
    assert {count: len(row.seconds) for count, row in actual.items()} == {8: 108, 16: 48, 32: 24, 64: 12}
    assert supported(len(actual[8].seconds), 0.99)
    # Two turns are the warm-up.
    counts = [boxes[0] for _, boxes in log]
    assert [counts.count(count) for count in (8, 16, 32, 64)] == [126, 56, 28, 14]
    assert {count: len({frame for _, frame in log if frame[0] == count}) for count in actual} == {
        8: 9,
        16: 4,
        32: 2,
        64: 1,
    }


def test_operations_are_those_of_a_turn_of_resized_crops(monkeypatch):
    monkeypatch.setattr(flops, "multiply_adds", lambda path, batch, height, width: batch * height * width)
    monkeypatch.setattr(Embedder, "path", Path("area.onnx"))
    rows, _ = measured(QUICK)
    rule = Embedder.contract.resize
    resized = [rule.shape(*crop.shape[:2]) for crop in CROPS]
    assert resized != [crop.shape[:2] for crop in CROPS]
    assert rows[Part.SINGLE_STREAM][0].operations == 2 * sum(height * width for height, width in resized)
    boxes = np.concatenate([latency.frame_with_boxes(CROPS, 8, seed)[1] for seed in range(9)])
    shapes = [rule.shape(int(y2 - y1), int(x2 - x1)) for x1, y1, x2, y2 in boxes]
    assert rows[Part.MULTI_STREAM][0].operations == 2 * sum(height * width for height, width in shapes)
