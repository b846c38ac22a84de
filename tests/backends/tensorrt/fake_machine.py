"""The TensorRT backend on a fake TensorRT and a fake GPU, which enforce the rules of both and compute with numpy."""

import gc
import sys
import weakref

import numpy as np
import pytest

from reid_runtime.backends.tensorrt.backend import TensorRTBackend
from reid_runtime.backends.tensorrt.engine import Engine

from ...models import CONTRACT
from ..cuda.fake import FakeCuda, Work
from .fake_tensorrt import BLOB, FakeTensorRT

PROFILES = (
    ((1, 8, 4), (4, 16, 8), (4, 16, 16)),
    ((1, 8, 4), (2, 32, 16), (3, 40, 24)),
    ((2, 41, 25), (4, 48, 32), (4, 64, 32)),
)


def numpy_model(path):
    """The tiny model in numpy, with the constants of the file."""
    onnx = pytest.importorskip("onnx")
    kept = {value.name: onnx.numpy_helper.to_array(value) for value in onnx.load(path).graph.initializer}

    def embed(images):
        axes = (2, 3) if images.shape[1] == 3 else (1, 2)
        values = images.astype(np.float32)
        raw = np.concatenate([values.mean(axes), values.max(axes)], axis=1) @ kept["weights"] + kept["bias"]
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    return embed


class FakeMachine:
    """Both fakes and a backend on them; what is wrong at the end is told by `check`."""

    def __init__(self, monkeypatch, path, **kind):
        gc.freeze()  # what was there before cannot leak, and need not be looked through
        self.cuda = FakeCuda()
        self.trt = FakeTensorRT(self.cuda, PROFILES, numpy_model(path), **kind)
        monkeypatch.setitem(sys.modules, "tensorrt", self.trt)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
        self.engine = Engine(BLOB, CONTRACT.to_json(), ())

    def backend(self, **options):
        return TensorRTBackend(self.engine, cuda=self.cuda, **options)

    def check(self):
        self.nothing_is_left()
        gc.unfreeze()

    def nothing_is_left(self):
        gc.collect()
        assert self.cuda.violations == []
        assert self.cuda.leaks() == {}
        assert not any(context() for context in self.trt.contexts)


def images(count, height=16, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def near(result, expected):
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


class OnGpu:
    """An array of the fake GPU that its producer is still filling when it is handed out; it goes with its last user."""

    def __init__(self, cuda, values, offset=0):
        self.cuda, self.values = cuda, np.ascontiguousarray(values)
        with cuda.current():
            self.stream = cuda.create_stream()
            self.base = cuda.allocate(self.values.nbytes + offset)
        self.address = self.base + offset
        self.shape, self.dtype = values.shape, values.dtype
        memory, content = cuda.array(self.address, self.values.nbytes), self.values.view(np.uint8).ravel()
        cuda.queue(self.stream, Work(lambda: memory.__setitem__(slice(None), content)))
        self.free = weakref.finalize(self, _free, cuda, self.base, self.stream)


def _free(cuda, base, stream):
    with cuda.current():
        cuda.synchronize(stream)
        cuda.free(base)
        cuda.destroy_stream(stream)


class ByInterface(OnGpu):
    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "version": 3,
            "strides": None, "stream": self.stream,
        }  # fmt: skip
