"""What an image may cost, and how small it may be: the limits that can be set."""

import re
from dataclasses import dataclass, fields

from PIL.Image import Image

from reid_runtime.errors import ImageError

_CHUNKS = 50_000
"""Of a PNG; Pillow looks at each in Python, twice. 8 kB in each are usual, so that 400 MB have as many."""
_DEFLATE = 1100
"""Bytes that a compressed byte can become at most, in round numbers."""
_BLOCK_BITS = 1 / 128
"""Of a pixel of a JPEG at least: each block of 64 takes a bit, and half of the pixels at least are in blocks."""
_RUN_LENGTH_PIXELS = 2_000_000
"""Of a BMP with run lengths, which Pillow decodes in Python, in about a second."""
_PLAIN_MODES = {"1", "L", "P", "RGB"}


@dataclass(frozen=True)
class ImageLimits:
    """Images beyond any of these are an ImageError, before they are decoded."""

    max_pixels: int = 64_000_000
    """Of 7 bytes each while it is decoded. Those of WebP, TIFF and of transparent, 16-bit, CMYK and progressive images
    take twice the memory and count twice.
    """
    max_bytes: int = 256 << 20
    """Of the file."""
    max_scans: int = 100
    """Of a progressive JPEG, each of which costs about as much as a whole image; 10 are usual."""
    min_side: int = 1
    """Pixels of the shorter side."""

    def check_bytes(self, size: int) -> None:
        """Raises ImageError for a file of more bytes."""
        if size > self.max_bytes:
            raise ImageError(f"{size:,} bytes are more than {self.max_bytes:,}; an image of one person is expected")

    def check_pixels(self, image: Image, *, is_buffered: bool = False) -> None:
        """Raises ImageError for the header of an image of more pixels, or of more than its kind can be decoded of."""
        width, height = image.size
        pixels = width * height
        tiles = getattr(image, "tile", None)
        if tiles and tiles[0][0] == "bmp_rle" and pixels > _RUN_LENGTH_PIXELS:
            raise ImageError(
                f"{width}x{height} in run lengths is more than {_RUN_LENGTH_PIXELS:,} pixels: save it anew"
            )
        # What is decoded already has had its cost.
        twice = is_buffered or bool(tiles and image.mode not in _PLAIN_MODES) or image.format in ("WEBP", "TIFF")
        if pixels * (1 + twice) > self.max_pixels:
            raise ImageError(
                f"{width}x{height} is more than {self.max_pixels:,} pixels"
                + (
                    ", of which those of WebP, TIFF, transparent, 16-bit, CMYK and progressive images count twice"
                    if twice
                    else ""
                )
                + "; a crop of one person is expected"
            )

    def check_side(self, height: int, width: int) -> None:
        """Raises ImageError for an image that is too small."""
        if min(height, width) < self.min_side:
            raise ImageError(f"{width}x{height} is too small: expected at least {self.min_side} pixels on each side")


DEFAULT_LIMITS = ImageLimits()


def changed_limits(before: str, now: str) -> str:
    """What differs between the `repr` of two limits: `min_side 1, now 9`; empty where nothing does.

    What a text of another version does not name has its default.
    """
    values = []
    for text in (before, now):
        defaults = {field.name: str(field.default) for field in fields(ImageLimits)}
        values.append(defaults | dict(re.findall(r"(\w+)=(\w+)", text)))
    first, second = values
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    return "; ".join(f"{name} {first.get(name)}, now {second.get(name)}" for name in names)


def check_chunks(content: bytes) -> None:
    """Raises ImageError for a PNG of too many chunks."""
    position, chunks = 8, 0
    while position < len(content):
        position, chunks = position + 12 + int.from_bytes(content[position : position + 4], "big"), chunks + 1
        if chunks > _CHUNKS:
            raise ImageError(f"more than {_CHUNKS:,} chunks: save it anew")


def check_ratio(image: Image, content: bytes) -> None:
    """Raises ImageError for a JPEG or PNG of more pixels than its bytes can hold, whose header must be wrong."""
    width, height = image.size
    bits = _BLOCK_BITS
    if image.format == "PNG":
        bits = content[24] * len(image.getbands()) / _DEFLATE
    if image.format in ("JPEG", "PNG") and width * height * bits > 8 * len(content):
        raise ImageError(f"corrupt or truncated: {len(content):,} bytes cannot hold {width}x{height} pixels")
