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
