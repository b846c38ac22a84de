"""Whether an ONNX file keeps weights outside itself: then no digest of the file says which model it is.

Walked are all messages in which a tensor can lie, subgraphs and functions too; the tensors' own bytes are skipped, so
that a large model costs no memory. The field numbers are onnx.proto's.
"""

import mmap
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from reid_runtime.errors import BackendError, DamagedFileError
from reid_runtime.model_file.precision import Kind
from reid_runtime.model_file.protobuf import BYTES, next_field

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_SHORT = 16
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
"""Under which field number which message lies."""


_FILE_NAME = b"location"
"""The key under which an external tensor names its file: a model without these letters has none."""
_DATA_TYPE, _RAW_DATA = 2, 9
_HALF, _BYTES = 10, (2, 3)


def require_one_file(path: Path) -> None:
    """A BackendError for an ONNX file with external tensors, DamagedFileError where they cannot be looked for."""
    if not _contains(path, _FILE_NAME):
        return  # at once: to walk a model of a thousand tensors takes longer than to load it
    for number, content, _ in _tensor_fields(path):
        # A location of 0 is the file itself.
        if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and any(content)):
            raise BackendError(
                f"{path} keeps weights in another file, which could change under its name: make it one file, "
                'python -c "import onnx, sys; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])" MODEL ONE.onnx'
            )


def kind_of_weights(path: Path) -> Kind:
    """In what most of an ONNX file's weights are stored; DamagedFileError as above."""
    sizes: Counter[Kind] = Counter()
    kind: Kind = "float32"
    for number, content, size in _tensor_fields(path):
        if number == _DATA_TYPE:
            code = content[0] if content else 0
            kind = "float16" if code == _HALF else "int8" if code in _BYTES else "float32"
        elif number == _RAW_DATA:
            sizes[kind] += size
    return max(sizes, key=lambda each: sizes[each], default="float32")


def _contains(path: Path, letters: bytes) -> bool:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(letters) >= 0
    except (OSError, ValueError):  # not there, or empty: whoever reads it next says so
        return True


def _tensor_fields(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Of each tensor each field: its number, its content where that is short, and its size in bytes."""
    try:
        with open(path, "rb") as file:
            open_messages = [("model", os.fstat(file.fileno()).st_size)]
            while open_messages:
                kind, end = open_messages[-1]
                if file.tell() == end:
                    open_messages.pop()
                    continue
                field = next_field(file, end)
                inner = _MESSAGES[kind].get(field.number)
                if inner is not None and field.wire == BYTES:
                    open_messages.append((inner, field.end))
                    continue
                if kind == "tensor":
                    size = field.end - field.content
                    yield field.number, file.read(min(size, _SHORT)), size
                file.seek(field.end)
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged or no ONNX file: {error}; fetch or export it again") from error
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from error
