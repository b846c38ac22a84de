"""An ONNX file's outer layer, read without the onnx package: its metadata, and a digest of all the rest.

An ONNX file is one protobuf message (ModelProto). Only its top-level fields are looked at here, one after another:
what is no metadata goes through a digest, piece by piece, so that a large model takes no memory. The field numbers
are onnx.proto's.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reid_runtime.errors import DamagedFileError
from reid_runtime.model_file.protobuf import BYTES, Field, next_field, read_message

_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_PIECE = 1 << 20
_START = 64
_CHECKPOINT = "a checkpoint: python -m export.to_onnx CHECKPOINT -o MODEL.onnx"
_FOREIGN = (
    (re.compile(rb"PK\x03\x04|\x80[\x02-\x05]|.{7}\0\{", re.DOTALL), _CHECKPOINT),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS, not the file: git lfs pull"),
    (re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE), "a web page"),
    (re.compile(rb"\s*<\?xml"), "XML: an OpenVINO model is named with .xml"),
    (re.compile(rb".{4}TFL3|\x89HDF", re.DOTALL), "a TensorFlow model: convert it to ONNX"),
    (re.compile(rb"\s*\{"), "JSON: a contract goes behind --contract"),
)
"""How files begin that are taken for models, and what they are."""


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file carries beside its graph, and the graph's digest."""

    metadata: Mapping[str, str]
    graph: str
    """SHA-256, `sha256:…`, of every top-level field but the metadata, bytes and order as in the file."""


def read_onnx_file(path: Path) -> OnnxFile:
    """Read `path`; raises DamagedFileError where its bytes are no ONNX file, or end too early."""
    graph = hashlib.sha256()
    return OnnxFile(_read(path, graph), f"sha256:{graph.hexdigest()}")


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, for which the graph is skipped; raises as `read_onnx_file` does."""
    return _read(path, None)


def _read(path: Path, graph: "hashlib._Hash | None") -> dict[str, str]:
    """The metadata; everything else goes into the digest."""
    metadata: dict[str, str] = {}
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise ValueError("the file is empty (0 bytes)")
            start = file.read(_START)
            for pattern, words in _FOREIGN:
                if pattern.match(start):
                    raise ValueError(f"it is {words}")
            file.seek(0)
            while file.tell() < size:
                field = next_field(file, size)
                if field.number == _METADATA_PROPS:
                    key, value = _entry(file, field)
                    if key in metadata:
                        raise ValueError(f"its metadata name {key!r} twice")
                    metadata[key] = value
                elif graph is not None:
                    _digest(file, field, graph)
                file.seek(field.end)
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged or no ONNX file: {error}; fetch or export it again") from error
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from error
    return metadata


def _digest(file: BinaryIO, field: Field, digest: "hashlib._Hash") -> None:
    """Take the whole field, tag and length included, into the digest."""
    file.seek(field.start)
    left = field.end - field.start
    while left:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise ValueError(f"truncated: {left:,} bytes are missing at its end")
        digest.update(piece)
        left -= len(piece)


def _entry(file: BinaryIO, field: Field) -> tuple[str, str]:
    """The key and the value of one metadata entry (StringStringEntryProto)."""
    if field.wire != BYTES:
        raise ValueError(f"the metadata at byte {field.start} have wire type {field.wire}, expected {BYTES}")
    parts = read_message(file.read(field.end - field.content))
    texts = [parts.pop(number, [b""]) for number in (_KEY, _VALUE)]  # protobuf leaves out what is empty
    if parts or any(len(values) != 1 or not isinstance(values[0], bytes) for values in texts):
        raise ValueError(f"the metadata at byte {field.start} are not one key and one value")
    try:
        key, value = (bytes(values[0]).decode() for values in texts)
    except UnicodeDecodeError as error:
        raise ValueError(f"the metadata at byte {field.start} are not text: {error}") from error
    return key, value
