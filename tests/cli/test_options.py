"""What the options that verbs share say on standard error."""

import logging

import pytest

from reid_runtime.backends.cuda import driver
from reid_runtime.cli.options import ModelChoice, load_model

onnxruntime = pytest.importorskip("onnxruntime")


def test_auto_logs_its_device(tiny_model, capsys):
    load_model(ModelChoice(str(tiny_model), None, "auto"))
    assert capsys.readouterr().err.startswith("device auto: onnxruntime ")


def test_a_named_device_needs_no_words(tiny_model, capsys):
    load_model(ModelChoice(str(tiny_model), None, "cpu"))
    assert capsys.readouterr().err == ""


def test_auto_says_why_it_is_not_cuda(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(driver, "missing_gpu", lambda: "no NVIDIA driver: libcuda.so.1")
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    load_model(ModelChoice(str(tiny_model), None, "auto"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("device auto: onnxruntime cpu, because CUDA, which is installed, cannot be used: ")
    assert "no NVIDIA driver: libcuda.so.1" in line


def test_the_log_is_left_as_it_was(tiny_model):
    log = logging.getLogger("reid_runtime")
    before = log.level, list(log.handlers)
    load_model(ModelChoice(str(tiny_model), None, "auto"))
    assert (log.level, log.handlers) == before


@pytest.mark.parametrize(
    "words",
    [
        ("embed", "crops"),
        ("search", "a.jpg", "--in", "crops"),
        ("cluster", "crops", "-o", "people"),
        ("same", "a.jpg", "a.jpg"),
        ("explain", "a.jpg"),
        ("gallery", "add", "g.gallery", "crops"),
        ("verify",),
    ],
    ids=lambda words: words[0],
)
def test_a_misspelt_model_is_told_the_names_of_those_that_are_here(command, tmp_path, monkeypatch, words):
    """And before anything else: there is also something else to complain of."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "embeddings.npz", "people"):
        (tmp_path / name).touch()
    near = command(*words, "--model", "bse")
    assert near.code in (1, 2)
    assert "bse: no such model file; did you mean base? the packaged models are base, small, tiny" in near.err
    far = command(*words, "--model", "osnet")
    assert "osnet: no such model file; the packaged models are base, small, tiny" in far.err
    path = command(*words, "--model", "folder/base.onnx")
    assert "folder/base.onnx: no such model file" in path.err
    assert "packaged" not in path.err


def test_fast_on_a_device_without_names_those_that_have_it(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "embeddings.npz").touch()
    (tmp_path / "crops").mkdir()
    run = command("embed", "crops", "--fast")
    assert run.err == (
        "error: device 'auto' has no faster mode: expected --device openvino or openvino-bf16 with --fast (fast=True)\n"
    )
