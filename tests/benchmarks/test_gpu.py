"""The GPU's benchmark where there is none: what is said, what is compared, and the report's two files."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import gpu
from benchmarks.gpu import NoGpuError, main
from benchmarks.measurements import Measurements, Parity, Part, Row, read_report
from reid_runtime.errors import BackendError

ROW = Row(Part.FRAMES, "frame on the GPU", 8, (0.002, 0.001, 0.003), setting={"height": 9}, parity=Parity(1.0, 0.25))


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU here")
def test_machine_without_a_gpu_says_why_nothing_is_measured():
    with pytest.raises(NoGpuError, match="nothing to measure") as caught:
        main.main([], standalone_mode=False)
    reasons = str(caught.value).splitlines()[1:]
    assert [reason.strip().partition(":")[0] for reason in reasons] == [
        "default model, ONNX Runtime CUDA", "default model, TensorRT", "frames on the GPU, torch", "mobilenetv2, torch",
        "resnet50, torch",
    ]  # fmt: skip
    assert "device 'cuda' was asked for" in reasons[0]


def test_report_is_json_and_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "measure_default", lambda rounds: Measurements([ROW], ["no TensorRT"]))
    monkeypatch.setattr(gpu, "measure_frames", lambda rounds: Measurements())
    monkeypatch.setattr(gpu, "measure_backbone", lambda name, rounds: Measurements())
    done = CliRunner().invoke(main, ["-o", str(tmp_path / "gpu.json")], catch_exceptions=False)
    assert "frame on the GPU" in done.output
    report = read_report(tmp_path / "gpu.json")
    assert (report.rows, report.notes) == ((ROW,), ("no TensorRT",))
    page = (tmp_path / "gpu.md").read_text()
    assert page.startswith(f"# What a GPU gives, {report.environment['time'][:10]}\n")
    cells = [line for line in page.splitlines() if line.startswith("| frame on the GPU")]
    assert [cell.strip() for cell in cells[0].split("|")[1:-1]] == [
        "frame on the GPU", "height 9", "2.00", "4,000.0", "1.000000", "0.25", "not stable",
    ]  # fmt: skip
    assert "- no TensorRT" in page


def test_shape_that_a_candidate_does_not_take_is_noted(monkeypatch):
    def embed(images):
        if images.shape[1] > 8:
            raise BackendError("no profile takes it")
        return np.ones((len(images), 4), np.float32) / 2

    monkeypatch.setattr(gpu, "SHAPES", ((8, 4), (16, 8)))
    monkeypatch.setattr(gpu, "BATCHES", (2,))
    other = gpu.Candidate("other", lambda images: np.ones((len(images), 4), np.float32) / 2)
    measured = gpu.measure("model", [gpu.Candidate("engine", embed), other], other, 2)
    assert [(row.model, row.name, row.setting["height"], row.parity.cosine) for row in measured.rows] == [
        ("model", "engine", 8, 1), ("model", "other", 8, 1), ("model", "other", 16, 1)
    ]  # fmt: skip
    assert measured.notes == ["model, engine, 2 images of 16x8: no profile takes it"]


@pytest.mark.parametrize("missing", ["torch", "TensorRT"])
def test_frames_name_the_missing_package(monkeypatch, missing):
    def refused(*_, **__):
        raise BackendError("TensorRT is needed and missing")

    if missing == "TensorRT":
        pytest.importorskip("torch")
    monkeypatch.setattr(gpu, "missing_torch_gpu", lambda: "there is none" if missing == "torch" else None)
    monkeypatch.setattr(gpu.Embedder, "load", refused)
    (note,) = gpu.measure_frames(1).notes
    assert note.startswith(f"frames on the GPU, {missing}: ")
