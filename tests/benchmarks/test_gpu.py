import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import gpu
from benchmarks.gpu import NoGpuError, as_markdown, main
from benchmarks.measurements import Found, Report, Row, read_report, whatever_runs
from reid_runtime.errors import BackendError

ROW = Row("pixel kernel", {"batch": 8}, (0.002, 0.001, 0.003), 8, {"grey_levels": 1.0}, "pixels")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU here")
def test_a_machine_without_a_gpu_is_told_why_nothing_is_measured():
    with pytest.raises(NoGpuError, match="nothing to measure") as caught:
        main.main([], standalone_mode=False)
    reasons = str(caught.value).splitlines()[1:]
    said = [reason.strip().partition(":")[0] for reason in reasons]
    assert said == [
        "default model, ONNX Runtime CUDA", "default model, TensorRT", "frames on the GPU, TensorRT",
        "device memory, cuda-bindings", "device memory, pycuda", "mobilenetv2, torch", "resnet50, torch",
    ]  # fmt: skip
    assert "device 'cuda' was asked for" in reasons[0]


def test_a_part_that_breaks_is_noted_and_the_others_go_on():
    def broken():
        raise RuntimeError("an illegal memory access was encountered")

    found = whatever_runs({"first": broken, "second": lambda: Found(rows=[ROW], notes=["no torch"])})
    assert found.rows == [ROW]
    assert found.notes == ["first: RuntimeError: an illegal memory access was encountered", "no torch"]


def test_the_report_is_json_and_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "measure_default", lambda rounds: Found(rows=[ROW], notes=["no TensorRT"]))
    for part in ("measure_frames", "measure_device"):
        monkeypatch.setattr(gpu, part, lambda rounds: Found())
    monkeypatch.setattr(gpu, "measure_backbone", lambda name, rounds: Found())
    done = CliRunner().invoke(main, ["-o", str(tmp_path / "gpu.json")], catch_exceptions=False)
    assert "pixel kernel" in done.output
    report = read_report(tmp_path / "gpu.json")
    assert (report.rows, report.notes) == ((ROW,), ("no TensorRT",))
    page = (tmp_path / "gpu.md").read_text()
    assert page == as_markdown(report)
    assert report.environment["time"][:10] in page.splitlines()[0]
    assert "| pixel kernel | batch 8 | 2.000 | 3.000 | 4000 | grey_levels 1 |" in page
    assert "- no TensorRT" in page


def test_a_shape_that_a_candidate_does_not_take_is_noted(monkeypatch):
    def embed(images):
        if images.shape[1] > 8:
            raise BackendError("no profile takes it")
        return np.ones((len(images), 4), np.float32) / 2

    monkeypatch.setattr(gpu, "SHAPES", ((8, 4), (16, 8)))
    monkeypatch.setattr(gpu, "BATCHES", (2,))
    other = gpu.Candidate("other", lambda images: np.ones((len(images), 4), np.float32) / 2)
    found = gpu.measure("model", [gpu.Candidate("engine", embed), other], other, 2)
    assert [(row.case, row.setting["height"]) for row in found.rows] == [
        ("model, engine", 8), ("model, other", 8), ("model, other", 16)
    ]  # fmt: skip
    assert found.notes == ["model, engine, 2 images of 16x8: no profile takes it"]


def test_frames_without_tensorrt_say_so(monkeypatch):
    def missing(*_, **__):
        raise BackendError("TensorRT is needed and missing")

    monkeypatch.setattr(gpu.Embedder, "load", missing)
    assert gpu.measure_frames(1) == Found(notes=["frames on the GPU, TensorRT: TensorRT is needed and missing"])


def test_an_empty_report_is_a_page_too():
    machine = {
        "time": "2026-01-02T03:04:05",
        "gpus": [],
        "processor": "one",
        "python": "3",
        "packages": {},
        "git": None,
    }
    assert as_markdown(Report("gpu", machine, ())).startswith("# What a GPU gives, 2026-01-02\n\nno GPU. one")
