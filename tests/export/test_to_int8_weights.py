"""Weights alone in integers: a quarter of the bytes, floats for the engine, and the gate."""

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

pytest.importorskip("onnxruntime")

from export import to_int8_weights
from export.derive import ExportError
from export.to_int8_weights import integer_weights, main

from .small import loaded, small_model
from .test_quantise import as_run

LEAST = 0.1


@pytest.fixture(autouse=True)
def large_share(monkeypatch):
    """The tests' model has few layers, of which one or two are to stay."""
    monkeypatch.setattr(to_int8_weights, "LEAST", LEAST)


@pytest.fixture
def made(parent, tmp_path):
    output = tmp_path / "weights.onnx"
    result = CliRunner().invoke(main, [str(parent), "-o", str(output)])
    assert result.exit_code == 0, result.output
    return output


def test_the_weights_are_integers_with_a_scale_a_channel(made, parent):
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(parent).graph.initializer}
    after = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(made).graph.initializer}
    actual = [name.removesuffix("/integer") for name in after if name.endswith("/integer")]
    weights = {name: value.size for name, value in before.items() if name.endswith(".weight")}
    large = [name for name, size in weights.items() if size >= LEAST * sum(weights.values())]
    assert sorted(actual) == sorted(large)
    assert 0 < len(large) < len(weights)
    for name in actual:
        integers, scale = after[f"{name}/integer"], after[f"{name}/scale"]
        assert integers.dtype == np.int8
        assert (np.abs(integers.reshape(len(integers), -1).astype(int)).max(axis=1) == 127).all()
        assert np.abs(integers * scale - before[name]).max() <= scale.max() / 2 * 1.001
    onnx.checker.check_model(onnx.load(made), full_check=True)


def test_onnx_runtime_makes_floats_of_them_when_it_loads(made, parent, tmp_path):
    ran = as_run(onnx.load(made), tmp_path / "ran.onnx")
    assert sorted(ran) == sorted(as_run(onnx.load(parent), tmp_path / "parent.onnx"))


def test_contract_has_scheme_and_drift(made, parent, command):
    original, contract = loaded(parent).contract, loaded(made).contract
    assert str(contract.precision).startswith("int8 (weights alone")
    assert (contract.parent, contract.contract_id) == (loaded(parent).artefact_id, original.contract_id)
    assert 0.99 <= contract.drift["worst_cosine"] < 1
    assert (contract.inner, contract.last_layer) == (original.inner, original.last_layer)
    run = command("verify", made, "--device", "cpu")
    assert run.code == 0, run.out


def test_weights_that_eight_bits_cannot_hold_leave_no_file(parent, tmp_path, monkeypatch):
    monkeypatch.setattr(to_int8_weights, "LIMIT", 2)
    result = CliRunner().invoke(main, [str(parent), "-o", str(tmp_path / "weights.onnx")])
    assert result.exit_code != 0
    assert not list(tmp_path.iterdir())


def test_a_graph_without_weights_is_refused():
    model = small_model()
    del model.graph.node[:]
    with pytest.raises(ExportError, match="no weights"):
        integer_weights(model)
