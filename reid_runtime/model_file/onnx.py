"""An ONNX file's outer layer, read without the onnx package: its metadata, and a digest of all the rest.

An ONNX file is one protobuf message (ModelProto). Only its top-level fields are looked at here, one after another:
what is no metadata goes through a digest, piece by piece, so that a large model takes no memory. The wire format is
https://protobuf.dev/programming-guides/encoding; the field numbers are onnx.proto's.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reid_runtime.errors import ReidRuntimeError

_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types, and the bytes that those of fixed length take."""
_PIECE = 1 << 20


class DamagedFileError(ReidRuntimeError):
    """A model file is not what was written: truncated, altered, or no model file at all."""


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file carries beside its graph, and the graph's digest."""

    metadata: Mapping[str, str]
    graph: str
    """SHA-256, `sha256:…`, of every top-level field but the metadata, bytes and order as in the file."""


@dataclass(frozen=True)
class _Field:
    number: int
    wire: int
    start: int
    """Where its tag lies."""
    content: int
    """Where its content begins; it ends at `end`."""
    end: int


def read_onnx_file(path: Path) -> OnnxFile:
    """Read `path`; raises DamagedFileError where its bytes are no ONNX file, or end too early."""
    require_file(path)
    metadata: dict[str, str] = {}
    graph = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise DamagedFileError("the file is empty (0 bytes)")
            while file.tell() < size:
                field = _next_field(file, size)
                if field.number != _METADATA_PROPS:
                    _digest(file, field, graph)
                    continue
                key, value = _entry(file, field)
                if key in metadata:
                    raise DamagedFileError(f"its metadata name {key!r} twice")
                metadata[key] = value
    except DamagedFileError as error:
        raise DamagedFileError(f"{path} is damaged or no ONNX file: {error}; fetch or export it again") from error
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from error
    return OnnxFile(metadata, f"sha256:{graph.hexdigest()}")


def require_file(path: Path) -> None:
    """Raises DamagedFileError for a pipe or a device: reading it might never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DamagedFileError(f"{path} is a pipe, a device or a folder; expected a model file on a disk")


def _next_field(file: BinaryIO, end: int) -> _Field:
    """The field that begins here, all of it before `end`; the file stands at its content."""
    start = file.tell()
    tag = _varint(file, end)
    number, wire = tag >> 3, tag & 7
    if number == 0 or number >= 1 << 29:
        raise DamagedFileError(f"byte {start} begins a field of number {number}, which protobuf does not have")
    content = file.tell()
    if wire == _VARINT:
        _varint(file, end)
        length = file.tell() - content
    elif wire == _BYTES:
        length = _varint(file, end)
        content = file.tell()
    elif wire in _FIXED:
        length = _FIXED[wire]
    else:
        raise DamagedFileError(f"byte {start} begins a field of wire type {wire}, which ONNX does not use")
    if content + length > end:
        raise DamagedFileError(
            f"truncated: field {number} at byte {start} takes {length:,} bytes, {end - content:,} are left"
        )
    file.seek(content)
    return _Field(number, wire, start, content, content + length)


def _varint(file: BinaryIO, end: int) -> int:
    """Seven bits a byte, the lowest first; the top bit says that more follow. At most 64 bits."""
    start, value = file.tell(), 0
    for place in range(10):
        byte = file.read(1)
        if not byte or file.tell() > end:
            raise DamagedFileError(f"truncated: the number at byte {start} does not end")
        value |= (byte[0] & 0x7F) << (7 * place)
        if byte[0] < 0x80:
            if value >= 1 << 64:
                break
            return value
    raise DamagedFileError(f"the number at byte {start} has more than 64 bits")


def _digest(file: BinaryIO, field: _Field, digest: "hashlib._Hash") -> None:
    """Take the whole field, tag and length included, into the digest."""
    file.seek(field.start)
    left = field.end - field.start
    while left:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise DamagedFileError(f"truncated: {left:,} bytes are missing at its end")
        digest.update(piece)
        left -= len(piece)


def _entry(file: BinaryIO, field: _Field) -> tuple[str, str]:
    """The key and the value of one metadata entry (StringStringEntryProto)."""
    if field.wire != _BYTES:
        raise DamagedFileError(f"the metadata at byte {field.start} have wire type {field.wire}, expected {_BYTES}")
    content = file.read(field.end - field.content)
    inner = io.BytesIO(content)
    parts: dict[int, str] = {}
    while inner.tell() < len(content):
        part = _next_field(inner, len(content))
        if part.number not in (_KEY, _VALUE) or part.wire != _BYTES or part.number in parts:
            raise DamagedFileError(f"the metadata at byte {field.start} are not one key and one value")
        try:
            parts[part.number] = inner.read(part.end - part.content).decode()
        except UnicodeDecodeError as error:
            raise DamagedFileError(f"the metadata at byte {field.start} are not text: {error}") from error
    # protobuf leaves out what is empty
    return parts.get(_KEY, ""), parts.get(_VALUE, "")
