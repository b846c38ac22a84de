"""What is timed in a folder, with mixed sizes and in batches: the work itself, and what the rows say of it."""

import dataclasses

import numpy as np
import pytest

from benchmarks import throughput
from benchmarks.cases import Case
from benchmarks.inputs import write_files
from benchmarks.measurements import Part
from benchmarks.throughput import DECODE, ENGINE, FOLDER, MANY_WIDTHS, SAME, measure_throughput
from benchmarks.timing import FULL
from export.gate import EXAMPLES, read_crops
from reid_runtime.batching import WINDOW
from reid_runtime.images.decode import load_image

from .conftest import SHORT, setup_of


@pytest.fixture
def setup(tiny_model):
    return setup_of([tiny_model], EXAMPLES)


def test_every_group_has_its_cases_and_their_work(setup, monkeypatch):
    asked, jobs = [], []
    monkeypatch.setattr(throughput, "_embed_one", lambda case, crop: asked.append(crop))
    job = throughput.embed_folder
    monkeypatch.setattr(throughput, "embed_folder", lambda *given, **named: jobs.append(job(*given, **named)))
    cases, _ = setup.cases()
    rows = {(row.part, row.name): row for row in measure_throughput(setup, cases).rows}
    offline = [(Part.OFFLINE, FOLDER), (Part.OFFLINE, ENGINE), (Part.OFFLINE, DECODE)]
    assert list(rows) == [
        *offline, (Part.MIXED, SAME), (Part.MIXED, MANY_WIDTHS), (Part.EIGHT, ""), (Part.COLD, ""),
    ]  # fmt: skip
    assert {rows[key].items for key in offline} == {32}
    # One product of 6 x 8, two operations a multiply-add.
    assert [rows[key].operations for key in offline] == [2 * 48 * 32, 2 * 48 * 32, None]
    assert rows[Part.MIXED, MANY_WIDTHS].operations == 2 * 48 * 32
    assert rows[Part.EIGHT, ""].operations == 2 * 48 * 64 == 2 * 48 * rows[Part.EIGHT, ""].items
    assert all(row.parity.is_reference for row in rows.values())
    assert all(len(row.load) == 2 for row in rows.values())
    assert rows[Part.OFFLINE, ENGINE].speed.value == rows[Part.MIXED, SAME].speed.value == 1
    assert len(asked) == len(jobs) == SHORT.rounds + SHORT.warmup
    assert {result.embedded for result in jobs} == {32}


def test_folder_has_several_windows_unless_its_network_takes_long(setup, monkeypatch):
    (case,), _ = setup.cases()
    full = dataclasses.replace(setup, budget=FULL)
    assert throughput._file_count(full, case) == 4 * WINDOW
    monkeypatch.setattr(throughput, "_HEAVY", 1)
    assert throughput._file_count(full, case) == 128


def test_engine_has_the_batches_of_the_folder(tiny, tmp_path):
    files = write_files(tmp_path, read_crops(EXAMPLES)[1], 7)
    case = Case(tiny)
    (batch,) = case.batches([case.resized(load_image(path)) for path in files])  # all of one size
    assert np.array_equal(tiny.backend.run(batch), tiny.embed(files))
