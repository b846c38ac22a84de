"""Time by operator: the engines' own names, and every operator of a run counted once."""

import numpy as np
import pytest

from benchmarks.operators import Spent, as_table, on_onnxruntime, on_openvino

from ..models import write_model


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "m.onnx")


IMAGES = np.zeros((2, 16, 8, 3), np.uint8)


def test_onnx_runtime_s_operators(model):
    pytest.importorskip("onnxruntime")
    spent = on_onnxruntime(model, IMAGES, 1)
    assert {"ReduceMean", "ReduceMax", "Gemm", "Div"} <= set(spent.milliseconds)
    assert all(value > 0 for value in spent.milliseconds.values())


def test_openvino_s_operators(model):
    pytest.importorskip("openvino")
    spent = on_openvino(model, IMAGES, 1, "f32")
    assert any(name.startswith("FullyConnected") for name in spent.milliseconds)


def test_the_table_sums_up():
    table = as_table(Spent("engine", {"Conv": 8.0, "Add": 1.99, "Cast": 0.01}), 2e9, 8)
    assert "engine: 10.0 ms a batch of 8, 200 x 10^9 operations a second in all" in table
    lines = [line.split() for line in table.splitlines()[2:]]
    assert [line[0] for line in lines] == ["Conv", "Add", "all"]
    assert [line[-2] for line in lines] == ["80.0", "19.9", "0.1"]
