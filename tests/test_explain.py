"""The parts of a vector and of a similarity add up, whatever the pooling and the size; what cannot be taken apart."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from reid_runtime import ContractError, Embedder
from reid_runtime.backends import inner
from reid_runtime.explain import Explainer
from reid_runtime.model_file.onnx_graph import read_nodes, with_outputs

from .explained import DIMENSION, EXPLAINED, POOLINGS, write_explained

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZES = ((33, 33), (640, 512), (256, 128), (20, 400), (1, 1))


@pytest.fixture(scope="module", params=POOLINGS)
def model(request, tmp_path_factory):
    return write_explained(tmp_path_factory.mktemp("explained") / "model.onnx", request.param)


def noise(height, width, seed=0):
    """(height, width, 3): noise whose colour and brightness change from place to place."""
    random = np.random.default_rng((height, width, seed))
    return (random.uniform(0, 255, (height, width, 3)) * random.uniform(0, 1, (height, 1, 1))).astype(np.uint8)


def open_openvino(content, source, threads=None):
    pytest.importorskip("openvino")
    return inner._OpenVino(content, source, 1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_places_and_bias_add_up_to_the_vector_that_embedding_gives(model, engine, monkeypatch):
    if engine == "openvino":
        monkeypatch.setattr("reid_runtime.explain.open_inner", open_openvino)
    explainer, embedder = Explainer(model), Embedder.load(model)
    for size in SIZES:
        image = noise(*size)
        explanation = explainer.explain(image, "rgb")
        sums = explanation.maps.sum((1, 2)) + explanation.bias
        np.testing.assert_allclose(sums, embedder.embed([image], "rgb")[0], atol=1e-5)
        assert explanation.maps.shape[0] == DIMENSION
        assert explanation.maps.shape[1] > 1 or size[0] < 33
        assert np.abs(explanation.maps).max() > 1e-3, "a bias alone explains nothing"


def test_dimensions_and_places_of_a_pair_add_up_to_its_cosine(model):
    explainer, embedder = Explainer(model), Embedder.load(model)
    images = [noise(200, 80), noise(90, 120)]
    pair = explainer.pair(*images, "rgb")
    a, b = embedder.embed(images, "rgb").astype(np.float64)
    assert pair.cosine == pytest.approx(a @ b, abs=1e-5)
    for total, bias in ((pair.total_a, pair.bias_a), (pair.total_b, pair.bias_b)):
        assert total.sum() + bias == pytest.approx(a @ b, abs=1e-5)
    ranked = [*pair.most(DIMENSION), *reversed(pair.against(DIMENSION))]
    assert np.diff(pair.dimensions[ranked]).max() <= 0
    assert sorted(ranked) == list(range(DIMENSION))
    for each in range(DIMENSION):
        left, right = pair.maps_of(each)
        assert left.sum() + pair.b.embedding[each] * pair.a.bias[each] == pytest.approx(a[each] * b[each], abs=1e-5)
        assert right.sum() + pair.a.embedding[each] * pair.b.bias[each] == pytest.approx(a[each] * b[each], abs=1e-5)


def test_a_maximum_lies_where_it_is(tmp_path):
    explainer = Explainer(write_explained(tmp_path / "model.onnx", "max"))
    image = np.full((96, 96, 3), 60, np.uint8)
    image[40:56, 72:88] = 255
    maps = np.abs(explainer.explain(image, "rgb").maps).sum(0)
    assert maps.shape == (13, 13)
    inside = maps[5:8, 9:12].sum()
    assert inside > 0.5 * maps.sum(), "most channels have their maximum, or an edge's, at the bright square"


@pytest.mark.parametrize(
    ("contract", "more", "said"),
    [
        (dataclasses.replace(EXPLAINED, inner=None), (), "does not name its features before pooling and its last"),
        (dataclasses.replace(EXPLAINED, inner="elsewhere"), (), "what its graph does not have, no 'elsewhere'"),
        (
            dataclasses.replace(EXPLAINED, last_layer=("other",)),
            (),
            "no fully connected layer with the weights 'other'",
        ),
        (EXPLAINED, ("Tanh",), "its graph does more after pooling than one fully connected layer and a PReLU"),
        (dataclasses.replace(EXPLAINED, last_layer=("weights", "bias")), (), "its graph does more after pooling"),
    ],
)
def test_a_model_that_cannot_be_taken_apart_is_refused_in_a_sentence(contract, more, said, tmp_path):
    path = write_explained(tmp_path / "model.onnx", contract=contract, more=more)
    with pytest.raises(ContractError, match=said):
        Explainer(path).explain(noise(70, 50), "rgb")


def test_an_unknown_pooling_is_refused_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setitem(POOLINGS, "norm", [("ReduceL2", ["features", "axes"], "pooled", {"keepdims": 0})])
    with pytest.raises(ContractError, match="before its last layer, found ReduceL2"):
        Explainer(write_explained(tmp_path / "model.onnx", "norm"))


def test_outputs_are_added_without_moving_a_byte_and_nodes_are_those_of_onnx(model):
    content = model.read_bytes()
    more = with_outputs(content, ["features", "weights"])
    assert more.startswith(content)
    graph = onnx.load_from_string(more).graph
    assert [each.name for each in graph.output] == ["embeddings", "features", "weights"]
    nodes = [(node.operator, node.inputs, node.outputs) for node in read_nodes(more)]
    assert nodes == [(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node]
    (layer,) = [node for node in read_nodes(content) if node.operator == "Gemm"]
    assert layer.integers["transB"] == 1


def test_neither_torch_nor_onnx_is_imported(model):
    code = (
        "import sys, numpy; from reid_runtime import Explainer; "
        f"Explainer({str(model)!r}, 1).explain(numpy.ones((40, 20, 3), numpy.uint8), 'rgb'); "
        "sys.exit(bool({'torch', 'onnx'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
