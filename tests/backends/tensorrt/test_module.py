"""Which TensorRT is taken, what is said where none can be, and its own words on one line."""

import sys

import pytest

from reid_runtime import BackendError
from reid_runtime.backends.tensorrt.module import capture_errors, format_errors, import_tensorrt, is_rtx, version_string
from reid_runtime.install import install_line

_GOOD = "class Builder: pass\n__version__ = {!r}\n"
_SPEAKING = (
    _GOOD.format("11.4.0.106")
    + """
class ILogger:
    class Severity:
        INTERNAL_ERROR, ERROR, WARNING = range(3)
"""
)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """installed(tensorrt=CODE, …): these modules and no other TensorRT."""
    monkeypatch.syspath_prepend(tmp_path)
    names = ("tensorrt", "tensorrt_rtx")

    def install(**modules):
        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)
            code = modules.get(name, f"raise ModuleNotFoundError(name={name!r})")
            (tmp_path / f"{name}.py").write_text(code)

    yield install
    for name in names:
        sys.modules.pop(name, None)


def test_tensorrt_comes_first(installed):
    installed(tensorrt=_GOOD.format("10.16.1.11"), tensorrt_rtx=_GOOD.format("1.7.1.116"))
    trt = import_tensorrt()
    assert (version_string(trt), is_rtx(trt)) == ("TensorRT 10.16.1.11", False)


def test_rtx_where_the_other_fails(installed):
    for broken in ({}, {"tensorrt": "raise ImportError('libnvinfer.so.11: cannot open shared object file')"}):
        installed(tensorrt_rtx=_GOOD.format("1.7.1.116"), **broken)
        trt = import_tensorrt()
        assert (version_string(trt), is_rtx(trt)) == ("TensorRT-RTX 1.7.1.116", True)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "TensorRT is needed and missing: pip install"),
        ("raise ImportError('libnvinfer.so.11: no such file')", r"does not load \(libnvinfer.so.11: no such file\)"),
        ("raise OSError('wrong ELF class')", r"does not load \(wrong ELF class\)"),
        ("import tensorrt_libs_that_are_not_there", r"does not load \(No module named 'tensorrt_libs"),
        (_GOOD.format("8.6.1"), "TensorRT 8.6.1 is installed, 10 is the oldest"),
        ("", "is not NVIDIA's"),
        ("class Builder: pass", "is not NVIDIA's"),
    ],
)
def test_unusable_module(installed, code, message):
    installed(**({} if code is None else {"tensorrt": code}))
    with pytest.raises(BackendError, match=message) as caught:
        import_tensorrt()
    assert install_line("tensorrt") in str(caught.value)
    assert "NVIDIA's own package index" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_captured_errors(installed):
    installed(tensorrt=_SPEAKING)
    trt = import_tensorrt()
    from reid_runtime.backends.tensorrt.module import tensorrt_log

    log = tensorrt_log(trt)
    assert log is tensorrt_log(trt)
    log.log(trt.ILogger.Severity.ERROR, "before")
    with capture_errors(trt) as outer, capture_errors(trt) as inner:
        assert outer == inner == []
        log.log(trt.ILogger.Severity.WARNING, "a warning")
        log.log(trt.ILogger.Severity.ERROR, "an error")
    log.log(trt.ILogger.Severity.INTERNAL_ERROR, "after")
    assert outer == inner == ["an error"]


def test_formatted_errors():
    noise = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (cudaError 35)"
    assert format_errors(["no such node\n", "no such node", noise, "\n at line 3"]) == "no such node; at line 3"
    assert format_errors([noise]) == noise
    assert format_errors([]) == "TensorRT gave no reason"
