"""An engine cache without TensorRT: a module of its name, and a builder that takes no time and says what it built."""

import types
from pathlib import Path

from reid_runtime.backends.cuda.driver import Gpu
from reid_runtime.backends.tensorrt import cache
from reid_runtime.backends.tensorrt.build import BuildResult

GPU = Gpu("NVIDIA Pretended", "8.6", "13.0")


def stub_tensorrt(version="11.4.0.106"):
    module = types.ModuleType("tensorrt")
    module.__version__ = version
    return module


class StubBuilder:
    """What the cache would ask of the machine, to be changed by a test; and what it asked for."""

    def __init__(self, monkeypatch):
        self.trt, self.gpu, self.built, self.timings = stub_tensorrt(), GPU, [], []
        monkeypatch.setattr(cache, "import_tensorrt", lambda: self.trt)
        monkeypatch.setattr(cache, "find_gpu", lambda: self.gpu)
        monkeypatch.setattr(cache, "build", self.build)

    def build(self, trt, request, progress, timings=b""):
        self.built.append(request)
        self.timings.append(timings)
        return BuildResult(f"engine {len(self.built)}".encode(), request.profiles, timings + b"+")


def engines(folder):
    return sorted(Path(folder).glob("*.engine"))
