"""The two providers of device memory: through the real bindings, over a driver library that needs no GPU."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reid_runtime.backends.cuda import PROVIDERS, open_cuda
from reid_runtime.errors import BackendError
from reid_runtime.install import install_line

ROOT = Path(__file__).parents[3]
PACKAGES = {"cuda-bindings": "cuda.bindings", "pycuda": "pycuda"}


def installed(provider):
    package = PACKAGES[provider]
    return importlib.util.find_spec(package.split(".")[0]) is not None and importlib.util.find_spec(package) is not None


@pytest.fixture(params=PROVIDERS)
def provider(request):
    if not installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    return request.param


def run(code, folder, **environment):
    paths = f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"LD_LIBRARY_PATH": paths} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


ALL = """
import ctypes, gc, sys
sys.path.insert(0, ".")
from tests.backends.cuda.provider import main
main({provider!r}, without_nvrtc=True)
gc.collect()
print("left", ctypes.CDLL("libcuda.so.1").live_objects())
"""


def test_protocol(driver, provider):
    if provider == "pycuda" and shutil.which("nvcc") is None:
        pytest.skip("pycuda compiles kernels with nvcc, which is not here")
    done = run(ALL.format(provider=provider), driver)
    assert done.returncode == 0, done.stderr
    name, left = done.stdout.splitlines()
    assert name.startswith(provider)
    assert name.endswith("on no GPU at all")
    assert left == "left 0"


REFUSED = """
import sys
sys.path.insert(0, ".")
from reid_runtime.backends.cuda import open_cuda
from reid_runtime.errors import BackendError
try:
    open_cuda({provider!r})
except BackendError as error:
    print(error)
"""


def test_driver_without_a_gpu(driver, provider):
    done = run(REFUSED.format(provider=provider), driver, NO_GPU="1")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "finds no usable NVIDIA driver and GPU" in line


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU here")
def test_missing_driver_in_one_line(provider):
    done = run(REFUSED.format(provider=provider), "")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "finds no usable NVIDIA driver" in line or "cannot be loaded" in line


def test_packages_that_are_missing_are_named(monkeypatch):
    for package in ("cuda", "cuda.bindings", "pycuda"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=re.escape(install_line("tensorrt")) + "; pycuda is missing .* pip install"):
        open_cuda()


def test_an_unknown_provider_is_refused():
    with pytest.raises(
        BackendError, match="no provider of device memory is called 'cupy'; known: cuda-bindings, pycuda"
    ):
        open_cuda("cupy")
