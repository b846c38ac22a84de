"""Small ONNX models with features over places, each pooled in its own way, built without torch."""

import dataclasses

import numpy as np
import pytest

from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.contract import METADATA_KEY

from .models import CONTRACT

CHANNELS, DIMENSION = 6, 8
EXPLAINED = dataclasses.replace(
    CONTRACT, name="explained", resize=LongestSide(96), inner="features", last_layer=("weights", "bias", "slope")
)
POOLINGS = {
    "max": [("ReduceMax", ["features", "axes"], "pooled", {"keepdims": 0})],
    "saturated max": [
        ("Clip", ["features", "nothing", "little"], "clipped", {}),
        ("ReduceMax", ["clipped", "axes"], "pooled", {"keepdims": 0}),
    ],
    "average": [
        ("GlobalAveragePool", ["features"], "mean", {}),
        ("Flatten", ["mean"], "pooled", {}),
    ],
    "gem": [
        ("Clip", ["features", "least"], "positive", {}),
        ("Pow", ["positive", "power"], "powers", {}),
        ("ReduceMean", ["powers", "axes"], "mean", {"keepdims": 0}),
        ("Pow", ["mean", "root"], "pooled", {}),
    ],
    "weighed": [
        ("Sigmoid", ["features"], "gates", {}),
        ("Mul", ["features", "gates"], "gated", {}),
        ("Reshape", ["gated", "flat"], "products", {}),
        ("ReduceSum", ["products", "last"], "sum", {"keepdims": 0}),
        ("Add", ["sum", "offset"], "pooled", {}),
    ],
}


def write_explained(path, pooling="max", contract=EXPLAINED, more=()):
    """An ONNX file whose last layer is followed by a PReLU, the operators of `more` (names) and the norm."""
    onnx = pytest.importorskip("onnx")
    helper, random = onnx.helper, np.random.default_rng(8)
    constants = {
        "axes": np.array([2, 3]),
        "last": np.array([2]),
        "one": np.array([1]),
        "flat": np.array([0, CHANNELS, -1]),
        "half": np.float32(0.01),
        "nothing": np.float32(0),
        "little": np.float32(0.2),
        "least": np.float32(1e-6),
        "power": np.float32(2.5),
        "root": np.float32(0.4),
        "filter": random.normal(size=(CHANNELS, 3, 8, 8)).astype(np.float32),
        "offset": random.normal(size=CHANNELS).astype(np.float32),
        "weights": random.normal(size=(DIMENSION, CHANNELS)).astype(np.float32),
        "bias": random.normal(size=DIMENSION).astype(np.float32),
        "slope": np.full((1, 1), 0.3, np.float32),
    }
    operators = [
        ("Cast", ["images"], "floats", {"to": onnx.TensorProto.FLOAT}),
        ("Transpose", ["floats"], "planes", {"perm": [0, 3, 1, 2]}),
        ("Mul", ["planes", "half"], "scaled", {}),
        ("Conv", ["scaled", "filter"], "features", {"strides": [8, 8], "pads": [4, 4, 4, 4]}),
        *POOLINGS[pooling],
        ("Gemm", ["pooled", "weights", "bias"], "layer", {"transB": 1}),
        ("PRelu", ["layer", "slope"], "raw", {}),
    ]
    for number, name in enumerate(more):
        operators.append((name, [operators[-1][2]], f"more {number}", {}))
    raw = operators[-1][2]
    operators += [("ReduceL2", [raw, "one"], "norm", {}), ("Div", [raw, "norm"], "embeddings", {})]
    read = {name for _, inputs, _, _ in operators for name in inputs}
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **attributes) for kind, inputs, output, attributes in operators],
        "explained",
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["batch", DIMENSION])],
        [onnx.numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items() if name in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    onnx.save(model, str(path))
    return path
