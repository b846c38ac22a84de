"""Maps of contributions drawn over an image, and the scale of their colours.

The colours are cividis' (Nuñez, Anderton and Renslow, 2018): dark blue, grey, yellow, with a lightness that only rises.
People who see colours otherwise, and printers without any, keep what is for (light) and against (dark) apart. Nothing
is grey and transparent: there the image shows.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.images.resize import Pixels

_CIVIDIS = np.array(
    [
        (0, 34, 78), (26, 56, 111), (67, 78, 108), (97, 101, 111), (125, 124, 120), (155, 148, 118), (188, 174, 108),
        (222, 201, 88), (254, 232, 56),
    ],
    np.float64,
)  # fmt: skip
"""From -1 to 1."""
_DARKEST, _LIGHTEST = 70, 200
"""Between which greys the image is drawn, so that both ends of the colours stand out from it."""
_OPAQUE = 0.9
_EXPONENT = 0.7
"""Of the share of the scale's end in how opaque a colour is: below 1, so that what is weak shows too."""


def upsampled(contributions: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """A map (h, w) at an image's height and width, bilinear between the centres of its places, repeated at the edges.

    Each place keeps its value: it is a map of values a place, and no longer adds up.
    """
    image = Image.fromarray(np.asarray(contributions, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)


def overlaid(pixels: Pixels, contributions: npt.NDArray[np.float64], scale: float) -> Image.Image:
    """An image (H, W, 3) in grey under a map (h, w), whose colours end at `scale` and at its negative."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float64) / 255
    grey = _DARKEST + (_LIGHTEST - _DARKEST) * grey
    return _blended(grey, upsampled(contributions, *pixels.shape[:2]), scale)


def colour_bar(width: int, height: int) -> Image.Image:
    """The colours from against (left) to for (right), over the grey in the middle of an image's."""
    values = np.broadcast_to(np.linspace(-1, 1, width), (height, width))
    return _blended(np.full((height, width), (_DARKEST + _LIGHTEST) / 2), values, 1.0)


def _blended(grey: npt.NDArray[np.float64], values: npt.NDArray[np.float64], scale: float) -> Image.Image:
    shares = np.clip(values / scale, -1, 1) if scale > 0 else np.zeros_like(values)
    knots = np.linspace(-1, 1, len(_CIVIDIS))
    colours = np.stack([np.interp(shares, knots, channel) for channel in _CIVIDIS.T], axis=2)
    opaque = (_OPAQUE * np.abs(shares) ** _EXPONENT)[..., None]
    blended = opaque * colours + (1 - opaque) * grey[..., None]
    return Image.fromarray(np.round(blended).astype(np.uint8))
