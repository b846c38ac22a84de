"""Small networks of the kinds that the exports write: uint8 pixels in, Cast first, convolutions, unit vectors out."""

import dataclasses

import numpy as np
import pytest

from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.contract import METADATA_KEY
from reid_runtime.model_file.precision import Precision

from ...models import CONTRACT, DIMENSION

LONGEST = 64
KINDS = {
    "float32": Precision("float32"),
    "float16": Precision("float16"),
    "int8": Precision("int8", "tensorrt", "s8s8"),
    "int8-cpu": Precision("int8", "cpu", "u8s8"),
}
"""The kinds, and the precision in their contracts; `int8-cpu` has unsigned activations."""


def contract_of(kind):
    return dataclasses.replace(
        CONTRACT, name="convolutions", resize=LongestSide(LONGEST), graph="two convolutions", precision=KINDS[kind]
    )


def write_network(
    path,
    kind="float32",
    *,
    contract=None,
    first="Cast",
    shape=("batch", "height", "width", 3),
    channels=16,
    padding=1,
):
    """An ONNX file. first: "Cast", as it must be, or "Transpose", or "Foreign", an operator that nobody knows."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    rng = np.random.default_rng(3)
    nodes, constants = [], {"axes": np.array([2, 3], np.int64), "one": np.array([1], np.int64)}

    def node(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], name=f"{operator} {output}", **attributes))
        return output

    def quantised(name, scale):
        if not kind.startswith("int8"):
            return name
        constants[f"{name} scale"] = np.array(scale, np.float32)
        constants[f"{name} zero"] = np.array(7, np.uint8) if kind == "int8-cpu" else np.array(0, np.int8)
        ranges = [f"{name} scale", f"{name} zero"]
        return node("DequantizeLinear", [node("QuantizeLinear", [name, *ranges], f"{name} q"), *ranges], f"{name} dq")

    def convolution(values, before, after, output):
        weights = rng.normal(size=(after, before, 3, 3)).astype(np.float32) / 8
        bias = rng.normal(size=after).astype(np.float32)
        if kind == "float16":
            weights, bias = weights.astype(np.float16), bias.astype(np.float16)
        constants[f"{output} bias"] = bias
        name = f"{output} weights"
        if kind.startswith("int8"):
            scale = np.abs(weights).max((1, 2, 3)) / 127
            constants[f"{name} q"] = np.round(weights / scale[:, None, None, None]).astype(np.int8)
            constants[f"{name} scale"], constants[f"{name} zero"] = scale, np.zeros(after, np.int8)
            node("DequantizeLinear", [f"{name} q", f"{name} scale", f"{name} zero"], name, axis=0)
        else:
            constants[name] = weights
        inputs = [quantised(values, 0.05), name, f"{output} bias"]
        return node("Relu", [node("Conv", inputs, f"{output} sums", strides=[2, 2], pads=4 * [padding])], output)

    real = kinds.FLOAT16 if kind == "float16" else kinds.FLOAT
    if first == "Transpose":
        planes = node("Cast", [node("Transpose", ["images"], "turned", perm=[0, 3, 1, 2])], "planes", to=real)
    else:
        planes = node("Transpose", [node("Cast", ["images"], "values", to=real)], "planes", perm=[0, 3, 1, 2])
    if first == "Foreign":
        planes = node("Sharpen", [planes], "sharp", domain="elsewhere")
    constants["small"] = np.array(1 / 64, np.float16 if kind == "float16" else np.float32)
    planes = node("Mul", [planes, "small"], "scaled")
    planes = convolution(convolution(planes, 3, channels // 2, "early"), channels // 2, channels, "late")
    pooled = node("ReduceMax", [planes, "axes"], "pooled", keepdims=0)
    constants["matrix"] = rng.normal(size=(channels, DIMENSION)).astype(np.float32)
    raw = node("MatMul", [node("Cast", [pooled], "wide", to=kinds.FLOAT), "matrix"], "raw")
    node("Div", [raw, node("ReduceL2", [raw, "one"], "norm")], "embeddings")
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("images", kinds.UINT8, shape)],
        [helper.make_tensor_value_info("embeddings", kinds.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("elsewhere", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    contract = contract_of(kind) if contract is None else contract
    if contract:
        helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    onnx.save(model, str(path))
    return path
