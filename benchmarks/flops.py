"""How many multiply-adds a graph takes for a batch, counted from the ONNX file itself."""

import math
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from reid_runtime.errors import ReidRuntimeError

_WEIGHTS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1}
"""Operators that convolve, and which of their inputs is the weights."""
_PRODUCTS = {"MatMul": (0, 1), "Gemm": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}

_MOST_VALUES = 64
"""Of a constant that may be a shape, or axes."""


class WorkError(ReidRuntimeError):
    """A graph whose work cannot be counted."""


def operations(path: Path, shapes: Iterable[tuple[int, int]]) -> dict[str, float]:
    """The fact `operations` of images of these heights and widths, two for a multiply-add.

    Nothing for a file whose work cannot be counted: then there is no such fact.
    """
    try:
        return {"operations": 2.0 * sum(count * _of_one(path, *shape) for shape, count in Counter(shapes).items())}
    except WorkError:
        return {}


@cache
def _of_one(path: Path, height: int, width: int) -> int:
    return multiply_adds(path, 1, height, width)


def multiply_adds(path: Path, batch: int, height: int, width: int) -> int:
    """Those of convolutions and matrix products, by shape inference; all else is a few per mille of them.

    Raises WorkError for a file that is no ONNX file, whose input is no batch of pictures, or whose shapes do not
    follow from the input's.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf has no types
    except ImportError as error:
        raise WorkError('onnx counts the work, and is missing: pip install "reid-runtime[export]"') from error
    if path.suffix != ".onnx":
        raise WorkError(f"{path.name}: the work of ONNX files is counted, found {path.suffix or 'no suffix'}")
    try:
        model = onnx.load(str(path))
    except (DecodeError, OSError) as error:
        raise WorkError(f"{path.name}: an ONNX file is expected, and it cannot be read: {error}") from error
    ranks = [len(value.type.tensor_type.shape.dim) for value in model.graph.input]
    if ranks[:1] != [4]:
        raise WorkError(f"{path.name}: a first input of rank 4 is expected, found inputs of the ranks {ranks}")
    sides = model.graph.input[0].type.tensor_type.shape.dim
    planes = sides[1].dim_value == 3 and sides[3].dim_value != 3
    for side, value in zip(sides, (batch, 3, height, width) if planes else (batch, height, width, 3), strict=True):
        side.dim_value = value
    # The exporter's own guesses would contradict the fixed input.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    shapes: dict[str, tuple[int, ...]] = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    _without_values(model)
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
    return sum(_of(node, shapes, path) for node in graph.node)


def _without_values(model: Any) -> None:
    """Make inputs of the large weights: inference copies the model again and again, and no shape is told by them."""
    from onnx import helper

    kept = [weight for weight in model.graph.initializer if math.prod(weight.dims) <= _MOST_VALUES]
    large = [weight for weight in model.graph.initializer if math.prod(weight.dims) > _MOST_VALUES]
    model.graph.input.extend(
        helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims) for weight in large
    )
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _of(node: Any, shapes: dict[str, tuple[int, ...]], path: Path) -> int:
    if node.op_type in _WEIGHTS:
        # Weights are (O, I / groups, ...): each output value takes one multiply-add for each of a filter's weights.
        weights = _shape(node.input[_WEIGHTS[node.op_type]], shapes, node, path)
        return math.prod(_shape(node.output[0], shapes, node, path)) * math.prod(weights[1:])
    if node.op_type in _PRODUCTS:
        left = _shape(node.input[_PRODUCTS[node.op_type][0]], shapes, node, path)
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(_shape(node.output[0], shapes, node, path)) * left[0 if turned else -1]
    return 0


def _shape(name: str, shapes: dict[str, tuple[int, ...]], node: Any, path: Path) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if not shape or 0 in shape:
        raise WorkError(f"{path.name}: the shape of {name!r}, at a {node.op_type}, does not follow from the input's")
    return shape
