"""What every tracker is given, `(frame, boxes) -> (N, D)`, and how much the crop of a box is worth."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reid_runtime.images.boxes import Frame, is_on_gpu, pixel_corners
from reid_runtime.images.quality import DEFAULT_POLICY
from reid_runtime.vectors import Vectors

Corners = npt.NDArray[np.float64]
"""(N, 4) x1, y1, x2, y2 in pixels."""
Numbers = npt.NDArray[np.float64]
"""(N,)"""


class Appearance(Protocol):
    """An appearance model: `EmbedBoxes` is one, and `EmbedOnBudget`."""

    def __call__(self, frame: Frame, boxes: Any) -> Vectors:
        """(N, D) float32 of unit length, row i for box i of (N, 4) x1, y1, x2, y2; a zero row for one without."""


def corners_of(boxes: Any) -> Corners:
    """(N, 4) of an array, of a list, or of detections that have one as `.xyxy`."""
    array = np.asarray(getattr(boxes, "xyxy", boxes), dtype=np.float64)
    return array.reshape(-1, 4) if array.size == 0 else array


def qualities_of(frame: Frame, boxes: Any) -> Numbers:
    """How much each box's crop is worth, from 0 to 1.

    The quality of its pixels (`QualityPolicy.judge`) by the share of the box that lies in the frame, by the square of
    the share that no nearer person covers: of two boxes that overlap, the one that ends lower in the image is nearer,
    as for a camera that looks down on level ground. A frame on the GPU stays there, and its pixels count as good.

    Args:
        frame: (H, W, 3) uint8, in any order of channels.
        boxes: (N, 4) of x1, y1, x2, y2 in pixels, or detections with `.xyxy`.

    Returns:
        (N,) float64; 0 for a box without pixels.
    """
    corners = corners_of(boxes)
    height, width = frame.shape[:2]
    inside = pixel_corners(corners, height, width)
    sides = (inside[:, 2:] - inside[:, :2]).clip(min=0)
    areas = (corners[:, 2:] - corners[:, :2]).clip(min=1e-9).prod(axis=1)
    shares = (sides.prod(axis=1) / areas).clip(0, 1)
    shared = overlap_areas(corners, corners) * (corners[None, :, 3] > corners[:, None, 3])
    covered = (shared.sum(axis=1) / areas).clip(0, 1)
    pixels = np.ones(len(corners))
    for row, (left, top, right, bottom) in enumerate(inside.tolist()):
        if right <= left or bottom <= top:
            pixels[row] = 0
        elif not is_on_gpu(frame):
            pixels[row] = DEFAULT_POLICY.judge(frame[top:bottom, left:right])[0]
    qualities: Numbers = pixels * shares * (1 - covered) ** 2
    return qualities


def overlap_areas(one: Corners, other: Corners) -> npt.NDArray[np.float64]:
    """(N, M) the area that two boxes share."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    areas: npt.NDArray[np.float64] = (high - low).clip(min=0).prod(axis=2)
    return areas


def overlaps_of(one: Corners, other: Corners) -> npt.NDArray[np.float64]:
    """(N, M) intersection over union."""
    shared = overlap_areas(one, other)
    sizes = [(each[:, 2:] - each[:, :2]).clip(min=0).prod(axis=1) for each in (one, other)]
    shares: npt.NDArray[np.float64] = shared / (sizes[0][:, None] + sizes[1][None, :] - shared).clip(min=1e-9)
    return shares
