"""The table and the plot of models: each with its scores and its time, in rounds that are shared."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("onnx")
pytest.importorskip("openvino")

from benchmarks import models
from reid_runtime import Embedder

from ..recorded import write_recorded


def test_every_model_has_its_scores_and_its_time_beside_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_WARMUP", 1)
    write_recorded(tmp_path / "other.onnx")
    rows = {
        "tiny": {"model": "tiny", "scores": {"one": [50, 40.25], "two": [10, 5]}, "contract": None},
        "other": {"model": "other.onnx", "scores": {"two": [1, 2]}, "contract": None},
    }
    (tmp_path / "scores.json").write_text(json.dumps(rows))
    run = CliRunner().invoke(models.main, [str(tmp_path / "scores.json"), "--rounds", "3", "-o", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    written = (tmp_path / "out" / "models.md").read_text()
    scores, times = (
        [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()[2:]]
        for part in written.split("\n\n")[:2]
    )
    assert scores == [["tiny", "50.0 / 40.2", "10.0 / 5.0"], ["other", "–", "1.0 / 2.0"]]
    assert [row[0] for row in times] == ["tiny", "other"]
    assert times[0][2::2] == ["1.00 (1.00 to 1.00)"] * 4, "embedded and the network alone, on two engines"
    for ratio in times[1][2::2]:
        assert 0 < float(ratio.split()[0]) < 1, "a few colour statistics against a network"
    assert (tmp_path / "out" / "models.png").stat().st_size > 5000


@pytest.mark.parametrize("device", ["openvino", "cpu"])
def test_the_network_alone_runs_as_many_crops_as_the_runtime_would(monkeypatch, device):
    monkeypatch.setattr(models, "cores", lambda: 2)
    embedder = Embedder.load("tiny", device=device)
    seen = []
    how = replace(embedder.backend.side_by_side, open=lambda threads: lambda images: seen.append((threads, images)))
    monkeypatch.setattr(type(embedder.backend), "side_by_side", how)
    models.network_alone(embedder)()
    assert sum(len(images) for _, images in seen) == 32
    assert {(threads, len(images), images.shape[1:]) for threads, images in seen} == {
        (2, how.pixels // (256 * 128), (256, 128, 3))
    }


def test_a_file_that_is_no_scores_is_refused(tmp_path):
    (tmp_path / "scores.json").write_text('{"tiny": {"model": 3}}')
    run = CliRunner().invoke(models.main, [str(tmp_path / "scores.json"), "-o", str(tmp_path)])
    assert "expected models and their scores" in str(run.exception)
