"""What the tests on a GPU need, and the reason to skip where it is not there."""

import importlib.util

import pytest

from reid_runtime.backends.cuda import PROVIDERS, open_cuda
from reid_runtime.backends.cuda.driver import missing_gpu


@pytest.fixture(scope="session")
def gpu():
    """Skips where the driver finds no GPU."""
    reason = missing_gpu()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module", params=PROVIDERS)
def cuda(gpu, request):
    """Each provider that is installed; one that is installed and does not work here is a failure."""
    package = {"cuda-bindings": "cuda", "pycuda": "pycuda"}[request.param]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{request.param} is not installed")
    return open_cuda(request.param)


class Producer:
    """A library that makes arrays on the GPU: `slowly` fills one on a stream of its own, long after it returns."""

    def __init__(self, name):
        self.name = name
        self.module = pytest.importorskip(name)

    def put(self, values):
        return self.module.from_numpy(values).cuda() if self.name == "torch" else self.module.asarray(values)

    def stream(self):
        """A context in which the library works on another stream than the default one."""
        if self.name == "torch":
            return self.module.cuda.stream(self.module.cuda.Stream())
        return self.module.cuda.Stream(non_blocking=True)

    def slowly(self, target, values):
        """Queue much work, then a copy of `values` over `target`."""
        if self.name == "torch":
            wide = self.module.ones((4096, 4096), device="cuda")
            for _ in range(50):
                wide = wide @ wide * 1e-4
            target.copy_(values)
        else:
            wide = self.module.ones((4096, 4096), self.module.float32)
            for _ in range(400):
                wide = self.module.sin(wide)
            target[...] = values

    def settled(self):
        if self.name == "torch":
            self.module.cuda.synchronize()
        else:
            self.module.cuda.Device().synchronize()


@pytest.fixture(scope="module", params=["torch", "cupy"])
def producer(gpu, request):
    producer = Producer(request.param)
    if request.param == "torch" and not producer.module.cuda.is_available():
        pytest.skip("torch sees no GPU")
    if request.param == "cupy":
        try:
            producer.module.zeros(1)
        except Exception as error:  # its own, and those of libraries that do not load
            pytest.skip(f"cupy cannot use the GPU: {error}")
    return producer
