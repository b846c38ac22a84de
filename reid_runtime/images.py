"""Anything a picture may come as, to (height, width, 3) uint8 RGB; and what happens to a bad one.

Decided here, once, for every caller:

- JPEG, PNG, BMP and WebP are read, by what the bytes say and not by the name; anything else is refused.
- A camera's EXIF orientation is applied.
- Palette, greyscale, bilevel and CMYK pictures become RGB. 16-bit greyscale keeps its upper 8 bits.
- Transparent pixels are laid over mid-grey, which is near the mean that networks subtract.
- Of an animation the first frame is taken.
- More than 64 million pixels are refused before they are decoded: no crop of a person is that large.
- A truncated, corrupt or empty file is an error and never a partly grey picture.
"""

import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from reid_runtime.contract import InputFormat
from reid_runtime.errors import ImageError
from reid_runtime.resize import Pixels

Colour = Literal["rgb", "bgr"]
ImageSource = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]
"""A path, the bytes of a file, a Pillow image, or an (H, W, 3) uint8 array, which must come with its colour order."""

FORMATS = ("JPEG", "MPO", "PNG", "BMP", "WEBP")  # MPO: a JPEG with a second picture behind it, as phones write
MAX_PIXELS = 64_000_000
_BACKDROP = (128, 128, 128)


def load_image(source: ImageSource, colour: Colour | None = None) -> Pixels:
    """The picture as (height, width, 3) uint8 RGB.

    `colour` is the channel order of an array ("rgb" or "bgr"); it is never guessed, so an array without it is an
    ImageError, as is any picture that cannot be used. Other sources know their own order.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, colour)
    if isinstance(source, Image.Image):
        return _to_rgb(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source))
    try:
        path = Path(source)
        content = path.read_bytes()
    except TypeError:
        raise ImageError(
            f"expected a path, bytes, a Pillow image or a uint8 array, found {type(source).__name__}"
        ) from None
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error
    return _decode(content)


def _from_array(array: npt.NDArray[np.uint8], colour: Colour | None) -> Pixels:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"expected an array (height, width, 3) of uint8, found {array.shape} of {array.dtype}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ImageError(f"expected at least one pixel, found an array of shape {array.shape}")
    if colour == "bgr":
        array = array[:, :, ::-1]
    elif colour != "rgb":
        found = "none was given" if colour is None else f"found {colour!r}"
        raise ImageError(f"an array's colour order is never guessed: pass colour='rgb' or colour='bgr' ({found})")
    return np.ascontiguousarray(array)


def _decode(content: bytes) -> Pixels:
    if not content:
        raise ImageError("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("not a JPEG, PNG, BMP or WebP picture") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more than {MAX_PIXELS:,} pixels: {error}") from error
    # Pillow's decoders report damage as any of these, depending on the format and on where the damage is.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise ImageError(f"corrupt or truncated: {error}") from error


def _to_rgb(image: Image.Image) -> Pixels:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height} is more than {MAX_PIXELS:,} pixels; a crop of one person is expected")
    if width == 0 or height == 0:
        raise ImageError(f"expected at least one pixel, found {width}x{height}")
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 where a picture needs its upper byte.
        image = Image.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ImageError(f"32-bit greyscale (mode {image.mode}) has no defined range; convert it to 8 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, _BACKDROP)
        image.paste(layer, mask=layer.getchannel("A"))
    return np.asarray(image.convert("RGB"))


def to_model_input(batch: Pixels, wanted: InputFormat) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """A batch (N, H, W, 3) uint8 RGB in the format that a model states; for our own graphs the batch itself."""
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32] = batch
    if wanted.colour == "bgr":
        pixels = pixels[..., ::-1]
    if wanted.dtype == "float32":
        pixels = (pixels.astype(np.float32) * np.float32(wanted.scale) - np.array(wanted.mean, np.float32)) / np.array(
            wanted.deviation, np.float32
        )
    if wanted.layout == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels)
