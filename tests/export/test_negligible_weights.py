"""Channels that weight decay has emptied: their weights are zero in the file, and the vectors keep their bytes."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import numpy_helper

from export.negligible_weights import zero_negligible_weights
from reid_runtime.model_file.packaged import PACKAGED

from .small import example_crops, outputs, replace_constant, small_model

LEAST = 3e-15  # of the largest: some hundred million times less than float32 shows beside it
SUBNORMAL = 1e-40


def smallest_weight(model):
    """As a share of the largest of its tensor; zeros do not count."""
    shares = [1.0]
    for tensor in model.graph.initializer:
        weights = np.abs(numpy_helper.to_array(tensor))
        if weights.dtype == np.float32 and weights.ndim > 1:
            shares.append(weights[weights > 0].min(initial=1.0) / weights.max())
    return min(shares)


@pytest.fixture
def emptied():
    """One filter of a convolution is as good as nothing, and single weights of two others are."""
    model = small_model()

    def empty(weights):
        weights = weights.copy()
        weights[0] *= 1e-30
        weights[1].flat[0], weights[2].flat[0] = SUBNORMAL, -1e-20
        return weights

    replace_constant(model, "first.weight", empty)
    return model


def test_negligible_weights_become_zero_and_the_vectors_keep_their_bytes(emptied):
    before = [outputs(emptied, "embeddings", crop) for crop in example_crops()]
    assert smallest_weight(emptied) < 1e-38
    assert zero_negligible_weights(emptied) is emptied
    assert smallest_weight(emptied) > LEAST
    after = [outputs(emptied, "embeddings", crop) for crop in example_crops()]
    assert [vectors.tobytes() for vectors in after] == [vectors.tobytes() for vectors in before]


def test_weights_that_count_are_left():
    model = small_model()
    # All of them: a scale, not a remainder.
    replace_constant(model, "first.weight", lambda weights: weights * np.float32(1e-20))
    kept = model.SerializeToString()
    assert zero_negligible_weights(model).SerializeToString() == kept


def test_the_exporter_has_none_of_them():
    torch = pytest.importorskip("torch", reason="needs the extras train and export")
    from export.to_onnx import export_graph
    from training.models.network import EmbeddingNetwork

    network = EmbeddingNetwork("resnet18", 16).eval()
    with torch.no_grad():
        next(network.trunk.parameters())[3] *= 1e-30
    assert smallest_weight(export_graph(network)) > LEAST


@pytest.mark.parametrize("name", PACKAGED)
def test_the_packaged_models_have_none_of_them(name):
    assert smallest_weight(onnx.load(str(PACKAGED[name].path))) > LEAST
