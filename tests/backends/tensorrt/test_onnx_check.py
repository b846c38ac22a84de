"""What TensorRT would get wrong in silence is found in the ONNX graph first."""

import time

import numpy as np
import pytest

from reid_runtime import BackendError
from reid_runtime.backends.tensorrt.onnx_check import check_graph

from .graphs import KINDS, write_network

onnx = pytest.importorskip("onnx")


def changed(path, change):
    model = onnx.load(str(path))
    change(model.graph)
    return model.SerializeToString()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "int8-cpu"])
def test_what_tensorrt_takes_passes(tmp_path, kind):
    check_graph(write_network(tmp_path / "model.onnx", kind).read_bytes(), "model.onnx")


def test_unsigned_is_refused(tmp_path):
    content = write_network(tmp_path / "model.onnx", "int8-cpu").read_bytes()
    with pytest.raises(BackendError, match=r"'QuantizeLinear scaled q' .* unsigned .* kind for CPUs"):
        check_graph(content, "model.onnx")


def zero_of(graph, name):
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def test_unsigned_zero_is_refused(tmp_path):
    """The one that TensorRT's parser lets through."""

    def to_zero(graph):
        for name in ("scaled zero", "early zero"):
            zero_of(graph, name).CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.uint8), name))

    content = changed(write_network(tmp_path / "model.onnx", "int8-cpu"), to_zero)
    with pytest.raises(BackendError, match="unsigned"):
        check_graph(content, "model.onnx")


def test_constant_zero_point(tmp_path):
    def to_node(graph):
        zero = zero_of(graph, "early zero")
        graph.initializer.remove(zero)
        constant = onnx.helper.make_node("Constant", [], ["early zero"], value=zero)
        graph.node.insert(0, constant)
        zero_of(graph, "scaled zero").CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.int8), "scaled zero"))

    content = changed(write_network(tmp_path / "model.onnx", "int8-cpu"), to_node)
    with pytest.raises(BackendError, match="'QuantizeLinear early q'"):
        check_graph(content, "model.onnx")


def test_no_zero_point_is_unsigned(tmp_path):
    def drop(graph):
        next(node for node in graph.node if node.name == "QuantizeLinear scaled q").input.pop()

    with pytest.raises(BackendError, match="'QuantizeLinear scaled q'"):
        check_graph(changed(write_network(tmp_path / "model.onnx", "int8"), drop), "model.onnx")


def test_external_weights(tmp_path):
    model = onnx.load(str(write_network(tmp_path / "model.onnx")))
    onnx.save(model, str(tmp_path / "outside.onnx"), save_as_external_data=True, location="w", size_threshold=0)
    with pytest.raises(BackendError, match="weights in another file"):
        check_graph((tmp_path / "outside.onnx").read_bytes(), "outside.onnx")


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 40, b"\x3a\x7f", b"\x3a\x02\x0a\x05", b"\x38\x01"])
def test_bytes_without_a_graph_are_refused(content):
    with pytest.raises(BackendError, match="damaged or no ONNX file"):
        check_graph(content, "model.onnx")


def test_truncated(tmp_path):
    content = write_network(tmp_path / "model.onnx", contract=False).read_bytes()
    for length in range(1, len(content) - 64, 97):  # what follows the graph is short
        with pytest.raises(BackendError):
            check_graph(content[:length], "model.onnx")


@pytest.mark.parametrize("number", [b"\x80", b"\xff"])
def test_number_without_end_takes_no_time(number):
    """A varint has at most ten bytes; read to its end it would take seconds."""
    start = time.process_time()
    with pytest.raises(BackendError, match="damaged or no ONNX file"):
        check_graph(b"\x3a\x80\xea\x30" + number * 800_000, "model.onnx")
    assert time.process_time() - start < 1
