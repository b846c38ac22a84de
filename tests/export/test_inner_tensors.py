"""Artefacts of fewer bits are explained too: their contracts name the tensors that their graphs have."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extras train and export")
pytest.importorskip("onnxruntime")

from export import to_int8_weights
from export.calibration import collect_ranges
from export.graph import write_model
from export.inner_tensors import name_inner_tensors
from export.quantise import SCHEMES, GraphIndex, quantise, ranged_tensors
from export.to_fp16 import half_graph
from reid_runtime import Embedder, Explainer
from reid_runtime.model_file.precision import Precision

from .small import SMALL, example_crops, small_model


def quantised(model, engine):
    scheme = SCHEMES[engine]
    ranges = collect_ranges(model, ranged_tensors(model, scheme), [crop[0] for crop in example_crops()])
    return quantise(model, scheme, ranges, 99.0, GraphIndex(model).layers(scheme))


ARTEFACTS = {
    "float16": (half_graph, Precision("float16"), 2e-3),
    "int8 cpu": (lambda model: quantised(model, "cpu"), Precision("int8", "cpu"), 1e-5),
    "int8 tensorrt": (lambda model: quantised(model, "tensorrt"), Precision("int8", "tensorrt"), 1e-5),
    "int8 weights": (to_int8_weights.integer_weights, Precision("int8"), 1e-5),
}


@pytest.mark.parametrize("gem", [False, True])
@pytest.mark.parametrize("kind", ARTEFACTS)
def test_places_and_bias_add_up_in_every_precision(kind, gem, tmp_path, monkeypatch):
    monkeypatch.setattr(to_int8_weights, "LEAST", 64)
    derived, precision, bound = ARTEFACTS[kind]
    model = derived(small_model(gem=gem))
    contract = name_inner_tensors(dataclasses.replace(SMALL, precision=precision), model)
    write_model(tmp_path / "model.onnx", model, contract)
    image = np.random.default_rng(0).integers(0, 256, (200, 90, 3), dtype=np.uint8)
    explanation = Explainer(tmp_path / "model.onnx").explain(image, "rgb")
    sums = explanation.maps.sum((1, 2)) + explanation.bias
    np.testing.assert_allclose(sums, Embedder.load(tmp_path / "model.onnx").embed([image], "rgb")[0], atol=bound)


def test_a_graph_without_the_maps_or_the_layer_names_nothing():
    model = small_model()
    other = name_inner_tensors(dataclasses.replace(SMALL, inner="gone"), model)
    assert (other.inner, other.last_layer) == (None, None)
    (layer,) = [node for node in model.graph.node if node.op_type == "Gemm"]
    model.graph.node.remove(layer)
    assert name_inner_tensors(SMALL, model).last_layer is None
