"""An engine that is built on demand gives the vectors of its file's self-test record, or is not kept: on the fakes."""

import dataclasses
import logging

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxruntime")

from reid_runtime import BackendError
from reid_runtime.backends.cuda.driver import NoGpuError
from reid_runtime.backends.tensorrt import backend as backend_module
from reid_runtime.backends.tensorrt import cache as cache_module
from reid_runtime.backends.tensorrt import selftest as proof
from reid_runtime.backends.tensorrt.build import BuildResult
from reid_runtime.backends.tensorrt.cache import EngineCache
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.precision import Precision

from ...models import CONTRACT
from ...recorded import write_recorded
from .fake_machine import FakeMachine
from .fake_tensorrt import BLOB
from .stub_builder import GPU, StubBuilder, engines


@pytest.fixture(scope="module")
def pinned(tmp_path_factory):
    return write_recorded(tmp_path_factory.mktemp("pinned") / "model.onnx")


class Here:
    """A machine whose builder gives at once what the fake TensorRT runs."""

    def __init__(self, monkeypatch, model, folder):
        self.machine, self.model, self.folder = FakeMachine(monkeypatch, model), model, folder
        self.blob, self.built = BLOB, 0
        StubBuilder(monkeypatch).trt = None
        monkeypatch.setattr(cache_module, "import_tensorrt", lambda: self.machine.trt)
        monkeypatch.setattr(cache_module, "build", self.build)
        monkeypatch.setattr(proof, "find_gpu", lambda: GPU)
        monkeypatch.setattr(backend_module, "open_cuda", lambda: self.machine.cuda)

    def build(self, trt, request, progress, timings=b""):
        self.built += 1
        return BuildResult(self.blob, request.profiles, b"")

    def change(self, change):
        """What the engine computes from here on."""
        embed = self.machine.trt.embed
        self.machine.trt.embed = lambda batch: change(embed(batch))

    def get(self):
        return EngineCache(self.folder).get_or_build(ModelFile.open(self.model))


@pytest.fixture
def here(monkeypatch, pinned, tmp_path):
    here = Here(monkeypatch, pinned, tmp_path / "cache")
    yield here
    here.machine.check()


def test_result_is_in_the_entry(here, caplog):
    with caplog.at_level(logging.INFO, "reid_runtime"):
        engine = here.get()
    assert f"building the TensorRT engine of {here.model}, which takes minutes; it is kept in" in caplog.text
    assert engine.origin.parity.startswith("4 crops, least cosine ")
    assert float(engine.origin.parity.split()[-1]) > 0.99999
    here.change(np.zeros_like)
    assert here.get() == engine
    assert here.built == 1


def turned(vectors):
    return np.roll(vectors, 1, axis=1)


def last_row_lost(vectors):
    """Right for one image alone."""
    return np.concatenate([vectors[:1], np.roll(vectors[1:], 1, axis=1)])


def one_nan(vectors):
    vectors = vectors.copy()
    vectors[0, 0] = np.nan
    return vectors


def slightly_off(vectors):
    shifted = vectors + np.float32(0.02)
    return shifted / np.linalg.norm(shifted, axis=1, keepdims=True)


@pytest.mark.parametrize("change", [turned, last_row_lost, one_nan, np.zeros_like, slightly_off])
def test_other_vectors(here, change):
    here.change(change)
    with np.errstate(invalid="ignore"), pytest.raises(BackendError) as refused:
        here.get()
    text = str(refused.value)
    assert text.startswith(f"{here.model}: the engine that was just built on TensorRT 11.4.0.106 with fake GPU gives")
    assert "other vectors than the file's self-test record, and is not kept: expected cosines of" in text
    assert "of at least 0.99999, found " in text
    assert engines(here.folder) == []


def test_other_vectors_without_a_folder(here, tmp_path):
    (tmp_path / "file").touch()
    here.folder = tmp_path / "file" / "cache"
    here.change(turned)
    with pytest.warns(UserWarning, match="for this process alone"), pytest.raises(BackendError, match="is not kept"):
        here.get()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda here: setattr(here, "blob", b"other"), "will not load the engine: .*magicTag"),
        (lambda here: here.change(lambda vectors: vectors[:, :5]), r"found \(.*, 8\) and \(.*, 5\)"),
    ],
)
def test_engine_that_does_not_run(here, change, message):
    change(here)
    with pytest.raises(BackendError, match=f"engine that was just built does not run, and is not kept: .*{message}"):
        here.get()
    assert engines(here.folder) == []


def test_bound_of_the_precision(monkeypatch, tmp_path):
    """What is out of bounds for float32, above, is within those of INT8."""
    stated = dataclasses.replace(CONTRACT, precision=Precision("int8", "tensorrt", "symmetric, per channel"))
    here = Here(monkeypatch, write_recorded(tmp_path / "model.onnx", stated), tmp_path / "cache")
    here.change(slightly_off)
    assert float(here.get().origin.parity.split()[-1]) < 0.99999
    here.machine.check()


def test_not_run(here, tiny_model, monkeypatch):
    def none():
        raise NoGpuError("no NVIDIA driver here")

    monkeypatch.setattr(proof, "find_gpu", none)
    assert here.get().origin.parity == "not run: no GPU"
    here.model = tiny_model
    assert here.get().origin.parity == "not run: its ONNX file has no self-test record"
