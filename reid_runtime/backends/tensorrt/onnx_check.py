"""What TensorRT would take without a word and get wrong, looked for in the ONNX graph before it sees it.

Its parser checks that a quantiser's zero point is zero, and not that its integers are signed: unsigned ones with a
zero point of 0, as a file for CPUs has behind every ReLU, would lose the upper half of their range. And weights that
lie in a file of their own are looked for in the working directory, whatever lies there.

The field numbers are onnx.proto's.
"""

from reid_runtime.errors import BackendError
from reid_runtime.model_file.protobuf import Message, read_message

_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_INPUT, _OUTPUT, _NAME, _OPERATOR, _ATTRIBUTE, _ATTRIBUTE_TENSOR = 1, 2, 3, 4, 5, 5
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_PLACE = 2, 8, 14
_UINT8, _EXTERNAL = 2, 1


def check_graph(content: bytes, source: str) -> None:
    """A BackendError for an ONNX file with unsigned quantisation or external weights, or that is no ONNX file."""
    try:
        graph = read_message(_only_bytes(read_message(content)[_GRAPH])[-1])
        tensors = [read_message(tensor) for tensor in _only_bytes(graph[_INITIALIZER])]
        nodes = [read_message(node) for node in _only_bytes(graph[_NODE])]
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


def _unsigned_constant(node: Message) -> bool:
    if _text(node[_OPERATOR]) != "Constant":
        return False
    attributes = [read_message(attribute) for attribute in _only_bytes(node[_ATTRIBUTE])]
    tensors = [read_message(tensor) for attribute in attributes for tensor in _only_bytes(attribute[_ATTRIBUTE_TENSOR])]
    return any(tensor[_TENSOR_TYPE] == [_UINT8] for tensor in tensors)


def _only_bytes(values: list[int | bytes]) -> list[bytes]:
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError("a number where a message belongs")
    return [value for value in values if isinstance(value, bytes)]


def _text(values: list[int | bytes]) -> str:
    return b"".join(_only_bytes(values[-1:])).decode()
