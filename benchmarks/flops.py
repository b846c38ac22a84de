"""How many multiply-adds a graph takes for a batch, counted from an ONNX file."""

import math
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.install import install_line

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1}
"""Operators that convolve, and which of their inputs is the weights."""
_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
"""numpy's, by ONNX Runtime's names."""


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
    """Those of convolutions and matrix products; all else is a few per mille of them.

    The graph is run once, on one black image, as it is written: of a graph whose shapes are computed in it, as a
    pooling of any size has them, no inference tells them.

    Raises FlopsError for a file that is no ONNX file, whose input is no batch of images, or that does not run.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise FlopsError(f"onnx counts multiply-adds, and is missing: {install_line('export')}") from error
    if path.suffix != ".onnx":
        raise FlopsError(f"{path.name}: expected an ONNX file to count, found {path.suffix or 'no suffix'}")
    try:
        model = onnx.load(str(path))
    except (DecodeError, OSError) as error:
        raise FlopsError(f"{path.name}: expected an ONNX file, and it cannot be read: {error}") from error
    ranks = [len(value.type.tensor_type.shape.dim) for value in model.graph.input]
    if ranks[:1] != [4]:
        raise FlopsError(f"{path.name}: expected a first input of rank 4, found inputs of the ranks {ranks}")
    shapes: dict[str, tuple[int, ...]] = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    counted = [node for node in model.graph.node if node.op_type in {*_CONVOLUTIONS, *_PRODUCTS}]
    named = {name for node in counted for name in (*node.input, *node.output)} - shapes.keys() - {""}
    try:
        shapes |= _shapes_when_run(model, named, height, width)
    except Exception as error:  # ONNX Runtime's own, of many kinds
        reason = " ".join(str(error).split())
        raise FlopsError(f"{path.name}: does not run on an image of {width}x{height}: {reason}") from error
    return batch * sum(_of_node(node, shapes) for node in counted)


def _shapes_when_run(model: Any, named: set[str], height: int, width: int) -> dict[str, tuple[int, ...]]:
    """The shapes of these tensors for one image, by their names."""
    from onnx import ValueInfoProto

    declared = {output.name for output in model.graph.output}
    model.graph.output.extend(ValueInfoProto(name=name) for name in sorted(named - declared))
    onnxruntime = import_onnxruntime("cpu")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    planes = port.shape[1] == 3 and port.shape[3] != 3
    image = np.zeros((1, 3, height, width) if planes else (1, height, width, 3), _DTYPES[port.type])
    names = sorted(named)
    return {name: value.shape for name, value in zip(names, session.run(names, {port.name: image}), strict=True)}


def _of_node(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    outputs = math.prod(shapes[node.output[0]])
    if node.op_type in _CONVOLUTIONS:
        # Weights are (O, I / groups, ...): each output value takes one multiply-add for each of a filter's weights.
        return outputs * math.prod(shapes[node.input[_CONVOLUTIONS[node.op_type]]][1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return outputs * shapes[node.input[0]][0 if transposed else -1]
