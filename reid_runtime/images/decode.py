"""Decode an image from whatever it comes as to (height, width, 3) uint8 RGB, or refuse it.

The rules, for every caller:

- JPEG, PNG, BMP, WebP and TIFF are read, by what the bytes say and not by the name; anything else is refused.
- A camera's EXIF orientation is applied; damaged EXIF says nothing about the pixels and is ignored.
- Palette, greyscale, bilevel and CMYK images become RGB. 16-bit channels keep their upper 8 bits.
- Transparent pixels are laid over mid-grey, which is near the mean that networks subtract.
- Of an animation, a TIFF of several pages, or a phone's JPEG with more images behind the first, the first is taken.
- More than 64 million pixels are refused before they are decoded: no crop of a person is that large.
- A truncated, corrupt or empty file is an error and never a partly grey image. PNG's checksums are checked;
  the others have none, so damage that leaves their structure intact cannot be detected.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from reid_runtime.errors import ImageError
from reid_runtime.images.resize import Pixels

ChannelOrder = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class RemoteImage:
    """A file of a remote store: its bytes, or why it could not be read."""

    name: str
    content: bytes | None
    error: str = ""


ImageSource = str | os.PathLike[str] | bytes | RemoteImage | Image.Image | npt.NDArray[np.uint8]
"""A path, the bytes of a file, a remote file, a Pillow image, or an (H, W, 3) uint8 array, whose channel order must be
stated.
"""

MAX_PIXELS = 64_000_000
_BACKDROP = (128, 128, 128)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that makes an image upright, by its EXIF orientation; the others need none."""


def load_image(source: ImageSource, channel_order: ChannelOrder | None = None) -> Pixels:
    """Decode an image.

    Args:
        source: A path, the bytes of a file, a Pillow image, or an (H, W, 3) uint8 array.
        channel_order: "rgb" or "bgr", of an array, where it is never guessed; other sources state their own.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: For an image that cannot be used, with the reason.
    """
    if isinstance(source, np.ndarray):
        return np.ascontiguousarray(rgb_view(source, channel_order))
    if isinstance(source, Image.Image):
        with _damage_as_image_error():
            return _to_rgb(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(source))
    if isinstance(source, RemoteImage):
        if source.content is None:
            raise ImageError(f"cannot be read: {source.error}")
        return _decode(io.BytesIO(source.content))
    try:
        path = os.fspath(source)
    except TypeError:
        raise ImageError(
            f"expected a path, bytes, a Pillow image or a uint8 array, found {type(source).__name__}"
        ) from None
    try:
        # A pipe is recognised before it is opened: opening would wait for a writer that may never come.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError("not a file: a folder, a pipe or a device")
        with open(path, "rb") as file:
            return _decode(file)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def detach(source: ImageSource) -> ImageSource:
    """The source in a form that later changes to it cannot reach; for the thread that takes it from the caller.

    Buffers are copied, and a lazy Pillow image is read: given twice, two threads would read its file at once.
    """
    if isinstance(source, np.ndarray):
        return source.copy()
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Image.Image):
        with suppress(Exception):  # its damage is reported when it is decoded
            source.load()
    return source


def rgb_view(array: npt.NDArray[np.uint8], channel_order: ChannelOrder | None) -> Pixels:
    """An (H, W, 3) uint8 array of the stated channel order, seen as RGB without a copy; ImageError for any other."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"expected an array (height, width, 3) of uint8, found {array.shape} of {array.dtype}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ImageError(f"expected at least one pixel, found an array of shape {array.shape}")
    if channel_order == "bgr":
        array = array[:, :, ::-1]
    elif channel_order != "rgb":
        found = "none was given" if channel_order is None else f"found {channel_order!r}"
        raise ImageError(
            f"an array's channel order is never guessed: pass channel_order='rgb' or channel_order='bgr' ({found})"
        )
    return array


@contextmanager
def _damage_as_image_error() -> Iterator[None]:
    """Pillow reports damage as whatever its decoders stumble over, so all of that is this one image's error."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {MAX_PIXELS:,} pixels: {error}") from error
    except MemoryError as error:
        raise ImageError("there is not enough memory to decode it; nothing is known to be wrong with it") from error
    except Exception as error:
        raise ImageError(f"corrupt or truncated: {error}") from error


def _decode(file: BinaryIO) -> Pixels:
    with _damage_as_image_error():
        head = file.read(16)
        if not head:
            raise ImageError("the file is empty (0 bytes)")
        reader = _reader(head)
        if reader is None:
            raise ImageError("not a JPEG, PNG, BMP, WebP or TIFF image")
        file.seek(0)
        if reader is PngImageFile:
            with reader(file) as image:
                image.verify()  # the checksums, which decoding does not look at; what was verified cannot be decoded
            file.seek(0)
        with reader(file) as image:
            if reader is JpegImageFile:
                _check_end(file)
            return _to_rgb(image)


def _reader(start: bytes) -> type[ImageFile] | None:
    """Pillow's class for a file's first bytes; None where it is no format that is read here.

    Called directly, because Image.open sets its own, process-wide limit on pixels and warns of images near it.
    """
    if start.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if start.startswith(b"BM"):
        return BmpImageFile
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return WebPImageFile
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):  # the latter two: BigTIFF
        return TiffImageFile
    return None


def _check_end(file: BinaryIO) -> None:
    """Raises ImageError for a JPEG without its end marker, behind the headers, where a thumbnail has one of its own.

    That finds a file whose tail is zeros, as an interrupted download leaves it; zeros decode as pixels.
    """
    if b"\xff\xd9" not in file.read():
        raise ImageError("corrupt or truncated: the end marker is missing")


def _to_rgb(image: Image.Image) -> Pixels:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height} is more than {MAX_PIXELS:,} pixels; a crop of one person is expected")
    if width == 0 or height == 0:
        raise ImageError(f"expected at least one pixel, found {width}x{height}")
    image.load()
    transposition = _UPRIGHT.get(_orientation(image))
    if transposition is not None:
        image = image.transpose(transposition)
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 where an image needs its upper byte.
        image = Image.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ImageError(f"32-bit greyscale (mode {image.mode}) has no defined range; convert it to 8 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, _BACKDROP)
        image.paste(layer, mask=layer.getchannel("A"))
    # Converting what is RGB already would copy it: of an image at the limit, 256 MB.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as above: the parser stumbles over damage in many ways
        return 1
