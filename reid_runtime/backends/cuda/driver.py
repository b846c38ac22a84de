"""Which NVIDIA GPU this process would use, asked of the driver itself: no package is needed, and no driver no crash."""

import ctypes
import sys
from dataclasses import dataclass

from reid_runtime.errors import MissingBackendError

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CUdevice_attribute of the driver API
_MAJOR, _MINOR = 75, 76


class NoGpuError(MissingBackendError):
    """There is no NVIDIA driver here, or no GPU behind it."""


@dataclass(frozen=True)
class Gpu:
    """What an engine is bound to."""

    name: str
    compute_capability: str
    """`8.6`"""
    cuda: str
    """The newest CUDA that its driver knows: `13.0`."""


def missing_gpu(driver: str = _DRIVER) -> str | None:
    """Why no NVIDIA GPU can be used here; None where the driver says that one can."""
    try:
        _call(_load(driver), "cuInit", 0)
    except NoGpuError as error:
        return str(error)
    return None


def find_gpu(driver: str = _DRIVER) -> Gpu:
    """The GPU of the caller's current CUDA context, else the first; raises NoGpuError, with the driver's reason."""
    cuda = _load(driver)
    _call(cuda, "cuInit", 0)
    device, version = ctypes.c_int(), ctypes.c_int()
    if cuda.cuCtxGetDevice(ctypes.byref(device)) != 0:
        _call(cuda, "cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    _call(cuda, "cuDeviceGetName", name, len(name), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        _call(cuda, "cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        capability.append(str(value.value))
    _call(cuda, "cuDriverGetVersion", ctypes.byref(version))
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=".".join(capability),
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def current_context(driver: str = _DRIVER) -> int | None:
    """The caller's CUDA context, None where it has none: CUDA knows a context only in the thread that chose it."""
    context = ctypes.c_void_p()
    try:
        status = _load(driver).cuCtxGetCurrent(ctypes.byref(context))
    except NoGpuError:
        return None
    return context.value if status == 0 else None


def use_context(context: int | None, driver: str = _DRIVER) -> None:
    """Make the calling thread use another thread's context; None leaves it as it is."""
    if context is not None:
        _call(_load(driver), "cuCtxSetCurrent", ctypes.c_void_p(context))


def _load(driver: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(driver)
    except OSError as error:
        raise NoGpuError(f"no NVIDIA driver here: {error}") from error


def _call(cuda: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(cuda, function)(*arguments)
    if code != 0:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        reason = text.value.decode(errors="replace") if text.value else "no reason given"
        raise NoGpuError(f"no usable NVIDIA GPU: {function} gave error {code}, {reason}")
