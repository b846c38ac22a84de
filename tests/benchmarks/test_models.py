"""The table and the plot of models: each with its scores and its time, in rounds that are shared."""

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("onnx")
pytest.importorskip("openvino")

from benchmarks import models

from ..recorded import write_recorded


def test_every_model_has_its_scores_and_its_time_beside_the_first(tmp_path):
    write_recorded(tmp_path / "other.onnx")
    rows = {
        "tiny": {"model": "tiny", "scores": {"one": [50, 40.25], "two": [10, 5]}, "contract": None},
        "other": {"model": "other.onnx", "scores": {"two": [1, 2]}, "contract": None},
    }
    (tmp_path / "scores.json").write_text(json.dumps(rows))
    run = CliRunner().invoke(models.main, [str(tmp_path / "scores.json"), "--rounds", "3", "-o", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    lines = (tmp_path / "out" / "models.md").read_text().splitlines()
    tiny, other = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:4])
    assert tiny[:3] == ["tiny", "50.0 / 40.2", "10.0 / 5.0"]
    assert other[:3] == ["other", "–", "1.0 / 2.0"]
    assert tiny[5:] == ["1.00 (1.00 to 1.00)"] * 2
    for ratio in other[5:]:
        assert 0 < float(ratio.split()[0]) < 1, "a few colour statistics against a network"
    assert (tmp_path / "out" / "models.png").stat().st_size > 5000


def test_a_file_that_is_no_scores_is_refused(tmp_path):
    (tmp_path / "scores.json").write_text('{"tiny": {"model": 3}}')
    run = CliRunner().invoke(models.main, [str(tmp_path / "scores.json"), "-o", str(tmp_path)])
    assert "expected models and their scores" in str(run.exception)
