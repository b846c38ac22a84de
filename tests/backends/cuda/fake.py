"""A GPU in host memory that runs everything as late as it may, and breaks a test that breaks a rule.

Streams are queues: what is on them happens when somebody waits for it, never before, and streams that nobody orders
stay unordered. Each rule cites where CUDA states it; for handles that are not there it is the driver API's
CUDA_ERROR_INVALID_HANDLE. Calls are counted, and one of them can be made to fail.
"""

import ctypes
import itertools
import threading
import zlib
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from reid_runtime.errors import BackendError

from .host import library


class RuleBrokenError(AssertionError):
    """The caller did what CUDA's or TensorRT's documentation forbids; on a GPU it might even have worked."""


class Faults:
    """Counts calls of both fakes, and picks the one that fails."""

    def __init__(self):
        self.calls, self.failing = [], None

    def arm(self, number):
        """The call with this number, from 0 now, fails; None for none."""
        self.calls, self.failing = [], number

    def hit(self, name):
        self.calls.append(name)
        return self.failing is not None and len(self.calls) - 1 == self.failing


@dataclass(eq=False)
class Mark:
    """A place in a stream."""

    stream: int
    done: bool = False


@dataclass(eq=False)
class Work:
    run: object = lambda: None
    ranges: tuple = ()
    mark: Mark | None = None
    after: Mark | None = None


@dataclass(eq=False)
class Graph:
    works: list


class FakeCuda:
    """`Cuda` over numpy."""

    name = "fake GPU"
    captures_graphs = True

    def __init__(self):
        self.faults = Faults()
        self.violations = []
        """Broken rules that were met where nothing can be raised: while an object is destroyed."""
        self._lock = threading.RLock()
        self._handles = itertools.count(1000)
        self._local = threading.local()
        self.memory, self.pinned, self.streams, self.events, self.graphs = {}, {}, {}, {}, {}
        self._capturing, self._captured = {}, {}

    # Rules

    def _call(self, name):
        """CUDA driver API, 'Context Management' and 'Initialization': a call without a current context fails."""
        if not getattr(self._local, "depth", 0):
            raise RuleBrokenError(f"{name} without a current context")
        if self.faults.hit(name):
            raise BackendError(f"CUDA's {name} failed: injected")

    def _inside(self, address, size):
        """CUDA driver API, cuMemcpy*: both ends lie inside allocations."""
        for base, memory in self.memory.items():
            if base <= address and address + size <= base + memory.nbytes:
                return memory[address - base : address - base + size]
        raise RuleBrokenError(f"{size} bytes at {address:#x} are not allocated")

    def _not_in_flight(self, address, size, what):
        """CUDA driver API, cuMemFree and cuMemFreeHost: memory that queued work uses must not be freed."""
        for stream, works in self.streams.items():
            for work in works:
                for start, length in work.ranges:
                    if start < address + size and address < start + length:
                        raise RuleBrokenError(f"{what} is freed while stream {stream} still uses it")

    def _not_capturing(self, name):
        """CUDA programming guide, 'CUDA Graphs', prohibited operations: no waiting and no allocation in a capture."""
        if threading.get_ident() in self._capturing.values():
            raise RuleBrokenError(f"{name} during a capture")

    # What the fake TensorRT and the tests use

    def queue(self, stream, work):
        if stream not in self.streams:
            raise RuleBrokenError(f"stream {stream} does not exist")
        if stream in self._capturing:
            self._captured[stream].append(work)
        else:
            self.streams[stream].append(work)

    def array(self, address, size):
        return self._inside(address, size)

    def is_capturing(self, stream):
        return stream in self._capturing

    def pending(self, mark):
        return not mark.done

    def mark(self, stream, ranges=()):
        mark = Mark(stream)
        self.queue(stream, Work(ranges=ranges, mark=mark))
        return mark

    def drain(self, stream, until=None):
        with self._lock:
            works = self.streams[stream]
            while works and not (until is not None and until.done):
                work = works[0]
                if work.after is not None and not work.after.done:
                    self.drain(work.after.stream, work.after)
                work.run()
                works.popleft()
                if work.mark is not None:
                    work.mark.done = True

    def leaks(self):
        kept = {name: len(getattr(self, name)) for name in ("memory", "pinned", "streams", "events", "graphs")}
        return {name: count for name, count in kept.items() if count}

    # The Protocol

    @contextmanager
    def current(self):
        if self.faults.hit("cuCtxPushCurrent"):
            raise BackendError("CUDA's cuCtxPushCurrent failed: injected")
        self._local.depth = getattr(self._local, "depth", 0) + 1
        try:
            yield
        finally:  # of one that nobody ended, another thread may collect what is left
            self._local.depth = getattr(self._local, "depth", 1) - 1

    def allocate(self, size):
        self._call("cuMemAlloc")
        self._not_capturing("cuMemAlloc")
        if size < 1:
            raise BackendError("CUDA's cuMemAlloc failed: invalid argument")
        block = np.full(size + 256, 0xA5, np.uint8)
        start = -block.ctypes.data % 256
        memory = block[start : start + size]
        with self._lock:
            self.memory[memory.ctypes.data] = memory
        return memory.ctypes.data

    def free(self, address):
        with self._lock:
            if address not in self.memory:
                raise RuleBrokenError(f"{address:#x} is freed, but was not allocated or was freed before")
            self._not_in_flight(address, self.memory[address].nbytes, "device memory")
            del self.memory[address]
        self._call("cuMemFree")  # a failure here is an older one's, says its page: the memory is gone

    def allocate_pinned(self, size):
        self._call("cuMemHostAlloc")
        self._not_capturing("cuMemHostAlloc")
        memory = np.full(size, 0x5A, np.uint8)
        self.pinned[memory.ctypes.data] = memory
        return memory

    def free_pinned(self, memory):
        if memory.ctypes.data not in self.pinned:
            raise RuleBrokenError("pinned memory is freed that was not allocated, or was freed before")
        self._not_in_flight(memory.ctypes.data, memory.nbytes, "pinned memory")
        del self.pinned[memory.ctypes.data]
        self._call("cuMemFreeHost")

    def _is_pinned(self, memory):
        """CUDA runtime API, 'API synchronization behavior': a copy of pageable memory does not run beside the host."""
        start, stop = memory.ctypes.data, memory.ctypes.data + memory.nbytes
        if not any(base <= start and stop <= base + kept.nbytes for base, kept in self.pinned.items()):
            raise RuleBrokenError("a copy from or to memory that is not pinned")

    def upload(self, target, source, stream):
        self._call("cuMemcpyHtoDAsync")
        self._is_pinned(source)
        memory, before = self._inside(target, source.nbytes), zlib.crc32(source)

        def run():
            # CUDA programming guide, 'Asynchronous Concurrent Execution': the host leaves it alone until it is done.
            if zlib.crc32(source) != before:
                raise RuleBrokenError("pinned memory was changed before its upload was done")
            memory[:] = source

        self.queue(stream, Work(run, ((target, source.nbytes), (source.ctypes.data, source.nbytes))))

    def download(self, target, source, stream):
        self._call("cuMemcpyDtoHAsync")
        self._is_pinned(target)
        memory = self._inside(source, target.nbytes)
        ranges = ((source, target.nbytes), (target.ctypes.data, target.nbytes))
        self.queue(stream, Work(lambda: target.__setitem__(slice(None), memory), ranges))

    def copy(self, target, source, size, stream):
        self._call("cuMemcpyDtoDAsync")
        to, memory = self._inside(target, size), self._inside(source, size)
        self.queue(stream, Work(lambda: to.__setitem__(slice(None), memory), ((target, size), (source, size))))

    def create_stream(self):
        self._call("cuStreamCreate")
        handle = next(self._handles)
        self.streams[handle] = deque()
        return handle

    def destroy_stream(self, stream):
        if self.streams.pop(stream, None) is None:
            raise RuleBrokenError(f"stream {stream} does not exist")
        self._call("cuStreamDestroy")

    def synchronize(self, stream):
        self._call("cuStreamSynchronize")
        self._not_capturing("cuStreamSynchronize")
        self.drain(stream)

    def follow(self, stream, leader):
        self._call("cuStreamWaitEvent")
        self.queue(stream, Work(after=self.mark(leader)))

    def create_event(self):
        self._call("cuEventCreate")
        handle = next(self._handles)
        self.events[handle] = None
        return handle

    def destroy_event(self, event):
        if event not in self.events:
            raise RuleBrokenError(f"event {event} does not exist")
        del self.events[event]
        self._call("cuEventDestroy")

    def record(self, event, stream):
        self._call("cuEventRecord")
        self.events[event] = self.mark(stream)

    def wait(self, stream, event):
        self._call("cuStreamWaitEvent")
        if self.events[event] is not None:
            self.queue(stream, Work(after=self.events[event]))

    def synchronize_event(self, event):
        self._call("cuEventSynchronize")
        self._not_capturing("cuEventSynchronize")
        mark = self.events[event]
        if mark is not None:
            self.drain(mark.stream, mark)

    def begin_capture(self, stream):
        self._call("cuStreamBeginCapture")
        self._capturing[stream] = threading.get_ident()
        self._captured[stream] = []

    def end_capture(self, stream):
        works = self._close_capture(stream)
        self._call("cuStreamEndCapture")
        handle = next(self._handles)
        self.graphs[handle] = Graph(works)
        return handle

    def abort_capture(self, stream):
        self._close_capture(stream)

    def _close_capture(self, stream):
        if self._capturing.pop(stream, None) is None:
            raise RuleBrokenError(f"stream {stream} is not capturing")
        return self._captured.pop(stream)

    def launch_graph(self, graph, stream):
        self._call("cuGraphLaunch")
        for work in self.graphs[graph].works:
            self.queue(stream, work)

    def destroy_graph(self, graph):
        removed = self.graphs.pop(graph, None)
        if removed is None:
            raise RuleBrokenError(f"graph {graph} does not exist")
        # CUDA driver API, cuGraphExecDestroy: not while it runs.
        if any(work in works for work in removed.works for works in self.streams.values()):
            raise RuleBrokenError("a graph is destroyed while it runs")
        self._call("cuGraphExecDestroy")

    def compile(self, source, function):
        self._call("cuModuleLoadData")
        library()
        return next(self._handles)

    def launch(self, kernel, grid, block, shared, stream, arguments):
        self._call("cuLaunchKernel")
        if grid[2] > 65535 or block[0] * block[1] * block[2] > 1024 or shared > 48 * 1024:
            raise RuleBrokenError("a launch over the limits of CUDA's programming guide, 'Compute Capabilities'")
        values = [np.asarray(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        three = ctypes.c_uint * 3
        given = (three(*grid), three(*block), ctypes.c_size_t(shared), addresses, values)
        used = tuple(
            (int(value), 1) for value in arguments if isinstance(value, np.uintp) and int(value) in self.memory
        )
        self.queue(stream, Work(lambda: library().crops_on_host(*given[:4]), used))
