"""What a GPU gives below the models: copies by each provider of device memory, and the pixel kernel against Pillow."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measurements import Found, Row
from benchmarks.timing import paired
from reid_runtime.backends.cuda import PROVIDERS, Cuda, open_cuda
from reid_runtime.backends.cuda.arrays import device_array
from reid_runtime.backends.cuda.crops import compile_crops, launch_crops
from reid_runtime.backends.tensorrt.runner import DeviceBuffer, PinnedBuffer
from reid_runtime.errors import BackendError
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import Pixels, resize

MIB = 1 << 20
COPIES = (1 * MIB, 64 * MIB)
FRAME = (1080, 1920)
PERSONS = (((400, 160), (256, 102)), ((90, 40), (256, 114)))
"""The (height, width) of boxes, and to what they are resized."""
BOXES = (1, 8, 64)
WARMUP = 3


class Bench:
    """A stream and buffers of one provider, given back by `close`."""

    def __init__(self, cuda: Cuda) -> None:
        """In the current context."""
        self.cuda, self._stack = cuda, ExitStack()
        self.stream = cuda.create_stream()
        self._stack.callback(cuda.destroy_stream, self.stream)
        self._stack.callback(cuda.synchronize, self.stream)

    def close(self) -> None:
        """Give everything back."""
        self._stack.close()

    def on_device(self, size: int) -> int:
        """The address of new device memory."""
        buffer = DeviceBuffer(self.cuda)
        self._stack.callback(buffer.release)
        self._stack.callback(self.cuda.synchronize, self.stream)
        return buffer.reserve(size)

    def pinned(self, size: int) -> npt.NDArray[np.uint8]:
        """New page-locked memory."""
        buffer = PinnedBuffer(self.cuda)
        self._stack.callback(buffer.release)
        self._stack.callback(self.cuda.synchronize, self.stream)
        return buffer.reserve(size)

    def done(self, queue: Callable[..., None], *arguments: Any) -> None:
        """Queue something on the stream and wait for it."""
        queue(*arguments, self.stream)
        self.cuda.synchronize(self.stream)

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
        height, width = shape
        image = (3, height, width) if wanted.layout == "NCHW" else (height, width, 3)
        dtype = np.dtype(wanted.dtype)
        size = len(corners) * 3 * height * width * dtype.itemsize
        boxes, output, fetched = self.put(corners), self.on_device(size), self.pinned(size)
        kernel = compile_crops(self.cuda)

        def run() -> None:
            array = device_array(frame, self.cuda, self.stream)
            launch_crops(self.cuda, kernel, self.stream, array, channel_order, corners, boxes, shape, wanted, output)
            self.cuda.synchronize(self.stream)

        def fetch() -> npt.NDArray[Any]:
            self.cuda.download(fetched, output, self.stream)
            self.cuda.synchronize(self.stream)
            return fetched.view(dtype).reshape(len(corners), *image).copy()

        return run, fetch


class OwnArray:
    """Memory of a Bench as others hand theirs out."""

    def __init__(self, address: int, values: npt.NDArray[Any], stream: int) -> None:
        """`stream` is the one that fills it."""
        self.shape = values.shape
        self.__cuda_array_interface__ = {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (address, False),
            "strides": None,
            "version": 3,
            "stream": stream,
        }


@contextmanager
def benches(cuda: Cuda) -> Iterator[Bench]:
    """A Bench in the GPU's context."""
    with cuda.current():
        bench = Bench(cuda)
        try:
            yield bench
        finally:
            bench.close()


def providers() -> tuple[list[Cuda], list[str]]:
    """What gives device memory here, and why the others do not."""
    found, missing = [], []
    for name in PROVIDERS:
        try:
            found.append(open_cuda(name))
        except BackendError as error:
            missing.append(f"device memory, {name}: {error}")
    return found, missing


def by_pillow(frame: Pixels, corners: Sequence[Sequence[int]], shape: tuple[int, int]) -> Pixels:
    """The crops as the runtime resizes them on the CPU."""
    return np.stack([resize(np.ascontiguousarray(frame[y1:y2, x1:x2]), shape) for x1, y1, x2, y2 in corners])


def boxes_in(frame: tuple[int, int], size: tuple[int, int], count: int) -> npt.NDArray[np.int32]:
    """(N, 4) x1, y1, x2, y2 of boxes of one (height, width), anywhere in the frame."""
    random = np.random.default_rng(count)
    top = random.integers(0, frame[0] - size[0], count)
    left = random.integers(0, frame[1] - size[1], count)
    return np.stack([left, top, left + size[1], top + size[0]], axis=1).astype(np.int32)


def measure_copies(cuda: Cuda, rounds: int) -> list[Row]:
    """To the device and back, from pinned memory; bytes a second are the row's rate."""
    rows = []
    for size in COPIES:
        with benches(cuda) as bench:
            values = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
            staged, back, address = bench.pinned(size), bench.pinned(size), bench.on_device(size)
            staged[:] = values

            calls = {
                "to the device": partial(bench.done, cuda.upload, address, staged),
                "from the device": partial(bench.done, cuda.download, back, address),
            }
            samples = paired(calls, rounds, WARMUP)
            facts = {"equal": float(np.array_equal(back, values))}
        rows += [
            Row(f"{case}, {cuda.name}", {"bytes": size}, tuple(seconds), size, facts, "device memory")
            for case, seconds in samples.items()
        ]
    return rows


def measure_pixels(cuda: Cuda, rounds: int) -> list[Row]:
    """Crops of a frame that is on the device, against Pillow's of the same frame on the host, one thread."""
    frame = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), dtype=np.uint8)
    rows = []
    for size, shape in PERSONS:
        for count in BOXES:
            corners = boxes_in(FRAME, size, count)
            with benches(cuda) as bench:
                given = OwnArray(bench.put(frame), frame, bench.stream)
                run, fetch = bench.crops(given, "rgb", corners, shape, InputFormat())
                calls: dict[str, Callable[[], object]] = {
                    f"pixel kernel, {cuda.name}": run,
                    "Pillow on the CPU": partial(by_pillow, frame, corners.tolist(), shape),
                }
                samples = paired(calls, rounds, WARMUP)
                run()
                apart = np.abs(fetch().astype(int) - by_pillow(frame, corners.tolist(), shape)).max()
            setting = {"height": shape[0], "width": shape[1], "batch": count, "box": f"{size[0]}x{size[1]}"}
            for case, seconds in samples.items():
                rows.append(Row(case, setting, tuple(seconds), count, {"grey_levels": float(apart)}, "pixels"))
    return rows


def measure_device(rounds: int) -> Found:
    """Every provider that works here; a failure of one is noted, and the rest goes on."""
    working, missing = providers()
    found = Found(notes=missing)
    for cuda in working:
        for part, measure in (("copies", measure_copies), ("pixels", measure_pixels)):
            try:
                found.rows += measure(cuda, rounds)
            except Exception as error:  # whatever it is, it is what the report has to say
                found.notes.append(f"{part}, {cuda.name}: {type(error).__name__}: {error}")
    return found
