"""TensorRT's Python package, 10, 11 or TensorRT-RTX (one API), and the errors that it logs while it works.

Nothing here touches a GPU: `import tensorrt` is safe without a driver, creating its Runtime is not.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from reid_runtime.errors import MissingBackendError
from reid_runtime.install import install_line

if TYPE_CHECKING:
    import tensorrt

PACKAGES = ("tensorrt", "tensorrt_rtx")
_OLDEST = 10
_listeners: dict[int, list[str]] = {}


def import_tensorrt() -> ModuleType:
    """`tensorrt`, or `tensorrt_rtx` where only that works; a MissingBackendError that says what to do where none is."""
    broken = []
    for package in PACKAGES:
        try:
            trt = import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                broken.append(f"{package} is installed but does not load ({error})")
            continue
        except Exception as error:  # its loader lets through whatever ctypes and the linker raise
            broken.append(f"{package} is installed but does not load ({error})")
            continue
        version = getattr(trt, "__version__", None)
        if not hasattr(trt, "Builder") or not isinstance(version, str):
            broken.append(f"the module {package} that Python finds is not NVIDIA's ({trt})")
        elif not is_rtx(trt) and int(version.split(".")[0]) < _OLDEST:
            broken.append(f"TensorRT {version} is installed, {_OLDEST} is the oldest that works")
        else:
            return trt
    reason = f": {'; '.join(broken)}" if broken else " and missing"
    raise MissingBackendError(
        f"TensorRT is needed{reason}: {install_line('tensorrt')}; its libraries are not among the "
        "ordinary packages, they come from NVIDIA's own package index"
    )


def is_rtx(trt: ModuleType) -> bool:
    """Whether this is TensorRT-RTX: it builds without a GPU, for several kinds, and picks kernels where it runs."""
    return trt.__name__ == "tensorrt_rtx"


def version_string(trt: ModuleType) -> str:
    """The package and its version, for people: `TensorRT 11.4.0.106`."""
    return f"{'TensorRT-RTX' if is_rtx(trt) else 'TensorRT'} {trt.__version__}"


@functools.cache
def tensorrt_log(trt: ModuleType) -> "tensorrt.ILogger":
    """The one logger of this process: TensorRT keeps the first that it meets for builders and runtimes alike.

    https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Core/Logger.html
    """
    severe = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc,name-defined]  # known only at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT, from threads of its own as well."""
            if severity in severe:
                for listener in list(_listeners.values()):
                    listener.append(message)

    return Log()


@contextmanager
def capture_errors(trt: ModuleType) -> Iterator[list[str]]:
    """The errors that TensorRT logs while the block runs, in any thread."""
    tensorrt_log(trt)
    errors: list[str] = []
    _listeners[id(errors)] = errors
    try:
        yield errors
    finally:
        del _listeners[id(errors)]


def format_errors(errors: Sequence[str]) -> str:
    """TensorRT's errors on one line, each once.

    Where there is no driver, TensorRT-RTX adds that to every other error: that is left out.
    """
    lines = [line.strip() for message in errors for line in message.splitlines()]
    relevant = dict.fromkeys(line for line in lines if line and "catchCudaError" not in line)
    return "; ".join(relevant) or "; ".join(dict.fromkeys(filter(None, lines))) or "TensorRT gave no reason"
