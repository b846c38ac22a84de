"""One command from a checkpoint to all artefacts, the table and the plot."""

import dataclasses
import json
import re

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs the extras train and export")
pytest.importorskip("matplotlib", reason="needs the extra export")

import torch
from PIL import Image

import training.models.network
from export import pipeline, to_fp16
from export.derive import ExportError
from reid_runtime.images.resize import LongestSide, resize
from reid_runtime.install import install_line
from reid_runtime.model_file.contract import TrainedOn
from training.models.base import Backbone
from training.run.checkpoint import build, untrained

from .small import CENTRED, loaded


def three_layers():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 12, 5, stride=4, padding=2),
        torch.nn.BatchNorm2d(12),
        torch.nn.ReLU(),
        torch.nn.Conv2d(12, 24, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(24, 32, 1),
        torch.nn.ReLU(),
    )


@pytest.fixture
def checkpoint(monkeypatch, tmp_path, inputs):
    """A small network in a checkpoint; its bias takes most of the crops' mean away, as training would."""
    monkeypatch.setattr(training.models.network, "backbone", lambda name: Backbone(name, 32, three_layers, dict))
    torch.manual_seed(0)
    plain = untrained("three layers", dimension=16)
    architecture = dataclasses.replace(plain.architecture, size=64)
    network = build(architecture).eval()
    rows: list[torch.Tensor] = []
    network.projection.register_forward_hook(lambda _, inputs, output: rows.append(output))
    network.projection.bias.data.zero_()
    rule = LongestSide(64)
    with torch.inference_mode():
        for crop in inputs.crops:
            network(torch.tensor(resize(crop, rule.shape(*crop.shape[:2]))[None]))
    network.projection.bias.data = -CENTRED * torch.cat(rows).mean(0)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    seen = (TrainedOn("drawn people", "free", 8, 32),)
    made = dataclasses.replace(plain, architecture=architecture, tensors=tensors, trained_on=seen)
    monkeypatch.setattr(pipeline, "read_checkpoint", lambda path: made)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    return path


NAMES = ["model.onnx", "model-fp16.onnx", "model-int8-cpu.onnx", "model-int8-tensorrt.onnx"]


def test_all_artefacts_with_a_table_and_a_plot(checkpoint, training, export, tmp_path):
    folder = tmp_path / "made"
    run = export("pipeline", checkpoint, "-o", folder, "--name", "model", "--calibrate", training)
    assert run.code == 0, run.err
    report = json.loads((folder / "artefacts.json").read_text())
    assert [row["file"] for row in report["artefacts"]] == NAMES
    root = loaded(folder / NAMES[0])
    page = (folder / "artefacts.md").read_text()
    assert page in run.out
    for name, row, bound in zip(NAMES, report["artefacts"], (0.99999, 0.9999, 0.99, 0.99), strict=True):
        model = loaded(folder / name)
        assert model.contract.contract_id == root.contract.contract_id
        assert row["drift"]["worst_cosine"] >= bound
        assert row["megabytes"] == pytest.approx((folder / name).stat().st_size / 1e6, abs=1e-3)
        assert row["speedup"] > 0
        assert f"| {name} |" in page
        if name != NAMES[0]:
            assert model.contract.parent == root.artefact_id
            assert dict(model.contract.drift) == row["drift"]
    with Image.open(folder / "artefacts.png") as plot:
        assert np.asarray(plot.convert("L")).std() > 10


def test_an_artefact_that_fails_is_not_there_and_the_rest_is(checkpoint, export, tmp_path, monkeypatch):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model-fp16.onnx").write_bytes(b"of an earlier run")
    right = to_fp16.half_graph

    def broken(model, *arguments):
        (mean,) = [tensor for tensor in model.graph.initializer if tensor.name.endswith("mean")]
        mean.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(mean) + 20, mean.name))
        return right(model, *arguments)

    monkeypatch.setattr(to_fp16, "half_graph", broken)
    run = export("pipeline", checkpoint, "-o", folder, "--name", "model", "--force")
    assert run.code == 1
    assert "model-fp16.onnx failed and are not there" in run.err
    assert sorted(path.name for path in folder.iterdir()) == [
        "artefacts.json", "artefacts.md", "artefacts.png", "model.onnx",
    ]  # fmt: skip
    assert "No model-fp16.onnx: the artefact differs from the reference" in (folder / "artefacts.md").read_text()


def test_without_matplotlib_it_says_so_before_any_work(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExportError, match=re.escape(install_line("export"))):
        pipeline._pyplot()
