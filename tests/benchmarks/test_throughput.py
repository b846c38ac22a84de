"""What is timed in a folder, with mixed sizes and in batches: the work itself, and what the rows say of it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import throughput
from benchmarks.cases import setup_from
from benchmarks.inputs import write_files
from benchmarks.measurements import YARDSTICK, shown
from benchmarks.throughput import (  # fmt: skip
    COLD,
    DECODE,
    EIGHT,
    ENGINE,
    FOLDER,
    MIXED,
    OFFLINE,
    SAME,
    SPREAD,
    embed_to_file,
    measure_throughput,
    ready_batches,
)
from benchmarks.timing import FULL, QUICK
from export.gate import EXAMPLES, read_crops
from reid_runtime.batching import WINDOW
from reid_runtime.jobs import read_embeddings


@pytest.fixture
def setup(tiny_model):
    made = setup_from([tiny_model], ["cpu"], None, EXAMPLES, None, None, 1, True)
    return replace(made, budget=replace(QUICK, rounds=2))


def test_every_group_has_its_cases_and_their_work(setup, monkeypatch):
    asked = []
    monkeypatch.setattr(throughput, "_embed_one", lambda subject, crop: asked.append(crop))
    subjects, _ = setup.subjects()
    found = measure_throughput(setup, subjects)
    assert not found.notes
    rows = {(row.part, row.case): row for row in shown(found.rows)}
    name = subjects[0].case
    offline = [(OFFLINE, FOLDER), (OFFLINE, ENGINE), (OFFLINE, DECODE)]
    assert list(rows) == [*offline, (MIXED, SAME), (MIXED, SPREAD), (EIGHT, name), (COLD, name)]
    assert {rows[key].items for key in offline} == {32}
    # One product of 6 x 8, two operations a multiply-add.
    assert rows[OFFLINE, FOLDER].facts["operations"] == rows[OFFLINE, ENGINE].facts["operations"] == 2 * 48 * 32
    assert rows[MIXED, SPREAD].facts["operations"] == 2 * 48 * 32
    assert rows[EIGHT, name].facts["operations"] == 2 * 48 * 64 == 2 * 48 * rows[EIGHT, name].items
    assert all(row.facts["cosine"] == pytest.approx(1) for key, row in rows.items() if key != (OFFLINE, DECODE))
    assert len(asked) == 2 + QUICK.warmup
    assert sum(row.case == YARDSTICK for row in found.rows) == 4


def test_a_folder_has_several_windows_unless_its_network_takes_long(setup, monkeypatch):
    (subject,), _ = setup.subjects()
    full = replace(setup, budget=FULL)
    assert throughput._files(full, subject) == 4 * WINDOW
    monkeypatch.setattr(throughput, "_HEAVY", 1)
    assert throughput._files(full, subject) == 128


def test_a_folder_is_embedded_to_a_file_and_the_engine_has_the_same_batches(setup, tiny, tmp_path):
    files = write_files(tmp_path, read_crops(EXAMPLES)[1], 7)
    embed_to_file(tiny, files, tmp_path / "out.npz")
    read = read_embeddings(tmp_path / "out.npz")
    assert read.id.tolist() == [path.name for path in files]
    assert np.array_equal(read.embedding, tiny.embed(files))
    (batch,) = ready_batches(tiny, files)  # all of one size
    assert np.array_equal(tiny.backend.run(batch), tiny.embed(files))
