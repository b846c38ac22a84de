"""The resize rules, and the one reference implementation of the resize itself: Pillow's bilinear.

Training, export gates, benchmarks and the runtime all call `resize`; any faster implementation is held to
its pixels by a test. Pillow's filter widens when it shrinks (it averages what it drops), which OpenCV's does
not: the two give different vectors, and mixing them is the field's most common silent error.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
"""An image: (height, width, 3) uint8, RGB."""


class ResizeRule(Protocol):
    """Says to which height and width an image goes before the model sees it."""

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) after the resize of an image that has this height and width."""


@dataclass(frozen=True)
class LongestSide:
    """The paper's rule: the longest side becomes `size` pixels, the aspect ratio is kept, nothing is padded.

    The other side is int(0.5 + size * other / longest), at least 1 pixel.
    """

    size: int

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """`size` by the scaled other side, in the order (height, width)."""
        if height >= width:
            return self.size, max(1, int(0.5 + self.size * width / height))
        return max(1, int(0.5 + self.size * height / width)), self.size


@dataclass(frozen=True)
class FixedSize:
    """Every image is stretched to one height and width: for models of others that were trained so."""

    height: int
    width: int

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The one (height, width), whatever the image has."""
        return self.height, self.width


def resize(image: Pixels, shape: tuple[int, int]) -> Pixels:
    """The image, (H, W, 3) uint8, at `shape` (height, width); the same pixels when it has that shape already."""
    if image.shape[:2] == shape:
        return image
    height, width = shape
    # Rows first, then columns, said one by one: each pass rounds to whole grey levels, so their order shows, and
    # in a single call Pillow before 13 always begins with the rows, 13 with whichever costs less.
    narrowed = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(narrowed.resize((width, height), Image.Resampling.BILINEAR))
