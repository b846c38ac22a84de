"""Which GPU is here: asked of a driver with CUDA's own signatures."""

import threading

import pytest

from reid_runtime.backends.cuda.driver import Gpu, NoGpuError, current_context, find_gpu, missing_gpu, use_context


@pytest.fixture
def library(driver):
    return str(driver / "libcuda.so.1")


def in_thread(work):
    """What `work` gives in a thread of its own, which has no CUDA context yet."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_first_gpu_without_a_context(library):
    assert in_thread(lambda: find_gpu(library)) == Gpu("no GPU at all", "8.6", "13.1")
    assert in_thread(lambda: current_context(library)) is None
    assert missing_gpu(library) is None


def test_gpu_of_the_current_context(library):
    def work():
        use_context(0x7700, library)
        use_context(None, library)
        return current_context(library), find_gpu(library)

    assert in_thread(work) == (0x7700, Gpu("a second one", "8.9", "13.1"))


def test_a_driver_without_a_gpu_says_why(library, monkeypatch):
    monkeypatch.setenv("NO_GPU", "1")
    with pytest.raises(NoGpuError, match="cuInit gave error 100, pretended error 100"):
        find_gpu(library)
    assert missing_gpu(library) == "no usable NVIDIA GPU: cuInit gave error 100, pretended error 100"


def test_no_driver_is_an_error_and_no_crash(tmp_path):
    library = str(tmp_path / "libcuda.so.1")
    with pytest.raises(NoGpuError, match=r"no NVIDIA driver here: .*libcuda\.so\.1"):
        find_gpu(library)
    assert missing_gpu(library).startswith("no NVIDIA driver here: ")
    assert current_context(library) is None
    use_context(None, library)
