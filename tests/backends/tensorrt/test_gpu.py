"""Which GPU is here: asked of a driver that is compiled for the purpose, with CUDA's own signatures."""

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from reid_runtime.backends.tensorrt.gpu import Gpu, NoGpuError, current_context, find_gpu, use_context


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile a driver with")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so"
    source = Path(__file__).with_name("driver.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return str(library)


def test_the_gpu_of_the_current_context_is_found(driver):
    assert find_gpu(driver) == Gpu("NVIDIA Second", "8.9", "13.1")


def test_without_a_context_it_is_the_first(driver, monkeypatch):
    monkeypatch.setenv("NO_CONTEXT", "1")
    assert find_gpu(driver) == Gpu("NVIDIA First", "8.6", "13.1")
    assert current_context(driver) is None


def test_a_driver_without_a_gpu_says_why(driver, monkeypatch):
    monkeypatch.setenv("HIDE_GPU", "1")
    with pytest.raises(NoGpuError, match="cuInit gave error 100, no CUDA-capable device"):
        find_gpu(driver)


def test_no_driver_is_an_error_and_no_crash(tmp_path):
    with pytest.raises(NoGpuError, match="no NVIDIA driver here"):
        find_gpu(str(tmp_path / "libcuda.so.1"))
    assert current_context(str(tmp_path / "libcuda.so.1")) is None
    use_context(None, str(tmp_path / "libcuda.so.1"))


def test_a_context_can_be_handed_to_another_thread(driver):
    use_context(0x7700, driver)
    seen = []

    def work():
        seen.append(current_context(driver))
        use_context(0x7700, driver)
        seen.append(current_context(driver))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0x5150, 0x7700]
