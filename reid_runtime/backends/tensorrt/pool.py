"""A deserialised engine and a pool of runners on it, released in the reverse order of their creation."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from reid_runtime.backends.cuda import Cuda
from reid_runtime.backends.tensorrt.module import capture_errors, format_errors, tensorrt_log, version_string
from reid_runtime.backends.tensorrt.runner import LoadedEngine, Runner
from reid_runtime.errors import BackendError


class RefusedEngineError(BackendError):
    """TensorRT would not load an engine: damaged, or built by another TensorRT or for another GPU."""


class Pool:
    """The engine and its idle runners by profile. Threads may share it."""

    def __init__(self, trt: Any, blob: bytes, cuda: Cuda, cuda_graphs: int) -> None:
        """Deserialise `blob`; BackendError, RefusedEngineError among them, with TensorRT's reason where it will not."""
        self._cuda, self._cuda_graphs = cuda, cuda_graphs
        self._lock = threading.Lock()
        self._idle: dict[int, list[Runner]] = {}
        with cuda.current(), capture_errors(trt) as errors:
            try:
                runtime = trt.Runtime(tensorrt_log(trt))
            except (RuntimeError, TypeError) as error:  # what the bindings make of a null pointer
                raise BackendError(f"{version_string(trt)} gave no runtime: {format_errors(errors)}") from error
            engine = runtime.deserialize_cuda_engine(blob)
        if engine is None:
            raise RefusedEngineError(f"{version_string(trt)} will not load the engine: {format_errors(errors)}")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs, outputs = (
            [name for name in names if engine.get_tensor_mode(name) == mode]
            for mode in (trt.TensorIOMode.INPUT, trt.TensorIOMode.OUTPUT)
        )
        if len(inputs) != 1 or len(outputs) != 1:
            raise BackendError(f"expected an engine with one input and one output, found {inputs} and {outputs}")
        self._loaded: LoadedEngine | None = LoadedEngine(trt, engine, runtime, inputs[0], outputs[0])

    @property
    def loaded(self) -> LoadedEngine:
        """The engine; BackendError after `close`."""
        if self._loaded is None:
            raise BackendError("this TensorRT backend is closed")
        return self._loaded

    @contextmanager
    def runner(self, profile: int) -> Iterator[Runner]:
        """A runner for this thread alone; after a failure it is released, never used again."""
        with self._lock:
            loaded, idle = self.loaded, self._idle.setdefault(profile, [])
            runner = idle.pop() if idle else None
        if runner is None:
            runner = Runner(loaded, self._cuda, profile, self._cuda_graphs)
        try:
            yield runner
        except BaseException:
            with suppress(BackendError):  # the first failure is the one to report
                runner.release()
            raise
        with self._lock:
            if self._loaded is not None:
                self._idle[profile].append(runner)
                return
        runner.release()

    def close(self) -> None:
        """Release what is idle; runners in use release themselves when they end, and the last one the engine."""
        with self._lock:
            self._loaded = None
            idle = [runner for runners in self._idle.values() for runner in runners]
            self._idle.clear()
        with ExitStack() as stack:
            stack.enter_context(self._cuda.current())
            for runner in idle:
                stack.callback(runner.release)
