"""Images of 16 bits a channel as 8 bits, and the code of what was done to them."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.errors import ImageError
from reid_runtime.images.resize import Pixels

UPPER_8_BITS, RANGE_SCALED = "upper_8_bits", "range_scaled"

_NARROW = 1 << 14
"""Values; an image that uses less of the range of 16 bits, as thermal and infrared cameras give, is scaled."""
_OUTLIERS = 0.5
"""Per cent at either end, dead pixels of a sensor among them, that do not count as used and are clipped."""
_SAMPLES = 256
_LEVELS = 16
"""Of 256, between the darkest and the brightest; with fewer left an image has lost what was in its lower bits."""


def has_16_bits(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet has 16 bits a channel, whatever Pillow makes of them."""
    tiles = getattr(image, "tile", None)
    return image.mode.startswith("I;16") or bool(tiles and ";16" in str(tiles[0][3]))


def grey_to_8_bits(values: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.uint8], str]:
    """The upper 8 bits of (H, W) greyscale, or its used range as 0 to 255 where that is less than a quarter of all."""
    sample = values[:: max(1, values.shape[0] // _SAMPLES), :: max(1, values.shape[1] // _SAMPLES)]
    low, high = np.percentile(sample, (_OUTLIERS, 100 - _OUTLIERS))
    if low == high or high - low >= _NARROW:
        return (values >> 8).astype(np.uint8), UPPER_8_BITS
    scaled = (np.clip(values, low, high).astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return (scaled + np.float32(0.5)).astype(np.uint8), RANGE_SCALED


def check_levels(image: Pixels) -> None:
    """Raises ImageError for a colour image of 16 bits that is nearly flat in the upper 8, all that Pillow reads."""
    sample = image[:: max(1, image.shape[0] // _SAMPLES), :: max(1, image.shape[1] // _SAMPLES)]
    if int(np.ptp(sample, axis=(0, 1)).max()) < _LEVELS:
        raise ImageError(
            f"16 bits a channel of which less than {_LEVELS} of the upper 256 levels are in use: save it as 16-bit "
            "greyscale, whose range is scaled, or as 8 bits"
        )
