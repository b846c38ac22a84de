"""Crops of a frame that is on the GPU already: cut, resized and made a model's input by one kernel, `crops.cu`."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.cuda.arrays import DeviceArray
from reid_runtime.backends.cuda.base import MAX_SHARED, Cuda
from reid_runtime.errors import ImageError
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.images.model_input import InputFormat

SOURCE = Path(__file__).with_name("crops.cu")
FUNCTION = "crops"


def compile_crops(cuda: Cuda) -> int:
    """The kernel, for the GPU of `cuda`."""
    return cuda.compile(SOURCE.read_text(encoding="utf-8"), FUNCTION)


def check_frame(frame: DeviceArray) -> None:
    """ImageError where a frame on the GPU is not (height, width, 3) of uint8."""
    if frame.dtype != np.uint8 or len(frame.shape) != 3 or frame.shape[2] != 3:
        raise ImageError(f"expected a frame (height, width, 3) of uint8, found {frame.shape} of {frame.dtype}")


def launch_crops(
    cuda: Cuda,
    kernel: int,
    stream: int,
    frame: DeviceArray,
    channel_order: ChannelOrder,
    corners: npt.NDArray[np.int32],
    boxes: int,
    shape: tuple[int, int],
    form: InputFormat,
    output: int,
) -> None:
    """Queue the kernel: the crops of `frame` at `corners`, all resized to `shape`, in that form into `output`.

    corners: (N, 4) x1, y1, x2, y2 inside the frame, at least one pixel each; `boxes` is where they lie on the device.
    Raises ImageError for a crop that shrinks so much that its weights do not fit into a block's shared memory.
    """
    height, width = shape
    taps_x = _taps(int((corners[:, 2] - corners[:, 0]).max()), width)
    taps_y = _taps(int((corners[:, 3] - corners[:, 1]).max()), height)
    block_x, block_y = 32, 8
    while (shared := 4 * (block_x * (2 + taps_x) + block_y * (2 + taps_y))) > MAX_SHARED:
        if block_x == block_y == 1:
            raise ImageError(f"a crop shrinks too much for the GPU: to {height}x{width}, from {taps_y}x{taps_x} times")
        block_x, block_y = max(1, block_x // 2), max(1, block_y // 2)
    row, column, channel = frame.strides
    first = frame.address
    if channel_order != form.colour:  # the channels are read backwards
        first, channel = first + 2 * channel, -channel
    arguments: list[np.generic] = [
        *(np.uintp(first), np.int64(row), np.int64(column), np.int64(channel), np.uintp(boxes)),
        *(np.int32(height), np.int32(width), np.int32(taps_x), np.int32(taps_y), np.uintp(output)),
        *(np.int32(form.layout == "NCHW"), np.int32(form.dtype == "float32")),
        *(np.float32(value) for value in (form.scale, *form.mean, *form.deviation)),
    ]
    grid = (math.ceil(width / block_x), math.ceil(height / block_y), len(corners))
    cuda.launch(kernel, grid, (block_x, block_y, 1), shared, stream, arguments)


def _taps(side: int, to: int) -> int:
    """How many input samples an output sample may be made of, as Pillow counts them."""
    return 2 * math.ceil(max(1.0, side / to)) + 1
