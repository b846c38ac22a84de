"""How many multiply-adds a graph takes for a batch, counted from the ONNX file itself."""

import math
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from reid_runtime.errors import ReidRuntimeError

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1}
"""Operators that convolve, and which of their inputs is the weights."""
_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
_SHAPE_VALUES = 64
"""The most of a constant that may be a shape, or axes."""


class FlopsError(ReidRuntimeError):
    """A graph whose multiply-adds cannot be counted."""


def operations(path: Path, shapes: Iterable[tuple[int, int]]) -> float | None:
    """Of images of these heights and widths, two for a multiply-add; None for a file that cannot be counted."""
    try:
        return 2.0 * sum(count * _of_one(path, *shape) for shape, count in Counter(shapes).items())
    except FlopsError:
        return None


@cache
def _of_one(path: Path, height: int, width: int) -> int:
    return multiply_adds(path, 1, height, width)


def multiply_adds(path: Path, batch: int, height: int, width: int) -> int:
    """Those of convolutions and matrix products, by shape inference; all else is a few per mille of them.

    Raises FlopsError for a file that is no ONNX file, whose input is no batch of images, or whose shapes do not
    follow from the input's.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf has no types
    except ImportError as error:
        raise FlopsError('onnx counts multiply-adds, and is missing: pip install "reid-runtime[export]"') from error
    if path.suffix != ".onnx":
        raise FlopsError(f"{path.name}: expected an ONNX file to count, found {path.suffix or 'no suffix'}")
    try:
        model = onnx.load(str(path))
    except (DecodeError, OSError) as error:
        raise FlopsError(f"{path.name}: expected an ONNX file, and it cannot be read: {error}") from error
    ranks = [len(value.type.tensor_type.shape.dim) for value in model.graph.input]
    if ranks[:1] != [4]:
        raise FlopsError(f"{path.name}: expected a first input of rank 4, found inputs of the ranks {ranks}")
    sides = model.graph.input[0].type.tensor_type.shape.dim
    planes = sides[1].dim_value == 3 and sides[3].dim_value != 3
    for side, value in zip(sides, (batch, 3, height, width) if planes else (batch, height, width, 3), strict=True):
        side.dim_value = value
    # The exporter's own guesses would contradict the fixed input.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    shapes: dict[str, tuple[int, ...]] = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    _drop_weights(model)
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
    try:
        return sum(_of_node(node, shapes) for node in graph.node)
    except KeyError as error:
        raise FlopsError(f"{path.name}: the shape of {error} does not follow from the input's") from error


def _drop_weights(model: Any) -> None:
    """Make inputs of the large weights: inference copies the model again and again, and needs only their shapes."""
    from onnx import helper

    weights = list(model.graph.initializer)
    large = [weight for weight in weights if math.prod(weight.dims) > _SHAPE_VALUES]
    model.graph.input.extend(helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in large)
    del model.graph.initializer[:]
    model.graph.initializer.extend(weight for weight in weights if math.prod(weight.dims) <= _SHAPE_VALUES)


def _of_node(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type in _CONVOLUTIONS:
        # Weights are (O, I / groups, ...): each output value takes one multiply-add for each of a filter's weights.
        weights = _shape(node.input[_CONVOLUTIONS[node.op_type]], shapes)
        return math.prod(_shape(node.output[0], shapes)) * math.prod(weights[1:])
    if node.op_type in _PRODUCTS:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(_shape(node.output[0], shapes)) * _shape(node.input[0], shapes)[0 if transposed else -1]
    return 0


def _shape(name: str, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if not shape or 0 in shape:
        raise KeyError(name)
    return shape
