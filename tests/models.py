"""Small ONNX models, built here: colour statistics through one random layer, so that different crops differ."""

import dataclasses

import numpy as np
import pytest

from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.contract import METADATA_KEY, Contract, TrainedOn
from reid_runtime.model_file.file import weights_digest
from reid_runtime.model_file.precision import Precision

DIMENSION = 8

CONTRACT = Contract(
    name="tiny",
    resize=LongestSide(16),
    input=InputFormat(),
    unit_output=True,
    dimension=DIMENSION,
    metric="cosine",
    weights="sha256:00",
    graph="mean and maximum of the colours, one layer, L2",
    precision=Precision("float32"),
    trained_on=(TrainedOn(data="nothing", terms="free", identities=0, crops=0),),
)

FOREIGN = dataclasses.replace(
    CONTRACT,
    name="foreign",
    input=InputFormat(
        layout="NCHW",
        dtype="float32",
        colour="bgr",
        scale=1 / 255,
        mean=(0.406, 0.456, 0.485),
        deviation=(0.225, 0.224, 0.229),
    ),
    unit_output=False,
)
"""The contract of a model of others: planes of float BGR in, vectors of any length out."""


def stated_for(path, contract=CONTRACT):
    """The contract, as stated for the weights in this file."""
    return dataclasses.replace(contract, weights=weights_digest(path))


def write_model(path, contract=CONTRACT, *, like=CONTRACT, output="unit", inputs=1):
    """An ONNX file in the input format of `like`, that carries `contract` (None: no contract).

    output: "unit", "raw" (any length), "nan", "zero", or "flat" (one number for the whole batch).
    """
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    planes, floats = like.input.layout == "NCHW", like.input.dtype == "float32"
    rng = np.random.default_rng(5)
    constants = {
        "axes": np.array([2, 3] if planes else [1, 2], np.int64),
        "one": np.array([1], np.int64),
        "weights": rng.normal(size=(6, DIMENSION)).astype(np.float32),
        "bias": rng.normal(size=DIMENSION).astype(np.float32),
        "nothing": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["mean"], keepdims=0),
        helper.make_node("ReduceMax", ["values", "axes"], ["maximum"], keepdims=0),
        helper.make_node("Concat", ["mean", "maximum"], ["statistics"], axis=1),
        helper.make_node("Gemm", ["statistics", "weights", "bias"], ["raw"]),
        helper.make_node("ReduceL2", ["raw", "one"], ["norm"]),
        helper.make_node("Div", ["raw", "norm"], ["unit"]),
        helper.make_node("Mul", ["raw", "nothing"], ["zero"]),
        helper.make_node("Div", ["zero", "nothing"], ["nan"]),
        helper.make_node("ReduceMean", ["unit"], ["flat"], keepdims=0),
        helper.make_node("Identity", [output], ["embeddings"]),
    ]
    kind = onnx.TensorProto.FLOAT if floats else onnx.TensorProto.UINT8
    shape = ["batch", 3, "height", "width"] if planes else ["batch", "height", "width", 3]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name in ("images", "more")[:inputs]],
        [helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if contract is not None:
        helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    onnx.save(model, str(path))
    return path
