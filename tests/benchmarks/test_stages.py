"""That a stage's time is that stage's, and that windows of several processes stay apart."""

import dataclasses
import time

import numpy as np
import pytest

from benchmarks import cases, stages
from benchmarks.cases import Case
from benchmarks.inputs import write_files
from benchmarks.measurements import Parity, Part, Row
from benchmarks.tables import tables
from reid_runtime import jobs
from reid_runtime.batching import WINDOW
from reid_runtime.images import decode

from ..sample_images import sample_image
from .conftest import SHORT, setup_of


class Ticks:
    """Time that passes only within the named functions, so much a call."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        self.patch = monkeypatch.setattr

    def spend(self, module, name, seconds):
        real = getattr(module, name)

        def slow(*arguments, **named):
            self.now += seconds
            return real(*arguments, **named)

        self.patch(module, name, slow)


def test_each_stage_is_timed_alone(tiny, monkeypatch, tmp_path):
    files = write_files(tmp_path, (sample_image(),), stages.CROPS)
    ticks = Ticks(monkeypatch)
    ticks.spend(decode, "load_image", 1.0)
    ticks.spend(cases, "resized", 0.1)
    ticks.spend(cases, "to_model_input", 0.01)
    ticks.spend(tiny.backend, "run", 0.001)
    ticks.spend(jobs, "write_embeddings", 0.0001)
    monkeypatch.setattr(stages, "_ROUNDS", 3)
    rows = stages.window(Case(tiny), files, SHORT)
    assert {row.name: (row.median, row.items) for row in rows} == {
        "decode": (pytest.approx(4.0), 4),
        "resize": (pytest.approx(0.4), 4),
        "copy": (pytest.approx(0.01), 4),  # one batch of four
        "inference": (pytest.approx(0.001), 4),
        "write": (pytest.approx(0.0001), WINDOW),
    }
    (table,) = tables(rows)
    shares = [line[table.head.index("share")] for line in table.lines]
    assert shares == ["90.7 %", "9.1 %", "0.2 %", "0.0 %", "0.0 %"]


def test_written_table_has_as_many_rows_as_its_stage_says(tiny, tmp_path):
    stages.stages(Case(tiny), write_files(tmp_path, (sample_image(),), stages.CROPS), tmp_path)["write"]()
    assert len(jobs.read_embeddings(tmp_path / "embeddings.npz").id) == WINDOW


def test_windows_become_one_series_in_their_order():
    parts = [
        [
            Row(Part.STAGES, name, items, (first, first + 0.5), (first,))
            for name, items in (("decode", 4), ("write", 512))
        ]
        for first in (1.0, 2.0)
    ]
    rows = stages.join_windows(parts)
    assert [(row.name, row.items) for row in rows] == [("decode", 4), ("write", 512)]
    assert {(row.seconds, row.load, row.processes) for row in rows} == {((1.0, 1.5, 2.0, 2.5), (1.0, 2.0), 2)}


def test_processes_measure_the_crops(tiny_model, tmp_path, monkeypatch):
    crops = tmp_path / "crops"
    crops.mkdir()
    write_files(crops, (np.full((64, 32, 3), (200, 40, 90), np.uint8),), 2)
    setup = setup_of([tiny_model], crops, budget=dataclasses.replace(SHORT, windows=2))
    (case,), _ = setup.cases()
    rows = stages.measure_stages(setup, [dataclasses.replace(case, parity=Parity(0.998))]).rows
    assert [row.name for row in rows] == list(stages.STAGES)
    assert [row.parity.cosine for row in rows] == [None, None, None, 0.998, None]
    assert {(row.processes, len(row.seconds), len(row.load)) for row in rows} == {(2, 60, 60)}
    assert {(row.model, row.engine) for row in rows} == {("tiny", "onnxruntime cpu")}
