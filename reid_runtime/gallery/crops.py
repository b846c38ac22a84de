"""The small JPEG of a crop that a gallery keeps, so that another model can embed it later, and what its file held."""

import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from reid_runtime.images.resize import Pixels

LONGEST_SIDE = 384
"""Pixels of the longest side of a kept crop; the models here see 256."""
_QUALITY = 95


@dataclass(frozen=True)
class CropImage:
    """What is kept of one image beside its vector."""

    content: str
    """SHA-256 of the image's file, `sha256:...`: equal for equal content under two names."""
    jpeg: bytes | None = None
    """The small JPEG; None where no crops are kept."""


def content_digest(content: bytes) -> str:
    """The digest by which equal content is known."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def checksum(content: bytes) -> bytes:
    """What tells a damaged vector or crop from a whole one: SQLite has no checksums of its own."""
    return hashlib.blake2b(content, digest_size=8).digest()


def small_jpeg(pixels: Pixels) -> bytes:
    """The (H, W, 3) RGB pixels as a JPEG of at most `LONGEST_SIDE`, written anew: no metadata of the file's remain."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()
