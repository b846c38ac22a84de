"""Decode a JPEG and be certain that it has all of its data.

libjpeg decodes what is there, fills the rest with grey and counts a warning, which Pillow does not pass on. But where
its data end without a marker, it stops and waits for more, so each stretch of entropy-coded data is fed on its own:

- The last bytes are held back. A decoder that does not wait for them has finished too early: the data are damaged.
- Then they follow, with set bits behind them in place of the marker. A complete stretch is finished with those, and
  the search for the marker skips what is left over; where data are missing, the decoder still waits for bits.

Which of the two it waits for, a single byte tells: the search for a marker consumes it at once, the entropy decoder,
which loads several bytes or none, does not.

Damage that leaves the decoder in step cannot be detected: a Huffman code finds its step again after a few symbols, and
what is left over before a marker is allowed. Of 150 JPEGs without restart markers from which 50 bytes were cut, 61
passed; each decodes to an image that is shifted or discoloured below the hole.
"""

import re
from typing import Any, NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from reid_runtime.errors import ImageError

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_END, _SCAN, _PROGRESSIVE = 0xD9, 0xDA, 0xC2
_FRAMES = {0xC0, 0xC1, _PROGRESSIVE}
_TABLES = {0xC4, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
"""Huffman and quantisation tables, number of lines, restart interval, comment, application data."""

_GAP = 4096
"""Bytes before a marker that belong to nothing; Pillow reads them one by one."""
_HEADER = 8 << 20
"""Bytes before the first scan; Pillow reads some of their kinds slowly, and a phone's metadata take a tenth."""
_STRETCHES = 100_000
"""More restart intervals than any camera writes; each costs a few calls of the decoder."""
_FILLER = 16
"""Zeros that some cameras put before the end marker, at most."""
_NO_BIT = 99
_SET_BITS = b"\xff\x00" * 8
"""As many as the entropy decoder loads ahead; no Huffman code has only set bits."""


class _Stretch(NamedTuple):
    """Entropy-coded data: a scan, or one restart interval of it."""

    start: int
    end: int
    next_restart: bytes
    """The marker that would follow if the scan had more intervals; empty inside a scan and without intervals."""


class JpegLayout(NamedTuple):
    """Where the entropy-coded data of a JPEG lie."""

    stretches: tuple[_Stretch, ...]
    is_buffered: bool
    """Whether libjpeg reads all scans before it decodes a line."""
    end: int
    """Behind the end marker."""


def jpeg_layout(content: bytes, max_scans: int) -> JpegLayout:
    """Find the entropy-coded data; ImageError where scans or restart intervals are missing, or far too many."""
    stretches: list[_Stretch] = []
    missing: dict[int, list[int]] = {}  # by component, the lowest bit of each coefficient that is there
    frame, scans, is_buffered, position = 0, 0, False, 2
    while True:
        _, position, code = _next_marker(content, position, _GAP)
        if code == _END:
            break
        if position > _HEADER and not scans:
            raise ImageError(f"more than {_HEADER:,} bytes before the image itself")
        length = int.from_bytes(content[position : position + 2], "big")
        if code in _TABLES:
            position += length
            continue
        body, position = content[position + 2 : position + length], position + length
        if code in _FRAMES and not frame:
            coefficients = 64 if code == _PROGRESSIVE else 1  # otherwise all come at once
            frame, missing = code, {component: [_NO_BIT] * coefficients for component in body[6::3]}
        elif code == _SCAN and frame:
            scans += 1
            if scans > max_scans:
                raise ImageError(f"more than {max_scans} scans: no image has so many, and each costs as much as all")
            is_buffered = is_buffered or frame == _PROGRESSIVE or body[0] < len(missing)
            _note_scan(body, missing, frame == _PROGRESSIVE)
            position = _split(content, position, stretches)
        else:
            raise ImageError(f"corrupt or truncated, or no ordinary JPEG: unexpected marker {code:02x}")
    if not stretches or any(map(any, missing.values())):
        raise ImageError("corrupt or truncated: scans are missing")
    return JpegLayout(tuple(stretches), is_buffered, position)


def _next_marker(content: bytes, position: int, gap: int | None) -> tuple[int, int, int]:
    """Where the next marker begins and ends, and its code."""
    if position + 1 < len(content) and content[position] == 0xFF and 0 < content[position + 1] < 0xFF:
        return position, position + 2, content[position + 1]  # nearly always, and in a fifth of a search's time
    marker = _MARKER.search(content, position, len(content) if gap is None else position + gap)
    if marker is None:
        lacks = "a marker" if position + (gap or len(content)) < len(content) else "the end marker"
        raise ImageError(f"corrupt or truncated: {lacks} is missing")
    return marker.start(), marker.end(), marker[1][0]


def _note_scan(header: bytes, missing: dict[int, list[int]], is_progressive: bool) -> None:
    """Which bits of which coefficients a scan brings."""
    if not is_progressive:
        for component in header[1 : 1 + 2 * header[0] : 2]:
            if missing[component] == [0]:
                raise ImageError("corrupt or truncated: scans are missing")
            missing[component] = [0]
        return
    first, last, bits = header[-3:]
    for component in header[1 : 1 + 2 * header[0] : 2]:
        before = missing[component][first : last + 1]
        if {bit % _NO_BIT for bit in set(before)} != {bits >> 4}:
            raise ImageError("corrupt or truncated: scans are missing")
        missing[component][first : last + 1] = [bits & 15] * len(before)


def _split(content: bytes, position: int, stretches: list[_Stretch]) -> int:
    """Append the restart intervals of the scan that begins at `position`; gives its end."""
    intervals = 0
    while True:
        end, behind, code = _next_marker(content, position, None)
        is_restart = 0xD0 <= code <= 0xD7
        if is_restart and code != 0xD0 + intervals % 8:
            raise ImageError("corrupt or truncated: restart intervals are missing")
        if len(stretches) == _STRETCHES:
            raise ImageError(f"more than {_STRETCHES:,} restart intervals")
        if content[end - 1] == 0xFF:  # any number of these may precede a marker
            end = position + len(content[position:end].rstrip(b"\xff"))
        following = b"" if is_restart or not intervals else bytes((0xFF, 0xD0 + intervals % 8))
        stretches.append(_Stretch(position, end, following))
        if not is_restart:
            return end
        position, intervals = behind, intervals + 1


def load_jpeg(image: JpegImageFile, content: bytes, layout: JpegLayout) -> None:
    """Decode `content`, of which `image` has read the header; ImageError where data are missing or left over."""
    image.load_prepare()
    (_, box, _, arguments), *_ = image.tile
    feed = _Feed(image, box, arguments)
    position, is_plain = 0, len(layout.stretches) == 1 and not layout.is_buffered
    for stretch in layout.stretches:
        tail = content[max(stretch.start, stretch.end - _FILLER) : stretch.end]
        held = max(stretch.start, stretch.end - len(tail) + len(tail.rstrip(b"\0")) - 2)
        feed(content[position:held])
        if is_plain and not feed.is_finished:
            feed(content[held : stretch.end] + _SET_BITS)
            break  # finished with its last pixel, or never
        if feed.is_done_with(content[held : held + 1]):
            raise ImageError("corrupt or truncated: its compressed data do not end with the image")
        feed(content[held + 1 : stretch.end] + _SET_BITS)
        complete = feed.is_done_with(b"\0")
        if complete and stretch.next_restart and not feed.is_finished:
            feed(stretch.next_restart)
            complete = feed.is_done_with(b"\0")
        if not complete:
            raise ImageError("corrupt or truncated: compressed data are missing")
        position = stretch.end
    if layout.is_buffered:
        feed(content[position : layout.end])
    if not feed.is_finished:
        raise ImageError("corrupt or truncated: compressed data are missing")
    image.tile = []


class _Feed:
    """Pillow's JPEG decoder, which takes a file piece by piece, and what it has not consumed yet."""

    def __init__(self, image: JpegImageFile, box: Any, arguments: Any) -> None:
        self._decoder = Image._getdecoder(image.mode, "jpeg", arguments, image.decoderconfig)
        self._decoder.setimage(image.im, box)
        self._rest = b""
        self.is_finished = False

    def __call__(self, piece: bytes) -> None:
        if self.is_finished:
            return
        self._rest += piece
        consumed, error = self._decoder.decode(self._rest)
        if error < 0:
            raise ImageError("corrupt or truncated: the decoder fails")
        self.is_finished, self._rest = consumed < 0, self._rest[max(consumed, 0) :]

    def is_done_with(self, byte: bytes) -> bool:
        """Whether the decoder needs no more of a stretch: it has finished, or skips a byte to find the marker."""
        consumes_at_once = not self._rest
        self(byte)
        return self.is_finished or (consumes_at_once and not self._rest)
