"""Boxes in frames: which pixels a box holds, and several frames at once.

Pixel column c lies between x = c and x = c + 1, and rows likewise. Each edge of a box goes to the nearest line between
two pixels, a half to the higher one (10.5 to 11), and is then clipped to the frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.batching import same_shape_batches
from reid_runtime.errors import ImageError
from reid_runtime.images.decode import ChannelOrder, rgb_view
from reid_runtime.images.quality import DEFAULT_POLICY
from reid_runtime.images.resize import Pixels, ResizeRule

_DLPACK_CUDA = 2

Mask = npt.NDArray[np.bool_]
"""(N,) which boxes have pixels."""
Frame = Pixels | Any
"""(H, W, 3) uint8, on the host or, through DLPack or the CUDA array interface, on the GPU."""


@dataclass(frozen=True)
class FrameBoxes:
    """A frame, seen as RGB, and its boxes."""

    image: Pixels
    corners: npt.NDArray[np.int64]
    """(N, 4) x1, y1, x2, y2 in pixels, inside the frame."""
    valid: Mask
    """(N,) whether a box has pixels."""

    @classmethod
    def of(cls, frame: Pixels, boxes: npt.ArrayLike, channel_order: ChannelOrder) -> "FrameBoxes":
        """Raises ImageError for a frame or boxes of another shape or kind."""
        image = rgb_view(frame, channel_order)
        corners = pixel_corners(boxes, image.shape[0], image.shape[1])
        left, top, right, bottom = corners.T
        return cls(image, corners, (right > left) & (bottom > top))

    def size(self, box: int) -> tuple[int, int]:
        """Height and width of a box."""
        left, top, right, bottom = self.corners[box].tolist()
        return bottom - top, right - left

    def crop(self, box: int) -> Pixels:
        """The pixels in a valid box, (H, W, 3), a view into the frame."""
        left, top, right, bottom = self.corners[box].tolist()
        return self.image[top:bottom, left:right]

    def reasons(self) -> list[tuple[str, ...]]:
        """For each box the codes of what makes it hardly worth a vector; none for one without pixels."""
        return [DEFAULT_POLICY.reasons(self.crop(box)) if self.valid[box] else () for box in range(len(self.valid))]


@dataclass(frozen=True)
class FrameOnGpu:
    """A frame in the memory of a GPU, and its boxes; `FrameBoxes` is one in the host's."""

    frame: Any
    channel_order: ChannelOrder
    corners: npt.NDArray[np.int64]
    """(N, 4) x1, y1, x2, y2 in pixels, inside the frame."""
    valid: npt.NDArray[np.bool_]
    """(N,) whether a box has pixels."""

    def groups(self, rule: ResizeRule, max_pixels: int) -> Iterator[tuple[npt.NDArray[np.int64], tuple[int, int]]]:
        """The rows of the valid boxes in batches of one shape (height, width) after the resize."""
        rows = np.flatnonzero(self.valid)
        left, top, right, bottom = self.corners[rows].T.tolist()
        shapes = [rule.shape(*sides) for sides in zip(np.subtract(bottom, top), np.subtract(right, left), strict=True)]
        for batch in same_shape_batches(shapes, max_pixels):
            yield rows[batch], shapes[batch[0]]


def is_on_gpu(value: Any) -> bool:
    """Whether the value is an array on a CUDA GPU; arrays on the host are not, whatever protocol they speak."""
    if hasattr(value, "__dlpack_device__"):
        return bool(value.__dlpack_device__()[0] == _DLPACK_CUDA)
    return hasattr(value, "__cuda_array_interface__")


def read_frame(frame: Any, boxes: npt.ArrayLike, channel_order: ChannelOrder) -> FrameBoxes | FrameOnGpu:
    """A frame on the host or on the GPU with its boxes; ImageError for one of another shape or kind."""
    if isinstance(frame, Image.Image):  # it knows its own order, which `channel_order` might contradict
        raise ImageError(
            "expected an array (height, width, 3) of uint8, found a Pillow image: pass "
            "numpy.asarray(image.convert('RGB')) with channel_order='rgb'"
        )
    if isinstance(frame, str | bytes):
        raise ImageError(f"expected a frame as an array (height, width, 3) of uint8, found {type(frame).__name__}")
    if isinstance(frame, Sequence) or getattr(frame, "ndim", 3) == 4:
        raise ImageError(
            f"expected one frame as an array (height, width, 3) of uint8, found {len(frame)} frames: pass them and "
            "their boxes to embed_frames"
        )
    if not is_on_gpu(frame):
        return FrameBoxes.of(np.asarray(frame), boxes, channel_order)
    on_host = FrameBoxes.of(np.broadcast_to(np.uint8(0), tuple(frame.shape)), boxes, channel_order)  # no pixels
    return FrameOnGpu(frame, channel_order, on_host.corners, on_host.valid)


def read_frames(frames: Any, boxes: Any, channel_order: ChannelOrder) -> list[FrameBoxes | FrameOnGpu]:
    """Each frame with its own boxes; ImageError that names the frame, or says that there are not as many of each."""
    if isinstance(frames, str | bytes):  # a sequence too, of letters
        raise ImageError(f"expected a frame as an array (height, width, 3) of uint8, found {type(frames).__name__}")
    if getattr(frames, "ndim", 4) == 3:
        raise ImageError("expected a list of frames, found one: pass [frame] and [boxes], or call embed_boxes")
    if not hasattr(boxes, "__len__") or len(frames) != len(boxes):
        found = len(boxes) if hasattr(boxes, "__len__") else type(boxes).__name__
        raise ImageError(f"expected an array of boxes for each of {len(frames)} frames, found {found}")
    framed: list[FrameBoxes | FrameOnGpu] = []
    for index, (frame, within) in enumerate(zip(frames, boxes, strict=True)):
        try:
            framed.append(read_frame(frame, within, channel_order))
        except ImageError as error:
            raise ImageError(f"frame {index}: {error}") from error
    return framed


def pixel_corners(boxes: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.int64]:
    """(N, 4) int64 x1, y1, x2, y2 inside the frame; a box with a NaN or infinity becomes empty."""
    inside: npt.NDArray[np.int64] = np.clip(round_boxes(boxes), 0, [width, height, width, height]).astype(np.int64)
    return inside


def round_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(N, 4) boxes with each edge on the nearest line between two pixels, not clipped to a frame.

    A box with a NaN or infinity becomes empty. Raises ImageError for what is not (N, 4) numbers.
    """
    if hasattr(boxes, "detach"):  # torch's, which may belong to a graph of gradients
        boxes = boxes.detach()
    try:
        array = np.asarray(boxes)
    except Exception as error:  # rows of several lengths, an array that stays on its device, and what others raise
        raise ImageError(f"expected boxes as (N, 4) numbers: x1, y1, x2, y2 in pixels; {error}") from error
    if array.size and array.dtype.kind not in "iuf":  # numpy would read numbers from text, dates and None
        raise ImageError(f"expected boxes as (N, 4) numbers: x1, y1, x2, y2 in pixels; found values of {array.dtype}")
    values = array.astype(np.float64)
    if values.shape == (0,):
        values = values.reshape(0, 4)  # an empty list
    if values.ndim != 2 or values.shape[1] != 4:
        hint = "; pass boxes[:, :4]" if values.ndim == 2 and values.shape[1] > 4 else ""
        hint = "; pass boxes[None] for a single one" if values.shape == (4,) else hint
        raise ImageError(f"expected boxes of shape (N, 4): x1, y1, x2, y2 in pixels; found {values.shape}{hint}")
    values = np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 0.0)
    below = np.floor(values)
    # Not floor(value + 0.5), whose sum is itself rounded: 0.49999999999999994 would go to 1.
    rounded: npt.NDArray[np.float64] = below + (values - below >= 0.5)
    return rounded


def crop_box(image: Pixels, box: Sequence[float]) -> Pixels:
    """The part of an image within one box, (H, W, 3), a view; without pixels where the box lies outside."""
    left, top, right, bottom = pixel_corners([box], image.shape[0], image.shape[1])[0].tolist()
    return image[top:bottom, left:right]
