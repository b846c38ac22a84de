"""Decode an image from whatever it comes as to (height, width, 3) uint8 RGB, or refuse it.

The rules, for every caller:

- JPEG, PNG, BMP, WebP and TIFF are read, by what the bytes say and not by the name; anything else is refused.
- A camera's EXIF orientation is applied; damaged EXIF says nothing about the pixels and is ignored.
- Palette, greyscale, bilevel and CMYK images become RGB. 16-bit channels keep their upper 8 bits, but greyscale that
  uses less than a quarter of their range, as infrared cameras give it, is scaled to it; a reason code says which.
- Transparent pixels are laid over mid-grey, which is near the mean that networks subtract.
- Of an animation, a TIFF of several pages, or a phone's JPEG with more images behind the first, the first is taken.
- More than 64 million pixels, and whatever else costs far more than a person's image, is refused before it is
  decoded: `ImageLimits`. Large images are decoded one at a time.
- A truncated, corrupt or empty file is an error and never a partly grey image. PNG's checksums are checked, and that
  a JPEG has all of its data; the others have nothing to check, so damage within them cannot be detected. A TIFF of
  JPEG or fax data, in which what is lost goes unseen, is refused.
"""

import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Literal

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
from reid_runtime.images.bit_depth import UPPER_8_BITS, check_levels, grey_to_8_bits, has_16_bits
from reid_runtime.images.jpeg import jpeg_layout, load_jpeg
from reid_runtime.images.limits import DEFAULT_LIMITS, ImageLimits, check_chunks, check_ratio
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

_LARGE_FILE, _LARGE_IMAGE = 16 << 20, 8_000_000
"""Bytes and pixels from which on only one thread at a time decodes: each costs up to half a gigabyte."""
_NAME = 4096
"""Letters of a path in an error; a longer one is no path."""
_LARGE_LOCK = threading.RLock()
_TIFF_COMPRESSIONS = {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "zstd", "lzma"}
"""Those that fail where data are missing; of JPEG's and the fax's, libtiff makes an image of what there is."""
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


@dataclass(frozen=True)
class DecodedImage:
    """An image as a model may see it."""

    pixels: Pixels
    """(H, W, 3) uint8 RGB, upright."""
    reasons: tuple[str, ...] = ()
    """Codes of what was done to an image of more than 8 bits."""
    image: Image.Image | None = None
    """The same pixels, where Pillow has them."""


def load_image(
    source: ImageSource, channel_order: ChannelOrder | None = None, limits: ImageLimits = DEFAULT_LIMITS
) -> Pixels:
    """Decode an image.

    Args:
        source: A path, the bytes of a file, a Pillow image, or an (H, W, 3) uint8 array.
        channel_order: "rgb" or "bgr", of an array, where it is never guessed; other sources state their own.
        limits: What is refused for its size or cost.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: For an image that cannot be used, with the reason.
    """
    return decode_image(source, channel_order, limits).pixels


def decode_image(source: ImageSource, channel_order: ChannelOrder | None, limits: ImageLimits) -> DecodedImage:
    """As `load_image`, with the codes of what was done to the image."""
    if isinstance(source, np.ndarray):
        decoded = DecodedImage(np.ascontiguousarray(rgb_view(source, channel_order)))
    elif isinstance(source, Image.Image):
        with _damage_as_image_error(limits):
            decoded = _to_rgb(source, limits)
    elif isinstance(source, bytes | bytearray | memoryview):
        decoded = _decode(bytes(source), limits)
    elif isinstance(source, RemoteImage):
        if source.content is None:
            raise ImageError(f"cannot be read: {source.error}")
        decoded = _decode(source.content, limits)
    else:
        decoded = _decode_file(source, limits)
    limits.check_side(*decoded.pixels.shape[:2])
    return decoded


def _decode_file(source: str | os.PathLike[str], limits: ImageLimits) -> DecodedImage:
    try:
        path = os.fspath(source)
    except TypeError:
        hint = "; pass what it reads, file.read()" if hasattr(source, "read") else ""
        hint = "; pass its array, numpy.asarray(image)" if hasattr(source, "__array__") else hint
        raise ImageError(
            f"expected a path, bytes, a Pillow image or a uint8 array, found {type(source).__name__}{hint}"
        ) from None
    if isinstance(path, str) and re.match("[a-z][a-z0-9+]+://", path):
        raise ImageError("cannot be read: it is a URL; `reid-runtime embed` and embed_folder read those of stores")
    try:
        # A pipe is recognised before it is opened: opening would wait for a writer that may never come.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a file: a folder, a pipe or a device")
        limits.check_bytes(status.st_size)
        with _alone_if(status.st_size > _LARGE_FILE):
            return _decode(_content(path, status.st_size, limits), limits)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        tried = isinstance(error, FileNotFoundError) and not os.path.isabs(path)
        where = f" in {os.getcwd()}" if tried else ""
        raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}{where}") from error


def _content(path: str | bytes, size: int, limits: ImageLimits) -> bytes:
    """The bytes of a file that had so many: three calls of the system, of which a file object makes seven."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        content = os.read(descriptor, size + 1)
        if len(content) == size:
            return content
        with os.fdopen(os.dup(descriptor), "rb") as file:  # it has changed meanwhile, or is read in pieces
            file.seek(0)
            return file.read(limits.max_bytes + 1)
    finally:
        os.close(descriptor)


def _alone_if(is_large: bool) -> AbstractContextManager[object]:
    return _LARGE_LOCK if is_large else nullcontext()


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
        raise ImageError(
            f"expected an array (height, width, 3) of uint8, found {array.shape} of {array.dtype}{_array_hint(array)}"
        )
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


def source_path(source: ImageSource) -> str | os.PathLike[str] | None:
    """What a source is called where it is a file's content, of a disk or of a store."""
    if isinstance(source, RemoteImage):
        return source.name
    return source if isinstance(source, str | os.PathLike) else None


def source_name(index: int, source: str | os.PathLike[str] | None) -> str:
    """How an error names an image of a stream."""
    name = "" if source is None else os.fspath(source)
    return f"image {index} ({name if len(name) <= _NAME else name[:_NAME] + '...'})" if name else f"image {index}"


def _array_hint(array: npt.NDArray[Any]) -> str:
    """What makes an array an image, where that can be told."""
    if array.dtype.kind == "O" and not array.ndim:
        return ": nothing was read, as cv2 says by None behind a video's last frame, or for a file that it cannot open"
    if array.dtype.kind == "f" and array.ndim == 3:
        return ": pass array.astype('uint8'), times 255 before where the values are from 0 to 1"
    if array.ndim == 2:
        return ": pass numpy.dstack([array] * 3)"
    if array.ndim == 3 and array.shape[2] == 4:
        return ": pass array[:, :, :3]"
    return ": pass array.transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] == 3 else ""


@contextmanager
def _damage_as_image_error(limits: ImageLimits) -> Iterator[None]:
    """Pillow reports damage as whatever its decoders stumble over, so all of that is this one image's error."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {limits.max_pixels:,} pixels: {error}") from error
    except MemoryError as error:
        raise ImageError("there is not enough memory to decode it; nothing is known to be wrong with it") from error
    except Exception as error:
        raise ImageError(f"corrupt or truncated: {error}") from error


def _decode(content: bytes, limits: ImageLimits) -> DecodedImage:
    with _damage_as_image_error(limits):
        if not content:
            raise ImageError("the file is empty (0 bytes)")
        limits.check_bytes(len(content))
        reader = _reader(content[:16])
        if reader is None:
            raise ImageError(f"not a JPEG, PNG, BMP, WebP or TIFF image{_foreign(content[:16])}")
        layout = jpeg_layout(content, limits.max_scans) if reader is JpegImageFile else None
        if reader is PngImageFile:
            check_chunks(content)
            with reader(io.BytesIO(content)) as image:
                image.verify()  # the checksums, which decoding does not look at; what was verified cannot be decoded
        with reader(io.BytesIO(content)) as image:
            limits.check_pixels(image, is_buffered=layout is not None and layout.is_buffered)
            check_ratio(image, content)
            if isinstance(image, TiffImageFile) and image.info.get("compression") not in _TIFF_COMPRESSIONS:
                raise ImageError(
                    f"a TIFF compressed by {image.info.get('compression')}, whose lost data go unseen: save it as PNG"
                )
            with _alone_if(image.width * image.height > _LARGE_IMAGE):
                if layout is not None and isinstance(image, JpegImageFile):
                    load_jpeg(image, content, layout)
                return _to_rgb(image, limits)


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


def _foreign(start: bytes) -> str:
    """What a file is that was taken for an image."""
    if start.startswith(b"GIF8") or start[4:12] in (b"ftypheic", b"ftypmif1", b"ftypavif", b"ftypheix"):
        return ", but GIF, HEIC or AVIF: convert it to PNG"
    if start[4:8] in (b"ftyp", b"moov") or start.startswith((b"\x1aE\xdf\xa3", b"RIFF", b"\0\0\1\xba", b"FLV")):
        return ", but a video: pass its frames and boxes to Embedder.embed_boxes"
    return ""


def _to_rgb(image: Image.Image, limits: ImageLimits) -> DecodedImage:
    width, height = image.size
    if width == 0 or height == 0:
        raise ImageError(f"expected at least one pixel, found {width}x{height}")
    limits.check_pixels(image)
    reasons: tuple[str, ...] = (UPPER_8_BITS,) if has_16_bits(image) else ()
    only_upper_bits = reasons and not image.mode.startswith("I;16")
    image.load()
    transposition = _UPRIGHT.get(_orientation(image))
    if transposition is not None:
        image = image.transpose(transposition)
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255.
        grey, reason = grey_to_8_bits(np.asarray(image, dtype=np.uint16))
        image, reasons = Image.fromarray(grey), (reason,)
    elif image.mode in ("I", "F"):
        raise ImageError(f"32-bit greyscale (mode {image.mode}) has no defined range; convert it to 8 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, _BACKDROP)
        image.paste(layer, mask=layer.getchannel("A"))
    # Converting what is RGB already would copy it: of an image at the limit, 256 MB.
    image = image if image.mode == "RGB" else image.convert("RGB")
    pixels = np.asarray(image)
    if only_upper_bits:
        check_levels(pixels)
    return DecodedImage(pixels, reasons, image)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as above: the parser stumbles over damage in many ways
        return 1
