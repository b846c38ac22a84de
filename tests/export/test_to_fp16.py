"""Half precision: where it is, where it must not be, and what the file then promises."""

import onnx
import pytest

pytest.importorskip("onnxruntime")

import numpy as np
from onnx import TensorProto, numpy_helper

from export.calibration import vectors_of
from export.derive import ExportError, Parent, derive
from export.to_fp16 import KEPT, choose_fp32_convs, half_graph
from reid_runtime.agreement import compare
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.precision import Precision

from .small import SMALL, centred, example_crops, loaded, outputs, replace_constant, small_model, write_small


def types_of(model):
    """Element type of every tensor, by ONNX's own inference, which refuses a graph whose types do not meet."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=False)
    types = {tensor.name: tensor.data_type for tensor in inferred.graph.initializer}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def test_weights_and_convolutions_are_half_and_the_rest_is_float32():
    model = half_graph(small_model(gem=True))
    types = types_of(model)
    read = {}
    for node in model.graph.node:
        if node.op_type != "Cast":
            read.setdefault(node.op_type, set()).update(types[name] for name in node.input if name in types)
    half, single = {TensorProto.FLOAT16}, {TensorProto.FLOAT}
    assert all(read[kind] == half for kind in ("Conv", "MaxPool", "Add", "Relu", "Gemm"))
    assert all(read[kind] - {TensorProto.INT64} == single for kind in ("Pow", "ReduceMean", "ReduceL2", "Div", "Mul"))
    assert types["embeddings"] == TensorProto.FLOAT


def test_the_input_stays_pixels_that_a_cast_reads_first_and_alone():
    graph = half_graph(small_model()).graph
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert graph.node[0].op_type == "Cast"
    assert [node.op_type for node in graph.node if "images" in node.input] == ["Cast"]


def test_weights_take_half_the_bytes():
    def size(model):
        kinds = dict.fromkeys((TensorProto.FLOAT, TensorProto.FLOAT16), 0)
        for tensor in model.graph.initializer:
            if tensor.data_type in kinds:
                kinds[tensor.data_type] += numpy_helper.to_array(tensor).nbytes
        return kinds

    before, after = size(small_model()), size(half_graph(small_model()))
    assert after[TensorProto.FLOAT16] == pytest.approx(before[TensorProto.FLOAT] / 2, rel=0.02)
    assert after[TensorProto.FLOAT] < 0.01 * before[TensorProto.FLOAT]


@pytest.mark.parametrize("gem", [False, True])
def test_loud_activations_and_long_vectors_do_not_overflow(gem, tmp_path, inputs):
    """A squared norm overflows half precision above 255.9, a third power above 40.3."""
    model = small_model(gem=gem, loudness=600.0)
    images = example_crops()[0]
    assert outputs(model, "pooled", images).max() > 400
    assert np.linalg.norm(outputs(model, "raw", images)) > 256
    parent = Parent.read(write_small(tmp_path / "loud.onnx", model), inputs)
    parity = derive(parent, tmp_path / "half.onnx", half_graph(parent.model), Precision("float16"))
    assert parity.crops.worst_cosine > 0.9999


def test_half_precision_everywhere_would_overflow_on_the_same_network(monkeypatch, tmp_path, inputs, export):
    """So that the test before this one shows what it says."""
    from export import to_fp16

    everything = frozenset(node.op_type for node in small_model(gem=True).graph.node) - {"Cast", "Transpose"}
    monkeypatch.setattr(to_fp16, "HALF", everything - {"Div"})
    path = write_small(tmp_path / "loud.onnx", small_model(gem=True, loudness=600.0))
    run = export("to_fp16", path, "-o", tmp_path / "half.onnx")
    assert run.code == 1
    assert not (tmp_path / "half.onnx").exists()


def test_the_first_convolutions_stay_in_float32_where_the_crops_ask_for_it(tmp_path, inputs):
    """Large weights that nearly cancel, in the first layer: half precision has 11 bits for what is left."""
    model, signs = small_model(centre=False), np.array([-1, 0, 1]).reshape(1, 3, 1, 1)
    replace_constant(model, "first.weight", lambda values: values + 60 * signs)
    replace_constant(model, "second.weight", lambda values: values / 16)
    parent = Parent.read(write_small(tmp_path / "cancelling.onnx", centred(model)), inputs)
    assert worst(parent, 0) < KEPT <= worst(parent, 1)
    assert choose_fp32_convs(parent) == 1
    types = types_of(half_graph(parent.model, 1))
    assert (types["a"], types["c"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)


def test_a_plain_network_keeps_none(parent, inputs):
    assert choose_fp32_convs(Parent.read(parent, inputs)) == 0


def worst(parent, whole):
    crops = [crop[0] for crop in example_crops()]
    return compare(parent.reference.vectors, vectors_of(half_graph(parent.model, whole), crops)).worst_cosine


def test_an_output_is_never_half():
    model = small_model()
    model.graph.output[0].name = "raw"
    del model.graph.node[-2:]
    assert types_of(half_graph(model))["raw"] == TensorProto.FLOAT


def test_weights_beyond_half_precision_are_refused_by_name():
    model = small_model()
    replace_constant(model, "second.weight", lambda values: values * 1e6)
    with pytest.raises(ExportError, match=r"'second.weight' holds values up to .* ends at 65504"):
        half_graph(model)


def test_the_command_writes_a_contract_that_says_what_was_measured(export, parent, tmp_path):
    path = tmp_path / "half.onnx"
    run = export("to_fp16", parent, "-o", path)
    assert (run.code, run.err) == (0, "")
    original, half = loaded(parent), loaded(path)
    expected = Contract(
        **{**vars(SMALL), "name": "half", "precision": Precision("float16"), "parent": original.artefact_id}
        | {"last_layer": ("projection.weight/half", "bias/half")}
    )
    drift = dict(half.contract.drift)
    assert vars(half.contract) == {**vars(expected), "drift": half.contract.drift}
    assert half.contract.contract_id == original.contract.contract_id
    assert 0.9999 <= drift["worst_cosine"] <= drift["mean_cosine"] <= 1
    assert drift["crops"] == 32
    assert f"worst cosine {drift['worst_cosine']:.7f}" in run.out


def test_half_precision_of_half_precision_is_refused(export, parent, tmp_path):
    assert export("to_fp16", parent, "-o", tmp_path / "half.onnx").code == 0
    run = export("to_fp16", tmp_path / "half.onnx", "-o", tmp_path / "again.onnx")
    assert run.code == 1
    assert "derive from the float32 file" in run.err
    assert not (tmp_path / "again.onnx").exists()
