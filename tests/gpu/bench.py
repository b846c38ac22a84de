"""Device memory of one provider for tests: arrays that others would own, and the crop kernel beside Pillow."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.cuda import Cuda
from reid_runtime.backends.cuda.arrays import device_array
from reid_runtime.backends.cuda.crops import compile_crops, launch_crops
from reid_runtime.backends.tensorrt.runner import DeviceBuffer, PinnedBuffer
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import Pixels, resize


class Bench:
    """A stream and buffers of one provider, in the current context, given back by `close`."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda, self._stack = cuda, ExitStack()
        self.stream = cuda.create_stream()
        self.close = self._stack.close
        self._stack.callback(cuda.destroy_stream, self.stream)
        self._stack.callback(self.wait)

    def wait(self) -> None:
        """Until the stream has done all that was queued."""
        self.cuda.synchronize(self.stream)

    def _reserve(self, buffer: Any, size: int) -> Any:
        self._stack.callback(buffer.release)
        self._stack.callback(self.wait)
        return buffer.reserve(size)

    def on_device(self, size: int) -> int:
        """The address of new device memory."""
        return int(self._reserve(DeviceBuffer(self.cuda), size))

    def pinned(self, size: int) -> npt.NDArray[np.uint8]:
        """New page-locked memory."""
        memory: npt.NDArray[np.uint8] = self._reserve(PinnedBuffer(self.cuda), size)
        return memory

    def done(self, queue: Callable[..., None], *arguments: Any) -> None:
        """Queue something on the stream and wait for it."""
        queue(*arguments, self.stream)
        self.wait()

    def put(self, values: npt.NDArray[Any]) -> int:
        """The values on the device."""
        staged, address = self.pinned(values.nbytes), self.on_device(values.nbytes)
        staged[:] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.cuda.upload(address, staged, self.stream)
        return address

    def crops(
        self,
        frame: Any,
        channel_order: ChannelOrder,
        corners: npt.NDArray[np.int32],
        shape: tuple[int, int],
        wanted: InputFormat,
    ) -> tuple[Callable[[], None], Callable[[], npt.NDArray[Any]]]:
        """Two calls: one resizes the crops of a frame on the GPU and waits for it, the other brings them here."""
        image = (3, *shape) if wanted.layout == "NCHW" else (*shape, 3)
        dtype = np.dtype(wanted.dtype)
        size = len(corners) * math.prod(image) * dtype.itemsize
        boxes, output, fetched = self.put(corners), self.on_device(size), self.pinned(size)
        kernel = compile_crops(self.cuda)

        def run() -> None:
            array = device_array(frame, self.cuda, self.stream)
            launch_crops(self.cuda, kernel, self.stream, array, channel_order, corners, boxes, shape, wanted, output)
            self.wait()

        def fetch() -> npt.NDArray[Any]:
            self.done(self.cuda.download, fetched, output)
            return fetched.view(dtype).reshape(len(corners), *image).copy()

        return run, fetch


class OwnArray:
    """Memory of a Bench as other libraries expose theirs; `stream` is the one that fills it."""

    def __init__(self, address: int, values: npt.NDArray[Any], stream: int) -> None:
        self.shape = values.shape
        self.__cuda_array_interface__ = {
            "shape": values.shape, "typestr": values.dtype.str, "data": (address, False), "strides": None,
            "version": 3, "stream": stream,
        }  # fmt: skip


@contextmanager
def benches(cuda: Cuda) -> Iterator[Bench]:
    """A Bench in the GPU's context."""
    with cuda.current(), closing(Bench(cuda)) as bench:
        yield bench


def by_pillow(frame: Pixels, corners: Sequence[Sequence[int]], shape: tuple[int, int]) -> Pixels:
    """The crops as the runtime resizes them on the CPU."""
    return np.stack([resize(np.ascontiguousarray(frame[y1:y2, x1:x2]), shape) for x1, y1, x2, y2 in corners])


def boxes_in(frame: tuple[int, int], size: tuple[int, int], count: int) -> npt.NDArray[np.int32]:
    """(N, 4) x1, y1, x2, y2 of boxes of one (height, width), anywhere in the frame."""
    random = np.random.default_rng(count)
    top = random.integers(0, frame[0] - size[0], count)
    left = random.integers(0, frame[1] - size[1], count)
    return np.stack([left, top, left + size[1], top + size[0]], axis=1).astype(np.int32)
