import io
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from reid_runtime.errors import ReidRuntimeError
from training.run.checkpoint import Progress, read_checkpoint, untrained, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint():
    return untrained("resnet18", dimension=16)


def test_everything_survives_the_file(checkpoint, tmp_path):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, checkpoint)
    actual = read_checkpoint(path)
    assert replace(actual, tensors={}) == replace(checkpoint, tensors={})
    assert actual.weights_digest == checkpoint.weights_digest
    images = torch.randint(0, 256, (2, 40, 20, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(actual.network()(images), checkpoint.network()(images))
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

    monkeypatch.setattr("training.run.checkpoint.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, replace(checkpoint, progress=Progress("none", 9, "")))
    assert path.read_bytes() == before


def _torch_pickle(content):
    buffer = io.BytesIO()
    torch.save({"weights": torch.zeros(2)}, buffer)
    return buffer.getvalue()


BAD_BYTES = {
    "empty": (lambda content: b"", "safetensors"),
    "text": (lambda content: b"weights, honestly", "safetensors"),
    "truncated": (lambda content: content[: len(content) // 2], "truncated"),
    "pickle": (lambda content: pickle.dumps({"weights": [1.0]}, protocol=4), "pickle"),
    "torch pickle": (_torch_pickle, "pickle"),
}
BAD_METADATA = {
    "weights alone": (lambda facts: None, "weights alone are not a checkpoint"),
    "other version": (lambda facts: facts | {"format": "reid-runtime-checkpoint-99"}, "checkpoint-99"),
    "unknown field": (lambda facts: facts | {"colour": "bgr"}, "colour"),
    "the version before": (lambda facts: facts | {"format": "reid-runtime-checkpoint-1"}, "written by an earlier"),
    "unknown recipe key": (lambda facts: facts | {"recipe": facts["recipe"].replace("epochs", "epoch")}, "'epochs'"),
    "unknown network key": (lambda facts: facts | {"network": '{"depth": 3}'}, "'depth'"),
    "no network": (lambda facts: facts | {"network": "[]"}, "'network'"),
    "unknown fact": (lambda facts: facts | {"trained_on": '[{"where": "here"}]'}, "trained_on"),
    "no facts": (lambda facts: facts | {"trained_on": "[]"}, "trained_on"),
    "no place": (lambda facts: facts | {"progress": "[]"}, "progress"),
    "no batch": (lambda facts: facts | {"recipe": facts["recipe"].replace('"batch": 64', '"batch": 0')}, "1 or more"),
    "damaged": (lambda facts: facts | {"recipe": "{"}, "not JSON"),
}


def refused(path, said):
    """The export refuses the file, and nothing is written."""
    pytest.importorskip("onnx", reason="needs the extra export")
    from export.to_onnx import main

    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ReidRuntimeError, match=said):
        main.main([str(path), "-o", str(path.parent / "model.onnx")], standalone_mode=False)
    assert sorted(path.parent.rglob("*")) == before


@pytest.mark.parametrize("kind", BAD_BYTES)
def test_a_file_that_is_no_checkpoint_is_refused_with_its_reason(kind, checkpoint, tmp_path):
    damage, said = BAD_BYTES[kind]
    path = tmp_path / "bad.safetensors"
    write_checkpoint(path, checkpoint)
    path.write_bytes(damage(path.read_bytes()))
    refused(path, said)


@pytest.mark.parametrize("kind", BAD_METADATA)
def test_metadata_of_another_kind_are_refused_with_their_reason(kind, checkpoint, tmp_path):
    change, said = BAD_METADATA[kind]
    path = tmp_path / "bad.safetensors"
    write_checkpoint(path, checkpoint)
    with safe_open(path, "pt") as opened:
        metadata = dict(opened.metadata())
    save_file(load_file(path), path, change(metadata))
    refused(path, said)


def test_one_from_before_there_was_a_choice_of_classifiers_had_cosines(checkpoint, tmp_path):
    path = tmp_path / "earlier.safetensors"
    write_checkpoint(path, checkpoint)
    with safe_open(path, "pt") as opened:
        metadata = dict(opened.metadata())
    metadata["recipe"] = metadata["recipe"].replace('"classifier": "bnneck", ', "")
    assert "bnneck" not in metadata["recipe"]
    save_file(load_file(path), path, metadata)
    assert read_checkpoint(path).recipe.classification.classifier == "cosine"


def test_a_missing_tensor_is_named(checkpoint, tmp_path):
    path = tmp_path / "bad.safetensors"
    tensors = {key: value for key, value in checkpoint.tensors.items() if key != "network.projection.bias"}
    write_checkpoint(path, replace(checkpoint, tensors=tensors))
    refused(path, r"projection\.bias")


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None], ids=["a folder", "nothing"])
def test_what_is_not_a_file_is_refused(make, tmp_path):
    make(tmp_path / "bad.safetensors")
    refused(tmp_path / "bad.safetensors", "no such file")
