"""The benchmark of the scorer, at a hundredth of its size."""

import json

import numpy as np
from click.testing import CliRunner

from benchmarks.scoring import CASES, main, plant
from reid_runtime.scoring.ranking import score


def test_planted_right_answers_are_neither_all_found_nor_lost():
    planted = plant(100, 2_000)
    assert np.allclose(np.linalg.norm(planted.gallery_vectors, axis=1), 1, atol=1e-5)
    assert planted.gallery_vectors.dtype == np.float32
    scores = score(planted.query_vectors, planted.query, planted.gallery_vectors, planted.gallery)
    assert 0.1 < scores.summary().map_finite_sum < 0.9
    again = plant(100, 2_000)
    assert np.array_equal(again.query_vectors, planted.query_vectors)


def test_every_case_gives_its_time_and_its_own_memory(tmp_path):
    run = CliRunner().invoke(main, ["--rounds", "2", "--share", "0.01", "-o", str(tmp_path / "x.json")])
    assert run.exit_code == 0, run.output
    rows = {row["case"]: row for row in json.loads((tmp_path / "x.json").read_text())["rows"]}
    assert set(CASES) <= set(rows)
    for name in CASES:
        assert len(rows[name]["seconds"]) == 2
        assert rows[name]["facts"]["peak_bytes"] >= rows[name]["facts"]["planted_bytes"] > 2**20
        assert f"{rows[name]['setting']['gallery']:,}" in run.output
    assert rows["score, gallery of 100,000"]["setting"]["gallery"] == 1_000
    assert "product alone (score)" in rows
