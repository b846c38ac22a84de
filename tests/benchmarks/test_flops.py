"""Multiply-adds of graphs whose count is known, and the share of the machine's peak that they come to."""

import numpy as np
import pytest

from benchmarks.flops import FlopsError, multiply_adds, operations


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
    # Open Model Zoo: person-reidentification-retail-0277 takes 1.993 GFLOPs, two a multiply-add, at 256x128.
    assert 2 * multiply_adds(default.path, 1, 256, 128) == pytest.approx(1.993e9, rel=0.01)


def test_uncountable_graphs_are_refused(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(FlopsError, match="an ONNX file to count"):
        multiply_adds(tmp_path / "model.xml", 1, 16, 8)
    (tmp_path / "torn.onnx").write_bytes(b"no graph")
    with pytest.raises(FlopsError, match="cannot be read"):
        multiply_adds(tmp_path / "torn.onnx", 1, 16, 8)


@pytest.mark.parametrize("inputs", [[], [["n", 5]]])
def test_an_input_that_is_no_batch_of_pictures_is_refused(tmp_path, inputs):
    onnx = pytest.importorskip("onnx")
    values = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape) for shape in inputs]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "odd", values, [])), tmp_path / "odd.onnx")
    with pytest.raises(FlopsError, match="rank 4"):
        multiply_adds(tmp_path / "odd.onnx", 1, 16, 8)


def test_operations_are_two_a_multiply_add_or_none(tmp_path):
    path = graph(tmp_path / "counted.onnx")
    assert operations(path, [(16, 8), (16, 8), (32, 8)]) == 2 * (4 * 8 * 8 * 4 * 27 + 3 * 40)
    assert operations(tmp_path / "model.xml", [(16, 8)]) is None
