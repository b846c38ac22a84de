"""The provider on PyCUDA, which is built from source where the CUDA toolkit is."""

# ruff: noqa: D102 - the methods are described once, in base.Cuda

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from reid_runtime.backends.cuda.base import Arguments, Bytes, Counts
from reid_runtime.errors import BackendError, MissingBackendError


class PyCuda:
    """`Cuda` on PyCUDA's objects, which it keeps by their handle: they free themselves when they are dropped.

    The primary context is retained; `pycuda.autoinit` would make another one, in which torch's memory is not valid.
    PyCUDA wraps neither graphs nor other libraries' streams: graphs are refused, and the host waits for such a stream.
    """

    captures_graphs = False

    def __init__(self) -> None:
        """GPU 0; raises MissingBackendError where the package, the driver or the GPU is missing."""
        try:
            from pycuda import VERSION_TEXT, driver
        except ImportError as error:
            raise MissingBackendError(
                f"pycuda is missing or cannot be loaded ({error}): where the CUDA toolkit is, pip install pycuda"
            ) from error
        self._driver = driver
        try:
            driver.init()
            device = driver.Device(0)
            self._context = device.retain_primary_context()
        except driver.Error as error:
            raise MissingBackendError(f"pycuda finds no usable NVIDIA driver and GPU: {error}") from error
        self.name = f"pycuda {VERSION_TEXT} on {device.name()}"
        self._lock = threading.Lock()
        self._kept: dict[int, Any] = {}
        """PyCUDA's objects by address or handle; kernels and events by their identity."""
        self._kernels: dict[tuple[str, str], int] = {}

    @contextmanager
    def _cuda_errors(self) -> Iterator[None]:
        """PyCUDA's errors as BackendError."""
        try:
            yield
        except self._driver.Error as error:
            raise BackendError(f"CUDA failed: {error}") from error

    def _keep(self, handle: int, value: Any) -> int:
        with self._lock:
            self._kept[handle] = value
        return handle

    def _drop(self, handle: int) -> Any:
        with self._lock:
            return self._kept.pop(handle)

    @contextmanager
    def current(self) -> Iterator[None]:
        with self._cuda_errors():
            self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def allocate(self, size: int) -> int:
        with self._cuda_errors():
            memory = self._driver.mem_alloc(size)
        return self._keep(int(memory), memory)

    def free(self, address: int) -> None:
        with self._cuda_errors():
            self._drop(address).free()

    def allocate_pinned(self, size: int) -> Bytes:
        with self._cuda_errors():
            memory = self._driver.pagelocked_empty(size, np.uint8)
        self._keep(memory.ctypes.data, memory.base)
        return memory  # type: ignore[no-any-return]  # the package has no types

    def free_pinned(self, memory: Bytes) -> None:
        with self._cuda_errors():
            self._drop(memory.ctypes.data).free()

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        with self._cuda_errors():
            self._driver.memcpy_htod_async(target, source, self._kept[stream])

    def download(self, target: Bytes, source: int, stream: int) -> None:
        with self._cuda_errors():
            self._driver.memcpy_dtoh_async(target, source, self._kept[stream])

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        with self._cuda_errors():
            self._driver.memcpy_dtod_async(target, source, size, self._kept[stream])

    def create_stream(self) -> int:
        with self._cuda_errors():
            stream = self._driver.Stream(1)  # CU_STREAM_NON_BLOCKING, for which PyCUDA has no name
        return self._keep(stream.handle, stream)

    def destroy_stream(self, stream: int) -> None:
        self._drop(stream)

    def synchronize(self, stream: int) -> None:
        with self._cuda_errors():
            self._kept[stream].synchronize()

    def follow(self, stream: int, leader: int) -> None:
        if leader in self._kept:
            event = self.create_event()
            try:
                self.record(event, leader)
                self.wait(stream, event)
            finally:
                self.destroy_event(event)
        else:
            with self._cuda_errors():
                self._driver.Context.synchronize()

    def create_event(self) -> int:
        with self._cuda_errors():
            event = self._driver.Event(self._driver.event_flags.DISABLE_TIMING)
        return self._keep(id(event), event)

    def destroy_event(self, event: int) -> None:
        self._drop(event)

    def record(self, event: int, stream: int) -> None:
        with self._cuda_errors():
            self._kept[event].record(self._kept[stream])

    def wait(self, stream: int, event: int) -> None:
        with self._cuda_errors():
            self._kept[stream].wait_for_event(self._kept[event])

    def synchronize_event(self, event: int) -> None:
        with self._cuda_errors():
            self._kept[event].synchronize()

    def _no_graphs(self, *arguments: object, **named: object) -> NoReturn:
        raise BackendError("PyCUDA has no CUDA graphs: use the provider 'cuda-bindings', or no graphs")

    begin_capture = end_capture = abort_capture = launch_graph = destroy_graph = _no_graphs

    def compile(self, source: str, function: str) -> int:
        from pycuda.compiler import compile as compile_kernel

        if (source, function) not in self._kernels:
            try:
                # No cache: the runtime needs no writable home.
                code = compile_kernel(source, options=["-fmad=false"], no_extern_c=True, cache_dir=False)
                kernel = self._driver.module_from_buffer(code).get_function(function)
            except (OSError, self._driver.Error) as error:  # no nvcc, or its errors
                raise BackendError(f"pycuda cannot compile a kernel with nvcc: {error}") from error
            self._kernels[source, function] = self._keep(id(kernel), kernel)
        return self._kernels[source, function]

    def launch(self, kernel: int, grid: Counts, block: Counts, shared: int, stream: int, arguments: Arguments) -> None:
        with self._cuda_errors():
            self._kept[kernel](*arguments, grid=grid, block=block, shared=shared, stream=self._kept[stream])
