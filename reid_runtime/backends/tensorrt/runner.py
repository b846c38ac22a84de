"""One TensorRT execution context at work: two lanes of buffers, so that one batch travels while another is computed.

A runner belongs to one thread at a time, as its context does. Every call of TensorRT and of CUDA that can fail is
checked; a runner in which one failed is released, never used again.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from reid_runtime.backends.cuda import Bytes, Cuda
from reid_runtime.backends.tensorrt.module import capture_errors, format_errors
from reid_runtime.errors import BackendError
from reid_runtime.vectors import Vectors

ALIGNMENT = 256
"""Of every address that TensorRT is given; what CUDA allocates has it."""


@dataclass(frozen=True)
class LoadedEngine:
    """A deserialised engine and the names of its one input and one output.

    Whoever works with the engine holds this; the engine goes before the runtime, in the order of the fields.
    """

    trt: ModuleType
    engine: Any
    runtime: Any
    input: str
    output: str


class DeviceBuffer:
    """Device memory that only grows; it may be grown only while nothing that is queued uses it."""

    def __init__(self, cuda: Cuda) -> None:
        """Of no size."""
        self._cuda, self.address, self._size = cuda, 0, 0

    def reserve(self, size: int) -> int:
        """The address of `size` bytes or more; what they held is lost when they grow."""
        if size > self._size:
            self.release()
            self.address, self._size = self._cuda.allocate(size), size
        return self.address

    def release(self) -> None:
        """Give the memory back."""
        address, self.address, self._size = self.address, 0, 0
        if address:
            self._cuda.free(address)


class PinnedBuffer:
    """Page-locked host memory that only grows, under the same condition."""

    def __init__(self, cuda: Cuda) -> None:
        """Of no size."""
        self._cuda, self._memory = cuda, np.empty(0, np.uint8)

    def reserve(self, size: int) -> Bytes:
        """The first `size` bytes."""
        if size > self._memory.nbytes:
            self.release()
            self._memory = self._cuda.allocate_pinned(size)
        return self._memory[:size]

    def release(self) -> None:
        """Give the memory back."""
        memory, self._memory = self._memory, np.empty(0, np.uint8)
        if memory.nbytes:
            self._cuda.free_pinned(memory)


class Lane:
    """The buffers of one batch on its way; free again once `done` has come."""

    def __init__(self, cuda: Cuda, stack: ExitStack) -> None:
        """Empty; `stack` releases it."""
        self.input, self.output, self.boxes = DeviceBuffer(cuda), DeviceBuffer(cuda), DeviceBuffer(cuda)
        self.staged, self.fetched = PinnedBuffer(cuda), PinnedBuffer(cuda)
        for buffer in (self.input, self.output, self.boxes, self.staged, self.fetched):
            stack.callback(buffer.release)
        self.ready = cuda.create_event()
        stack.callback(cuda.destroy_event, self.ready)
        self.done = cuda.create_event()
        stack.callback(cuda.destroy_event, self.done)
        self.vectors: tuple[int, int] | None = None
        """The shape of the vectors on their way into `fetched`; None while the lane is free."""


class Execution:
    """An execution context on one profile, bound to one stream for good."""

    def __init__(self, loaded: LoadedEngine, cuda: Cuda, profile: int, stream: int) -> None:
        """Create the context and select its profile; BackendError with TensorRT's reason where it will not."""
        self._loaded, self._stream = loaded, stream
        with capture_errors(loaded.trt) as errors:
            self._context = loaded.engine.create_execution_context()
        if self._context is None:
            raise BackendError(f"TensorRT gave no execution context: {format_errors(errors)}")
        self._output = _output_allocator(loaded.trt)
        try:
            self._do("set_optimization_profile_async", profile, stream)
            self._do("set_output_allocator", loaded.output, self._output)
            cuda.synchronize(stream)  # the switch may copy: on our stream, and over before anything is enqueued
        except BaseException:
            self.release()
            raise

    def prepare(self, lane: Lane, shape: tuple[int, ...], address: int) -> None:
        """Set the input's shape and address, and the lane whose output buffer takes the vectors."""
        self._output.buffer = lane.output
        self._do("set_input_shape", self._loaded.input, shape)
        self._do("set_tensor_address", self._loaded.input, address)

    def enqueue(self) -> tuple[int, int]:
        """Queue the inference; the shape (N, D) of what it writes."""
        self._output.shape = self._output.error = None
        try:
            self._do("execute_async_v3", self._stream)
        except BackendError as error:
            raise self._output.error or error from error
        shape: tuple[int, ...] | None = self._output.shape
        if shape is None or len(shape) != 2 or min(shape) < 1:
            raise BackendError(f"expected vectors of shape (N, D) from the engine, TensorRT announced {shape}")
        return shape[0], shape[1]

    def release(self) -> None:
        """Destroy the context; the engine must still be there, and nothing queued may use it."""
        self._context = self._output = None

    def _do(self, call: str, *arguments: Any) -> None:
        with capture_errors(self._loaded.trt) as errors:
            try:
                done = getattr(self._context, call)(*arguments)
            except RuntimeError as error:  # where the bindings raise instead of giving False
                errors.append(str(error))
                done = False
        if not done:
            text = ", ".join(str(argument) for argument in arguments if isinstance(argument, str | tuple))
            raise BackendError(f"TensorRT's {call}({text}) failed: {format_errors(errors)}")


def _output_allocator(trt: ModuleType) -> Any:
    """TensorRT asks it for the output's memory, and gives it the output's shape, while it enqueues."""

    class Output(trt.IOutputAllocator):  # type: ignore[misc,name-defined]  # known only at run time
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.buffer: Any = None
            self.shape: tuple[int, ...] | None = None
            self.error: BackendError | None = None

        def reallocate_output_async(self, name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            try:
                if alignment > ALIGNMENT:
                    raise BackendError(f"TensorRT wants an output aligned to {alignment}, CUDA gives {ALIGNMENT}")
                return int(self.buffer.reserve(size))
            except BackendError as error:  # an exception would only be printed: 0 says that there is no memory
                self.error = error.with_traceback(None)  # whose frames would keep the context alive
                return 0

        def notify_shape(self, name: str, shape: Any) -> None:
            self.shape = tuple(shape)

    return Output()


@dataclass(frozen=True)
class CapturedGraph:
    """A CUDA graph, and the context that it was captured from, which must not be touched while the graph lives."""

    execution: Execution
    graph: int
    vectors: tuple[int, int]


Fill = Callable[[Lane, slice], tuple[tuple[int, ...], int]]
"""Brings the rows of a slice to the device, ahead of what the compute stream gets next; their shape and address."""


class Runner:
    """A context for one profile with its streams, lanes and CUDA graphs."""

    def __init__(self, loaded: LoadedEngine, cuda: Cuda, profile: int, cuda_graphs: int) -> None:
        """`cuda_graphs` is how many are kept, the least recently used goes first; 0 for none."""
        self.cuda = cuda
        self._loaded, self._profile, self._limit = loaded, profile, cuda_graphs
        self._graphs: OrderedDict[tuple[Any, ...], CapturedGraph] = OrderedDict()
        with ExitStack() as stack:  # released in the reverse order: first what is queued ends, last the streams go
            self.compute = cuda.create_stream()
            stack.callback(cuda.destroy_stream, self.compute)
            self.copies = cuda.create_stream()
            stack.callback(cuda.destroy_stream, self.copies)
            self._lanes = (Lane(cuda, stack), Lane(cuda, stack))
            self._execution = Execution(loaded, cuda, profile, self.compute)
            stack.callback(self._execution.release)
            stack.callback(self._drop_graphs, 0)
            stack.callback(cuda.synchronize, self.compute)
            stack.callback(cuda.synchronize, self.copies)
            self._stack = stack.pop_all()

    def release(self) -> None:
        """Wait for what is queued, then give everything back; what can be released is, whatever else fails."""
        self._stack.close()

    def run(self, parts: Sequence[slice], fill: Fill) -> Vectors:
        """The vectors of all parts, one below the other."""
        results: list[Vectors] = []
        for number, part in enumerate(parts):
            lane = self._lanes[number % 2]
            self._collect(lane, results)
            shape, address = fill(lane, part)
            vectors = self._queue(lane, shape, address)
            if vectors[0] != shape[0]:
                raise BackendError(f"expected a vector for each of {shape[0]} images, the engine gives {vectors}")
            size = 4 * vectors[0] * vectors[1]
            self.cuda.download(lane.fetched.reserve(size), lane.output.address, self.compute)
            self.cuda.record(lane.done, self.compute)
            lane.vectors = vectors
        for number in range(len(parts), len(parts) + 2):
            self._collect(self._lanes[number % 2], results)
        return np.concatenate(results)

    def _collect(self, lane: Lane, results: list[Vectors]) -> None:
        """Wait for the lane's batch and take its vectors; after this the lane's buffers may be written again."""
        if lane.vectors is not None:
            self.cuda.synchronize_event(lane.done)
            fetched = lane.fetched.reserve(4 * lane.vectors[0] * lane.vectors[1])
            results.append(fetched.view(np.float32).reshape(lane.vectors).copy())
            lane.vectors = None

    def _queue(self, lane: Lane, shape: tuple[int, ...], address: int) -> tuple[int, int]:
        if not self._limit or address != lane.input.address:  # a caller's own memory is another every time
            self._execution.prepare(lane, shape, address)
            return self._execution.enqueue()
        captured = self._graphs.get((shape, address, lane.output.address))
        if captured is None:
            return self._capture(lane, shape, address)
        self._graphs.move_to_end((shape, address, lane.output.address))
        self.cuda.launch_graph(captured.graph, self.compute)
        return captured.vectors

    def _capture(self, lane: Lane, shape: tuple[int, ...], address: int) -> tuple[int, int]:
        """Run the batch as it is, then capture the same once more for the next batch of this shape in this lane.

        The run comes first because TensorRT does its updates after a change of shape in it, outside the graph; the
        graph has a context of its own because any other use of its context would make it invalid.
        """
        self._drop_graphs(self._limit - 1)
        with ExitStack() as stack:
            execution = Execution(self._loaded, self.cuda, self._profile, self.compute)
            stack.callback(execution.release)
            stack.callback(self.cuda.synchronize, self.compute)
            execution.prepare(lane, shape, address)
            vectors = execution.enqueue()
            self.cuda.begin_capture(self.compute)
            try:
                execution.enqueue()
            except BaseException:
                with suppress(BackendError):
                    self.cuda.abort_capture(self.compute)
                raise
            graph = self.cuda.end_capture(self.compute)
            self._graphs[shape, address, lane.output.address] = CapturedGraph(execution, graph, vectors)
            stack.pop_all()
        return vectors

    def _drop_graphs(self, keep: int) -> None:
        with ExitStack() as stack:
            while len(self._graphs) > keep:
                _, oldest = self._graphs.popitem(last=False)
                stack.callback(oldest.execution.release)
                stack.callback(self.cuda.destroy_graph, oldest.graph)
                stack.callback(self.cuda.synchronize, self.compute)
