import pickle
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from reid_runtime.errors import ReidRuntimeError
from training.checkpoint import CheckpointError, read_checkpoint, untrained, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint():
    return untrained("resnet18", dimension=16)


def test_everything_survives_the_file(checkpoint, tmp_path):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, checkpoint)
    found = read_checkpoint(path)
    assert (found.recipe, found.trained_on, found.progress) == (
        checkpoint.recipe,
        checkpoint.trained_on,
        checkpoint.progress,
    )
    assert found.weights_digest == checkpoint.weights_digest
    images = torch.randint(0, 256, (2, 40, 20, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(found.network()(images), checkpoint.network()(images))
    assert [item.name for item in tmp_path.iterdir()] == ["c.safetensors"]


def test_the_digest_is_the_weights_and_nothing_else(checkpoint):
    other = dict(checkpoint.tensors)
    other["optimiser.0.step"] = torch.tensor(1.0)
    assert replace(checkpoint, tensors=other).weights_digest == checkpoint.weights_digest
    other["network.projection.bias"] = other["network.projection.bias"] + 1e-3
    assert replace(checkpoint, tensors=other).weights_digest != checkpoint.weights_digest


def test_a_kill_during_the_writing_leaves_the_one_before(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, checkpoint)
    before = path.read_bytes()

    def killed(tensors, beside, metadata):
        beside.write_bytes(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr("training.checkpoint.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, replace(checkpoint, progress={"epoch": 9, "batch": 0, "identities": 0}))
    assert path.read_bytes() == before


def _file(kind, checkpoint, path):
    write_checkpoint(path, checkpoint)
    content = path.read_bytes()
    with safe_open(path, "pt") as opened:
        metadata = dict(opened.metadata())
    tensors = load_file(path)
    match kind:
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("weights, honestly")
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "pickle":
            path.write_bytes(pickle.dumps({"weights": [1.0]}, protocol=4))
        case "torch pickle":
            torch.save({"weights": torch.zeros(2)}, path)
        case "weights alone":
            save_file(tensors, path)
        case "other version":
            save_file(tensors, path, metadata | {"format": "reid-runtime-checkpoint-99"})
        case "unknown field":
            save_file(tensors, path, metadata | {"colour": "bgr"})
        case "unknown recipe key":
            recipe = metadata["recipe"].replace('"epochs"', '"epoch"')
            save_file(tensors, path, metadata | {"recipe": recipe})
        case "damaged metadata":
            save_file(tensors, path, metadata | {"recipe": "{"})
        case "lacks a tensor":
            del tensors["network.projection.bias"]
            save_file(tensors, path, metadata)
    return path


BAD = {
    "missing": "no such file",
    "folder": "no such file",
    "empty": "safetensors",
    "text": "safetensors",
    "truncated": "truncated",
    "pickle": "pickle",
    "torch pickle": "pickle",
    "weights alone": "weights alone are not a checkpoint",
    "other version": "checkpoint-99",
    "unknown field": "colour",
    "unknown recipe key": "did you mean 'epochs'",
    "damaged metadata": "not JSON",
    "lacks a tensor": "projection.bias",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_reason_and_exports_to_nothing(kind, checkpoint, tmp_path):
    pytest.importorskip("onnx", reason="needs the extra export")
    from export.to_onnx import main

    path = _file(kind, checkpoint, tmp_path / "bad.safetensors")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ReidRuntimeError, match=BAD[kind]):
        main.main([str(path), "-o", str(tmp_path / "model.onnx")], standalone_mode=False)
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
