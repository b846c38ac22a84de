"""Multiply-adds of graphs whose count is known, and the share of the machine's peak that they come to."""

import numpy as np
import pytest

from benchmarks.flops import WorkError, multiply_adds
from benchmarks.measurements import Row
from benchmarks.throughput import share_of_peak


def graph(path, *, quantised=False):
    """Cast, transpose, a convolution of 8 filters 3x3 with stride 2 in 1 group, and a product of 8 by 5."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    constants = {
        "filters": np.ones((8, 3, 3, 3), np.int8 if quantised else np.float32),
        "step": np.ones(1, np.float32).reshape(()),
        "axes": np.array([2, 3], np.int64),
        "matrix": np.ones((8, 5), np.float32),
    }
    weights = [helper.make_node("DequantizeLinear", ["filters", "step"], ["weights"])] if quantised else []
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2]),
        *weights,
        helper.make_node(
            "Conv", ["planes", "weights" if quantised else "filters"], ["maps"], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("ReduceMean", ["maps", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "matrix"], ["embeddings"]),
    ]
    made = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("quantised", [False, True])
def test_multiply_adds_are_those_of_convolutions_and_products(tmp_path, quantised):
    path = graph(tmp_path / "counted.onnx", quantised=quantised)
    # Each of 8 x 8 x 4 outputs takes 3 x 3 x 3, then 8 x 5.
    assert multiply_adds(path, 1, 16, 8) == 8 * 8 * 4 * 27 + 40
    assert multiply_adds(path, 6, 16, 8) == 6 * (8 * 8 * 4 * 27 + 40)
    assert multiply_adds(path, 1, 32, 8) == 2 * 8 * 8 * 4 * 27 + 40


def test_the_default_models_count_is_the_published_one(default):
    pytest.importorskip("onnx")
    # MobileNetV2 takes 300 million at 224x224 (Sandler et al., 2018, table 4), its last layer of 1000 classes in it.
    assert multiply_adds(default.path, 1, 224, 224) == pytest.approx(300e6, rel=0.01)


def test_what_cannot_be_counted_is_refused(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(WorkError, match="ONNX files"):
        multiply_adds(tmp_path / "model.xml", 1, 16, 8)
    (tmp_path / "torn.onnx").write_bytes(b"no graph")
    with pytest.raises(WorkError, match="cannot be read"):
        multiply_adds(tmp_path / "torn.onnx", 1, 16, 8)


@pytest.mark.parametrize("inputs", [[], [["n", 5]]])
def test_an_input_that_is_no_batch_of_pictures_is_refused(tmp_path, inputs):
    onnx = pytest.importorskip("onnx")
    values = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape) for shape in inputs]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "odd", values, [])), tmp_path / "odd.onnx")
    with pytest.raises(WorkError, match="rank 4"):
        multiply_adds(tmp_path / "odd.onnx", 1, 16, 8)


def limit(name, engine, items, *seconds):
    return Row(f"{name} by {engine}", {"limit": name}, seconds, items, {}, "limits")


@pytest.mark.parametrize(
    ("case", "integers", "expected"),
    [
        ("m, onnxruntime cpu", 0, ("float32", 0.5)),
        ("m, openvino cpu, bfloat16", 0, None),
        ("m", 1, ("int8", 0.125)),
        ("m, onnxruntime cuda", 0, None),
    ],
)
def test_the_share_is_of_the_peak_in_the_precision_that_is_computed_in(case, integers, expected):
    rows = [limit("float32", "one", 100, 1.0), limit("int8", "one", 400, 1.0)]
    eight = Row(case, {}, (2.0, 2.0, 2.0), 8, {"operations": 100.0, "integers": integers}, "batch of 8")
    assert share_of_peak(eight, rows) == expected
