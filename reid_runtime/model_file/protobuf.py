"""Protobuf's wire format, as far as ONNX files use it: https://protobuf.dev/programming-guides/encoding."""

import io
from collections import defaultdict
from dataclasses import dataclass
from typing import BinaryIO

VARINT, BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types, and the bytes that those of fixed length take."""

Message = defaultdict[int, list[int | bytes]]
"""The values under each field number, numbers or bytes; none for a field that is absent."""


@dataclass(frozen=True)
class Field:
    """Where a field lies, and of which kind it is."""

    number: int
    wire: int
    start: int
    """Where its tag lies."""
    content: int
    """Where its content begins; it ends at `end`."""
    end: int


def next_field(file: BinaryIO, end: int) -> Field:
    """The field that begins here, all of it before `end`; the file stands at its content. ValueError for damage."""
    start = file.tell()
    tag = _varint(file, end)
    number, wire = tag >> 3, tag & 7
    if number == 0 or number >= 1 << 29:
        raise ValueError(f"byte {start} begins a field of number {number}, which protobuf does not have")
    content = file.tell()
    if wire == VARINT:
        _varint(file, end)
        length = file.tell() - content
    elif wire == BYTES:
        length = _varint(file, end)
        content = file.tell()
    elif wire in _FIXED:
        length = _FIXED[wire]
    else:
        raise ValueError(f"byte {start} begins a field of wire type {wire}, which ONNX does not use")
    if content + length > end:
        raise ValueError(
            f"truncated: field {number} at byte {start} takes {length:,} bytes, {end - content:,} are left"
        )
    file.seek(content)
    return Field(number, wire, start, content, content + length)


def read_message(content: bytes) -> Message:
    """All fields of a message; ValueError for what is none."""
    file, fields = io.BytesIO(content), Message(list)
    while file.tell() < len(content):
        field = next_field(file, len(content))
        number = field.wire == VARINT
        value = _varint(file, field.end) if number else file.read(field.end - field.content)
        fields[field.number].append(value)
    return fields


def _varint(file: BinaryIO, end: int) -> int:
    """Seven bits a byte, the lowest first; the top bit says that more follow. At most 64 bits."""
    start, value = file.tell(), 0
    for index in range(10):
        byte = file.read(1)
        if not byte or file.tell() > end:
            raise ValueError(f"truncated: the number at byte {start} does not end")
        value |= (byte[0] & 0x7F) << (7 * index)
        if byte[0] < 0x80:
            if value >= 1 << 64:
                break
            return value
    raise ValueError(f"the number at byte {start} has more than 64 bits")


def write_field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message, as it lies in a file."""
    return _written_varint(number << 3 | BYTES) + _written_varint(len(content)) + content


def _written_varint(value: int) -> bytes:
    pieces = bytearray()
    while value >= 0x80:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*pieces, value])
