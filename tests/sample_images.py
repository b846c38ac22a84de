"""Images for the tests: flat blocks of colour, which even JPEG nearly keeps, encoded in every format."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

BLOCK = 16
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")


def sample_image(height=64, width=32, seed=0):
    """(height, width, 3) uint8 RGB: blocks of random colours."""
    rng = np.random.default_rng((seed, height, width))
    blocks = rng.integers(0, 256, (-(-height // BLOCK), -(-width // BLOCK), 3), dtype=np.uint8)
    return blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:height, :width].copy()


def encode(image, file_format, **options):
    """A file's bytes, of an array or a Pillow image."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png(raw, width, height, depth, colour_type, extra=b""):
    """A PNG of unfiltered rows, in the kinds that Pillow does not write."""
    stride = len(raw) // height
    rows = b"".join(b"\0" + raw[row * stride : (row + 1) * stride] for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def run_lengths(width, height):
    """A small BMP of so many black pixels, in run lengths."""
    rows = b"\0\1"  # the end: pixels that are not named are black
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows


def claiming(file_format, width, height):
    """A small file whose header claims another size."""
    content = bytearray(encode(sample_image(16, 16), file_format))
    if file_format == "PNG":
        content[8:33] = _chunk(b"IHDR", struct.pack(">II", width, height) + bytes(content[24:29]))
    elif file_format == "BMP":
        content[18:26] = struct.pack("<ii", width, height)
    elif file_format == "JPEG":
        start = content.index(b"\xff\xc0")
        content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    elif file_format == "TIFF":
        for tag, length in ((256, width), (257, height)):
            start = content.index(struct.pack("<HH", tag, 4))
            content[start + 8 : start + 12] = struct.pack("<I", length)
    else:
        start = content.index(b"\x9d\x01\x2a")
        content[start + 3 : start + 7] = struct.pack("<HH", width, height)
    return bytes(content)


def exif(orientation):
    """EXIF with one of the eight orientations."""
    values = Image.Exif()
    values[0x0112] = orientation
    return values


UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}
"""What the EXIF standard says of the eight orientations, on arrays."""


def paint(root, height=64, width=32):
    """Pixels, each file its own, for the empty images of a miniature; gives `root`."""
    for seed, path in enumerate(sorted(root.rglob("*.jpg"))):
        if not path.name.startswith("."):
            path.write_bytes(encode(sample_image(height, width, seed), "JPEG"))
    return root
