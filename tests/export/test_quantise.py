"""INT8 graphs: what each kind of engine is promised, and the two places where rounding would ruin the vectors."""

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from onnx import TensorProto, numpy_helper

from export.calibration import collect_ranges, vectors_of
from export.normalisation import normalise_at_once
from export.quantise import CPU, TENSORRT, GraphIndex, quantise, ranged_tensors

from .small import example_crops, outputs, replace_constant, small_model


@pytest.fixture(scope="module")
def crops():
    return [crop[0] for crop in example_crops()]


def made(model, scheme, crops, chosen=None):
    seen = collect_ranges(model, ranged_tensors(model, scheme), crops)
    return quantise(model, scheme, seen, 95, GraphIndex(model).layers(scheme) if chosen is None else chosen)


def cosines(model, other, crops):
    return (vectors_of(model, crops).astype(np.float64) * vectors_of(other, crops)).sum(axis=1)


def constants(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def as_run(model, path):
    """The operators that ONNX Runtime's CPU really runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(str(path)).graph.node]


def test_every_layer_runs_in_integers_on_onnx_runtime(crops, tmp_path):
    model = made(small_model(), CPU, crops)
    ran = as_run(model, tmp_path / "ran.onnx")
    assert (ran.count("QLinearConv"), ran.count("QLinearAdd")) == (4, 1)
    assert ran.count("QGemm") == 1
    assert not {"Conv", "Gemm"} & set(ran)
    assert ran.count("QuantizeLinear") == 1, "the input's: a max pooling between integer layers is one too"


def test_pixels_are_normalised_by_one_operator_in_rows_of_a_width(crops, tmp_path):
    """Channels last, a subtraction and a product would have rows of three numbers."""
    model = made(small_model(), CPU, crops)
    once = normalise_at_once(onnx.ModelProto.FromString(model.SerializeToString()))
    ran = as_run(once, tmp_path / "ran.onnx")
    assert ran.index("Transpose") < ran.index("BatchNormalization")
    assert not {"Sub", "Mul"} & set(ran[: ran.index("QuantizeLinear")])
    assert {"mean", "scale"} & set(constants(model)), "of what is replaced"
    assert not {"mean", "scale"} & set(constants(once))
    assert cosines(model, once, crops).min() > 0.99999
    floats = small_model()
    kept = floats.SerializeToString()
    assert normalise_at_once(floats).SerializeToString() == kept, "a first layer in float gains nothing"


def test_the_pooling_after_a_float_first_layer_stays_in_float(crops, tmp_path):
    """ONNX Runtime moves the rounding before it, if it can, and integers are slow there."""
    base = small_model()
    chosen = [layer for layer in GraphIndex(base).layers(CPU) if layer.name != "first"]
    model = made(base, CPU, crops, chosen)
    assert as_run(model, tmp_path / "ran.onnx").count("QLinearConv") == 3
    nodes = onnx.load(str(tmp_path / "ran.onnx")).graph.node
    kinds = {name: node.op_type for node in nodes for name in node.output}
    (pooling,) = [node for node in nodes if "MaxPool" in node.op_type]
    assert kinds[pooling.input[0]] != "QuantizeLinear"
    assert cosines(base, model, crops).min() > 0.99


def test_the_cpu_kind_has_7_bit_weights_unsigned_activations_and_whole_biases(crops):
    model = made(small_model(), CPU, crops)
    values = constants(model)
    weights = {name: value for name, value in values.items() if name.endswith("weight/integer")}
    assert len(weights) == 5
    for value in weights.values():
        assert value.dtype == np.int8
        # Every output channel uses the range it has: one scale each.
        assert (np.abs(value.reshape(len(value), -1).astype(int)).max(axis=1) == 63).all()
    assert {values[name].dtype for name in values if name.endswith("bias/integer")} == {np.dtype(np.int32)}
    zeros = [node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert {values[name].dtype for name in zeros} == {np.dtype(np.uint8)}


def test_channel_gates_and_sums_of_gated_tensors_stay_in_float():
    """A gate has one place to compute, and what it multiplies would be rounded to be added."""
    values = (("wide", (8, 3, 1, 1)), ("squeeze", (2, 8, 1, 1)), ("excite", (8, 2, 1, 1)), ("narrow", (8, 8, 1, 1)))
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), f"{name}.weight") for name, shape in values]
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["images", "wide.weight"], ["a"]),
        node("ReduceMean", ["a", "axes"], ["mean"]),
        node("Conv", ["mean", "squeeze.weight"], ["b"]),
        node("Relu", ["b"], ["b+"]),
        node("Conv", ["b+", "excite.weight"], ["c"]),
        node("Sigmoid", ["c"], ["gate"]),
        node("Mul", ["a", "gate"], ["gated"]),
        node("Add", ["a", "gated"], ["sum"]),
        node("Conv", ["sum", "narrow.weight"], ["d"]),
        node("Add", ["a", "d"], ["residual"]),
    ]
    model = onnx.ModelProto(graph=onnx.GraphProto(node=nodes, initializer=weights))
    for scheme in (CPU, TENSORRT):
        assert [layer.name for layer in GraphIndex(model).layers(scheme)] == ["wide", "narrow", "residual"]


def test_the_tensorrt_kind_is_symmetric_int8_alone(crops):
    model = made(small_model(), TENSORRT, crops)
    values = constants(model)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert values[node.input[2]].dtype == np.int8
            assert not values[node.input[2]].any()
    assert not any(value.dtype in (np.int32, np.uint8) for value in values.values()), "no quantised bias"
    producers = {node.output[0]: node for node in model.graph.node}
    read = {
        node.op_type: {producers[name].op_type for name in node.input if name in producers}
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "Add")
    }
    assert read == {kind: {"DequantizeLinear"} for kind in ("Conv", "Gemm", "Add")}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert (
                numpy_helper.to_array(
                    next(t for t in model.graph.initializer if t.name == producers[node.input[1]].input[0])
                )
                .__abs__()
                .max()
                == 127
            )


@pytest.mark.parametrize("scheme", [CPU, TENSORRT])
def test_the_vectors_stay(scheme, crops):
    base = small_model()
    assert cosines(base, made(base, scheme, crops), crops).min() > 0.99
    onnx.checker.check_model(made(base, scheme, crops), full_check=True)


def test_the_bias_takes_back_what_rounded_weights_add(crops, monkeypatch):
    """Of a layer whose input is never negative, rounded weights move the mean of the output."""
    from export import quantise

    base = small_model()
    (deep,) = [layer for layer in GraphIndex(base).layers(TENSORRT) if layer.name == "deep"]

    def moved():
        model = made(base, TENSORRT, crops, [deep])
        means = [
            [outputs(graph, "e", crop[None]).mean(axis=(0, 2, 3)) for crop in crops[:8]] for graph in (base, model)
        ]
        return np.abs(np.mean(means[1], axis=0) - np.mean(means[0], axis=0)).mean()

    corrected = moved()
    monkeypatch.setattr(quantise._Quantiser, "_mean_of", lambda *_: 0.0)
    assert corrected < 0.5 * moved()


def without_first_rows(values):
    return values * (np.arange(len(values)) > 0).reshape(-1, *[1] * (values.ndim - 1))


def test_a_float_layer_between_integer_ones_keeps_its_weights(crops):
    """Left to itself, ONNX Runtime rounds them too, with one scale for all channels: here that of a dead one."""
    base = small_model()
    for name in ("first.weight", "second.weight", "second.bias"):
        replace_constant(base, name, without_first_rows)
    replace_constant(base, "deep.weight", lambda values: values * (1 + 999 * (np.arange(12) == 0)).reshape(12, 1, 1, 1))
    kept = [layer for layer in GraphIndex(base).layers(CPU) if layer.name != "deep"]
    assert cosines(base, made(base, CPU, crops, kept), crops).min() > 0.98


def test_a_dead_channel_keeps_its_bias(crops):
    base = small_model()

    def kill(values):
        values = values.copy()
        values[3] *= 1e-12
        return values

    replace_constant(base, "second.weight", kill)
    replace_constant(base, "second.bias", lambda values: values + 3 * (np.arange(12) == 3))
    assert cosines(base, made(base, CPU, crops), crops).min() > 0.98


def test_types_are_whole_in_the_artefact(crops):
    graph = made(small_model(), CPU, crops).graph
    assert graph.node[[node.op_type for node in graph.node].index("Cast")].input[0] == "images"
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read, "the float weights are gone"
