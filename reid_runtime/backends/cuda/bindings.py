"""The provider on NVIDIA's own bindings, the package cuda-bindings: wheels, no compiler needed."""

# ruff: noqa: D102 - the methods are described once, in base.Cuda

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np

from reid_runtime.backends.cuda.base import Arguments, Bytes, Counts
from reid_runtime.errors import BackendError, MissingBackendError
from reid_runtime.install import install_line


class CudaBindings:
    """`Cuda` through the driver's API; NVRTC compiles the kernels."""

    captures_graphs = True

    def __init__(self) -> None:
        """GPU 0; raises MissingBackendError where the package, the driver or the GPU is missing."""
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise MissingBackendError(f"cuda-bindings is needed and missing: {install_line('tensorrt')}") from error
        self._driver = driver
        try:
            _checked(driver, driver.cuInit(0))
            self._device = _checked(driver, driver.cuDeviceGet(0))
        except Exception as error:  # the bindings have an error of their own for a library that cannot be loaded
            raise MissingBackendError(f"cuda-bindings finds no usable NVIDIA driver and GPU: {error}") from error
        self._context = self._call(driver.cuDevicePrimaryCtxRetain, self._device)
        gpu = self._call(driver.cuDeviceGetName, 256, self._device).split(b"\0")[0].decode()
        self.name = f"cuda-bindings {metadata.version('cuda-bindings')} on {gpu}"
        self._kernels: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return _checked(self._driver, function(*arguments))
        except RuntimeError as error:
            raise BackendError(f"CUDA's {function.__name__} failed: {error}") from error

    @contextmanager
    def current(self) -> Iterator[None]:
        self._call(self._driver.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            self._call(self._driver.cuCtxPopCurrent)

    def allocate(self, size: int) -> int:
        return int(self._call(self._driver.cuMemAlloc, size))

    def free(self, address: int) -> None:
        self._call(self._driver.cuMemFree, address)

    def allocate_pinned(self, size: int) -> Bytes:
        address = int(self._call(self._driver.cuMemHostAlloc, size, 0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, memory: Bytes) -> None:
        self._call(self._driver.cuMemFreeHost, memory.ctypes.data)

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        self._call(self._driver.cuMemcpyHtoDAsync, target, source.ctypes.data, source.nbytes, stream)

    def download(self, target: Bytes, source: int, stream: int) -> None:
        self._call(self._driver.cuMemcpyDtoHAsync, target.ctypes.data, source, target.nbytes, stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        self._call(self._driver.cuMemcpyDtoDAsync, target, source, size, stream)

    def create_stream(self) -> int:
        return int(self._call(self._driver.cuStreamCreate, self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        self._call(self._driver.cuStreamDestroy, stream)

    def synchronize(self, stream: int) -> None:
        self._call(self._driver.cuStreamSynchronize, stream)

    def follow(self, stream: int, leader: int) -> None:
        event = self.create_event()
        try:
            self.record(event, leader)
            self.wait(stream, event)
        finally:
            self.destroy_event(event)  # CUDA keeps it until it has come

    def create_event(self) -> int:
        return int(self._call(self._driver.cuEventCreate, self._driver.CUevent_flags.CU_EVENT_DISABLE_TIMING))

    def destroy_event(self, event: int) -> None:
        self._call(self._driver.cuEventDestroy, event)

    def record(self, event: int, stream: int) -> None:
        self._call(self._driver.cuEventRecord, event, stream)

    def wait(self, stream: int, event: int) -> None:
        self._call(self._driver.cuStreamWaitEvent, stream, event, 0)

    def synchronize_event(self, event: int) -> None:
        self._call(self._driver.cuEventSynchronize, event)

    def begin_capture(self, stream: int) -> None:
        # Of this thread alone: another thread may allocate and compile meanwhile.
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call(self._driver.cuStreamBeginCapture, stream, mode)

    def end_capture(self, stream: int) -> int:
        graph = self._call(self._driver.cuStreamEndCapture, stream)
        try:
            return int(self._call(self._driver.cuGraphInstantiate, graph, 0))
        finally:
            self._call(self._driver.cuGraphDestroy, graph)

    def abort_capture(self, stream: int) -> None:
        # The status says what is known already: that the capture failed.
        status, graph = self._driver.cuStreamEndCapture(stream)
        if status == self._driver.CUresult.CUDA_SUCCESS:
            self._call(self._driver.cuGraphDestroy, graph)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._call(self._driver.cuGraphLaunch, graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call(self._driver.cuGraphExecDestroy, graph)

    def compile(self, source: str, function: str) -> int:
        with self._lock:
            if (source, function) not in self._kernels:
                module = self._call(self._driver.cuModuleLoadData, compile_kernel(source, self._architecture()))
                kernel = self._call(self._driver.cuModuleGetFunction, module, function.encode())
                self._kernels[source, function] = kernel
            return int(self._kernels[source, function])

    def _architecture(self) -> int:
        """The GPU's compute capability: 86 for 8.6."""
        attributes = self._driver.CUdevice_attribute
        major, minor = (
            self._call(self._driver.cuDeviceGetAttribute, attribute, self._device)
            for attribute in (
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        return 10 * int(major) + int(minor)

    def launch(self, kernel: int, grid: Counts, block: Counts, shared: int, stream: int, arguments: Arguments) -> None:
        values = [np.asarray(argument) for argument in arguments]  # kept until the launch has copied them
        addresses = np.array([value.ctypes.data for value in values], np.uintp)
        launch = self._driver.cuLaunchKernel
        self._call(launch, kernel, *grid, *block, shared, stream, addresses.ctypes.data, 0)


def _checked(driver: Any, answer: tuple[Any, ...]) -> Any:
    """What a call of the driver gives after its status; RuntimeError with CUDA's reason where that is a failure."""
    status, *values = answer
    if status != driver.CUresult.CUDA_SUCCESS:
        words = [driver.cuGetErrorName(status)[1], driver.cuGetErrorString(status)[1]]
        raise RuntimeError(": ".join(word.decode() for word in words if word) or f"status {int(status)}")
    return values[0] if values else None


def compile_kernel(source: str, architecture: int) -> bytes:
    """A CUDA C++ source as machine code for one compute capability (86 stands for 8.6); needs no GPU.

    Where NVRTC is older than the GPU it is PTX of the newest that NVRTC knows, which the driver translates as it loads.
    Raises BackendError with the compiler's log.
    """
    try:
        from cuda.bindings import nvrtc

        supported = _ok(nvrtc, nvrtc.nvrtcGetSupportedArchs())
        program = _ok(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    except Exception as error:  # the library cannot be found or loaded
        raise MissingBackendError(
            f"kernels are compiled with NVRTC, which is missing: {error}: pip install nvidia-cuda-nvrtc"
        ) from error
    newest = max(supported)
    target = f"sm_{architecture}" if architecture in supported else f"compute_{newest}"
    options = [f"--gpu-architecture={target}".encode(), b"--fmad=false"]
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = b" " * _ok(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
            _ok(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
            raise BackendError(f"NVRTC cannot compile a kernel for {target}: {log.rstrip(bytes(1)).decode()}")
        sized, given = (
            (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
            if target.startswith("sm_")
            else (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        )
        code = bytes(_ok(nvrtc, sized(program)))
        _ok(nvrtc, given(program, code))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return code


def _ok(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    status, *values = answer
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(nvrtc.nvrtcGetErrorString(status)[1].decode())
    return values[0] if values else None
