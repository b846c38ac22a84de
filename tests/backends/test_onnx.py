"""ONNX Runtime: the device that was asked for or an error, and one distribution of it."""

import sys
from importlib import metadata

import numpy as np
import pytest

from reid_runtime.backends import DEVICES, onnx, open_backend
from reid_runtime.errors import BackendError

from ..models import CONTRACT, DIMENSION, write_model

onnxruntime = pytest.importorskip("onnxruntime")

without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime offers CUDA"
)


def pretend(monkeypatch, **versions):
    """Makes only these distributions installed, by name with _ for -."""

    def version(name):
        try:
            return versions[name.replace("-", "_")]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(metadata, "version", version)


def test_runs_a_batch(tiny_model):
    backend = open_backend(tiny_model, "cpu", threads=1)
    vectors = backend.run(np.zeros((3, 16, 8, 3), np.uint8))
    assert vectors.shape == (3, DIMENSION)
    assert vectors.dtype == np.float32
    assert backend.name == "onnxruntime cpu"
    assert backend.contract_text == CONTRACT.to_json()
    assert backend.max_batch_pixels >= 256 * 128


def test_foreign_models_carry_no_contract(tmp_path):
    assert open_backend(write_model(tmp_path / "m.onnx", None), "cpu").contract_text is None


@without_cuda
def test_cuda_is_never_the_cpu_in_silence(tiny_model):
    with pytest.raises(BackendError, match=r"device 'cuda'.*offers .*CPU.*pip install \"reid-runtime\[gpu\]\""):
        open_backend(tiny_model, "cuda")


@without_cuda
def test_auto_says_what_it_chose(tiny_model):
    assert open_backend(tiny_model, "auto").name == "onnxruntime cpu"


def test_auto_with_cuda_that_does_not_work_is_the_cpu(tiny_model, monkeypatch):
    """The package offers CUDA, and the machine has none."""
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    whole = onnxruntime.InferenceSession

    def session(path, options, providers):
        chosen = [name for name in providers if isinstance(name, str)]
        return whole(path, providers=chosen or ["CPUExecutionProvider"])  # as ONNX Runtime does, with a mere warning

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    assert open_backend(tiny_model, "auto").name == "onnxruntime cpu"
    with pytest.raises(BackendError, match="'cuda' was asked for, ONNX Runtime chose CPUExecutionProvider"):
        open_backend(tiny_model, "cuda")


@pytest.mark.parametrize("device", ["gpu", "CUDA", ""])
def test_unknown_devices_are_refused(tiny_model, device):
    with pytest.raises(BackendError, match=f"no device is called {device!r}; known: {', '.join(DEVICES)}"):
        open_backend(tiny_model, device)


def test_two_distributions_over_each_other_are_refused(tiny_model, monkeypatch):
    pretend(monkeypatch, onnxruntime="1.20.0", onnxruntime_gpu="1.23.0")
    for device in ("auto", "cpu", "cuda"):
        with pytest.raises(BackendError, match=r"both onnxruntime 1\.20\.0 and onnxruntime-gpu 1\.23\.0 .*uninstall"):
            open_backend(tiny_model, device)


@pytest.mark.parametrize(("device", "extra"), [("cpu", "cpu"), ("auto", "cpu"), ("cuda", "gpu")])
def test_no_distribution_names_the_extra(tiny_model, monkeypatch, device, extra):
    pretend(monkeypatch)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=rf"pip install \"reid-runtime\[{extra}\]\""):
        open_backend(tiny_model, device)


def test_the_gpu_distribution_alone_is_fine(monkeypatch):
    pretend(monkeypatch, onnxruntime_gpu="1.23.0")
    assert onnx.import_onnxruntime("gpu") is onnxruntime


def test_two_inputs_are_refused(tmp_path):
    path = write_model(tmp_path / "two.onnx", inputs=2)
    with pytest.raises(BackendError, match=r"two\.onnx: expected one input and one output, found \['images', 'more'\]"):
        open_backend(path, "cpu")


def test_a_failed_batch_says_what_was_given(tiny_model):
    backend = open_backend(tiny_model, "cpu")
    for batch in (np.zeros((1, 3, 16, 8), np.float32), np.zeros((16, 8, 3), np.uint8)):
        with pytest.raises(BackendError, match=f"onnxruntime cpu failed on a batch of shape .* {batch.dtype}: "):
            backend.run(batch)
