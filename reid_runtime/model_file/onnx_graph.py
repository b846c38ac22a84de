"""An ONNX file's nodes, read without the onnx package, and more of its tensors made outputs.

The field numbers are onnx.proto's.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reid_runtime.model_file.protobuf import BYTES, next_field, read_message, write_field

_GRAPH, _NODE, _OUTPUT, _NAME = 7, 1, 12, 1


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: dict[str, int]
    """Its attributes that are one integer."""


def read_nodes(content: bytes) -> tuple[Node, ...]:
    """The nodes of a file's graph, in its order; ValueError for what is no ONNX file. Weights are skipped."""
    file, nodes = io.BytesIO(content), []
    for graph, end in _messages(file, len(content), _GRAPH):
        file.seek(graph)
        for start, stop in _messages(file, end, _NODE):
            nodes.append(_node(content[start:stop]))
    return tuple(nodes)


def with_outputs(content: bytes, names: Iterable[str]) -> bytes:
    """The file with these tensors as outputs behind its own.

    Nothing in the file is moved: a second part of a message, behind the first, is one with it (protobuf's "last one
    wins" adds up what is repeated), so the outputs are a piece of graph at the end.
    """
    outputs = (write_field(_OUTPUT, write_field(_NAME, name.encode())) for name in names)
    return content + write_field(_GRAPH, b"".join(outputs))


def _messages(file: io.BytesIO, end: int, number: int) -> Iterator[tuple[int, int]]:
    """Where the messages under a field number begin and end, from where the file stands."""
    while file.tell() < end:
        field = next_field(file, end)
        if field.number == number and field.wire == BYTES:
            yield field.content, field.end
        file.seek(field.end)


def _node(content: bytes) -> Node:
    fields = read_message(content)

    def texts(number: int) -> tuple[str, ...]:
        return tuple(value.decode() for value in fields[number] if isinstance(value, bytes))

    integers = {}
    for attribute in fields[5]:
        if isinstance(attribute, bytes):
            parts = read_message(attribute)
            name, values = parts[1], parts[3]
            if name and isinstance(name[0], bytes) and values and isinstance(values[0], int):
                integers[name[0].decode()] = values[0]
    return Node("".join(texts(4)), texts(1), texts(2), integers)
