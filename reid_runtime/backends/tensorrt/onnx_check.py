"""What TensorRT would take without a word and get wrong, looked for in the ONNX graph before it sees it.

Its parser checks that a quantiser's zero point is zero, and not that its integers are signed: unsigned ones with a
zero point of 0, as a file for CPUs has behind every ReLU, would lose the upper half of their range. And weights that
lie in a file of their own are looked for in the working directory, whatever lies there.

The wire format is https://protobuf.dev/programming-guides/encoding; the field numbers are onnx.proto's.
"""

from collections import defaultdict
from collections.abc import Iterator

from reid_runtime.errors import BackendError

_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_INPUT, _OUTPUT, _NAME, _OPERATOR, _ATTRIBUTE, _ATTRIBUTE_TENSOR = 1, 2, 3, 4, 5, 5
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_PLACE = 2, 8, 14
_UINT8, _EXTERNAL = 2, 1
_FIXED = {1: 8, 5: 4}

_Fields = dict[int, list[int | bytes]]
"""A message: the values under each field number, numbers or bytes."""


def check_graph(content: bytes, source: str) -> None:
    """A BackendError for an ONNX file with unsigned quantisation or external weights, or that is no ONNX file."""
    try:
        graph = _message(_only_bytes(_message(content)[_GRAPH])[-1])
        tensors = [_message(tensor) for tensor in _only_bytes(graph[_INITIALIZER])]
        nodes = [_message(node) for node in _only_bytes(graph[_NODE])]
        unsigned = {_text(tensor[_TENSOR_NAME]) for tensor in tensors if tensor[_TENSOR_TYPE] == [_UINT8]}
        unsigned |= {_text(node[_OUTPUT]) for node in nodes if _unsigned_constant(node)}
    except (IndexError, ValueError) as error:
        raise BackendError(f"{source} is damaged or no ONNX file: its graph cannot be read") from error
    if any(tensor[_TENSOR_PLACE] == [_EXTERNAL] for tensor in tensors):
        raise BackendError(f"{source} keeps weights in another file: export it as one (external_data=False)")
    for node in nodes:
        operator = _text(node[_OPERATOR])
        if operator not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        inputs = [_text([name]) for name in node[_INPUT]]
        zero = inputs[2] if len(inputs) > 2 else ""
        # Without a zero point, ONNX quantises to unsigned.
        if zero in unsigned or (not zero and operator == "QuantizeLinear"):
            raise BackendError(
                f"{source}: node {_text(node[_NAME])!r} ({operator}) has unsigned integers, which TensorRT would take "
                "for signed ones: this INT8 file is of the kind for CPUs, export the kind for TensorRT"
            )


def _unsigned_constant(node: _Fields) -> bool:
    if _text(node[_OPERATOR]) != "Constant":
        return False
    attributes = [_message(attribute) for attribute in _only_bytes(node[_ATTRIBUTE])]
    tensors = [_message(tensor) for attribute in attributes for tensor in _only_bytes(attribute[_ATTRIBUTE_TENSOR])]
    return any(tensor[_TENSOR_TYPE] == [_UINT8] for tensor in tensors)


def _message(content: bytes) -> _Fields:
    fields: _Fields = defaultdict(list)
    for number, value in _fields(content):
        fields[number].append(value)
    return fields


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    offset = 0
    while offset < len(content):
        tag, offset = _varint(content, offset)
        wire = tag & 7
        if wire == 0:
            value, offset = _varint(content, offset)
            yield tag >> 3, value
            continue
        length, offset = _varint(content, offset) if wire == 2 else (_FIXED.get(wire, -1), offset)
        if length < 0 or offset + length > len(content):
            raise ValueError("no protobuf message")
        yield tag >> 3, content[offset : offset + length]
        offset += length


def _varint(content: bytes, offset: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, and where the next field begins."""
    value = shift = 0
    while content[offset] & 0x80:
        value |= (content[offset] & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
    return value | content[offset] << shift, offset + 1


def _only_bytes(values: list[int | bytes]) -> list[bytes]:
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError("a number where a message belongs")
    return [value for value in values if isinstance(value, bytes)]


def _text(values: list[int | bytes]) -> str:
    return b"".join(_only_bytes(values[-1:])).decode()
