"""What the rest of the runtime knows of CUDA: addresses, streams and events as integers, as TensorRT takes them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
"""Host memory, one-dimensional."""

Counts = tuple[int, int, int]
"""Of blocks or threads, along x, y and z."""
Arguments = Sequence[np.generic]
"""Of a kernel: numpy scalars of the types that it declares, uintp for pointers."""

MAX_SHARED = 48 * 1024
"""Bytes of shared memory that a block of threads may use on every GPU without asking for more."""


class Cuda(Protocol):
    """The primary context of one GPU: the one that torch, CuPy and TensorRT use too.

    All calls but `current` need the context to be current in the calling thread; any failure is a BackendError with
    CUDA's own reason. Addresses and handles come from this object and go back to it; nothing is freed by itself.
    """

    name: str
    """Provider and GPU, for people."""
    captures_graphs: bool
    """Whether CUDA graphs can be captured; where not, the five methods of graphs raise BackendError."""

    def current(self) -> AbstractContextManager[None]:
        """Within it, this thread works in the GPU's primary context; what it worked in before comes back after."""

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device, aligned to 256."""

    def free(self, address: int) -> None:
        """Give back what `allocate` gave; nothing that is queued may use it."""

    def allocate_pinned(self, size: int) -> Bytes:
        """`size` bytes of page-locked host memory, which copies need to run while the host works."""

    def free_pinned(self, memory: Bytes) -> None:
        """Give back what `allocate_pinned` gave; the array must not be touched after."""

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        """Queue a copy from pinned host memory, which must stay as it is until the copy is done."""

    def download(self, target: Bytes, source: int, stream: int) -> None:
        """Queue a copy into pinned host memory."""

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy on the device."""

    def create_stream(self) -> int:
        """A stream that does not wait for the default one."""

    def destroy_stream(self, stream: int) -> None:
        """Give back a stream."""

    def synchronize(self, stream: int) -> None:
        """Wait on the host for everything queued on the stream."""

    def follow(self, stream: int, leader: int) -> None:
        """What is queued on `stream` from here on waits for what is on `leader`, any stream of this process."""

    def create_event(self) -> int:
        """A mark that streams and the host can wait for."""

    def destroy_event(self, event: int) -> None:
        """Give back an event."""

    def record(self, event: int, stream: int) -> None:
        """Set the mark behind what is queued on the stream so far."""

    def wait(self, stream: int, event: int) -> None:
        """What is queued on `stream` from here on waits for the mark."""

    def synchronize_event(self, event: int) -> None:
        """Wait on the host for the mark; returns at once where it was never set."""

    def begin_capture(self, stream: int) -> None:
        """What this thread queues on the stream goes into a graph from here on, and is not run."""

    def end_capture(self, stream: int) -> int:
        """The graph that was captured, ready to launch."""

    def abort_capture(self, stream: int) -> None:
        """Drop a capture that failed, so that the stream may be used again."""

    def launch_graph(self, graph: int, stream: int) -> None:
        """Queue a graph."""

    def destroy_graph(self, graph: int) -> None:
        """Give back a graph that is not running."""

    def compile(self, source: str, function: str) -> int:
        """A kernel from CUDA C++; products are not fused with sums, so that it rounds as the CPU does."""

    def launch(self, kernel: int, grid: Counts, block: Counts, shared: int, stream: int, arguments: Arguments) -> None:
        """Queue a kernel with `shared` bytes of shared memory in each block."""
