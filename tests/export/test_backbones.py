"""Backbones and poolings, exported by the real code and held to torch by the real gate."""

import dataclasses
import importlib.util

import pytest

pytest.importorskip("torch", reason="needs the extras train and export")

import numpy as np
import onnx
import torch

import training.models.network
from export.to_onnx import export_checkpoint
from export.torch_reference import contract_for
from reid_runtime import Embedder, Explainer
from reid_runtime.images.resize import resize
from training.models.backbones import BACKBONES, _MobileNetV2Trunk, _resnet
from training.models.base import Backbone
from training.models.pooling import POOLINGS
from training.models.torchvision import mobilenetv2, resnet
from training.run.checkpoint import build, untrained

from .small import outputs


class ShortMobileNet(_MobileNetV2Trunk):
    """Three of its seven stages: with and without expansion, strides and shortcuts."""

    def __init__(self):
        mobilenetv2.MobileNetV2.__init__(self, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]])
        del self.classifier


# One of each kind is exported in continuous integration, with each of its layers once or twice, for the exporter takes
# a second for every few layers; whole, and the others, they have none that these have not.
SHORT = {"mobilenetv2": ShortMobileNet, "resnet18": _resnet(resnet.BasicBlock, (1, 1, 1, 1))}
QUICK = ("osnet-0.25", "timm/test_convnext")
SLOW = (
    *(name for name in BACKBONES if name not in QUICK),
    "timm/efficientnet_lite0",
    "timm/tf_efficientnet_lite0",
    "timm/mobilenetv4_conv_small",
    "timm/convnext_atto",
)


@pytest.fixture
def short(request, monkeypatch):
    """A backbone of few layers, under its whole one's name."""
    backbone = BACKBONES[request.param]
    monkeypatch.setitem(BACKBONES, backbone.name, dataclasses.replace(backbone, build=SHORT[backbone.name]))
    return backbone.name


@pytest.mark.parametrize("short", SHORT, indirect=True)
def test_a_short_backbone_gives_torchs_vectors_at_any_size_and_batch(short, tmp_path):
    export_and_check(short, tmp_path)


@pytest.mark.parametrize("backbone", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_backbone_gives_torchs_vectors_at_any_size_and_batch(backbone, tmp_path):
    export_and_check(backbone, tmp_path)


def export_and_check(backbone, tmp_path):
    if backbone.startswith("timm/"):
        pytest.importorskip("timm", reason="needs the extra timm")
    path = tmp_path / "model.onnx"
    torch.manual_seed(0)
    checkpoint = untrained(backbone, dimension=64)
    # Untrained features are small: beside a bias all vectors would be one.
    checkpoint.tensors["network.projection.bias"].zero_()
    agreement = export_checkpoint(checkpoint, path, backbone)
    assert agreement.rows == 90
    assert agreement.worst_cosine >= 0.99999
    graph = onnx.load(str(path)).graph
    named = [[dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]]
    assert named == [["batch", "height", "width", 3]]
    assert graph.node[0].op_type == "Cast", "TensorRT takes uint8 only if nothing but a cast reads it"
    assert [node.op_type for node in graph.node if graph.input[0].name in node.input] == ["Cast"]
    contract = Embedder.load(path).contract
    assert contract.dimension == 64
    assert contract.inner == "features"
    assert_named(path, checkpoint.network(), contract)
    explainer, embedder = Explainer(path), Embedder.load(path)
    for height, width in ((33, 33), (640, 512)):
        image = np.random.default_rng(4).integers(0, 256, (height, width, 3), dtype=np.uint8)
        explanation = explainer.explain(image, "rgb")
        sums = explanation.maps.sum((1, 2)) + explanation.bias
        np.testing.assert_allclose(sums, embedder.embed([image], "rgb")[0], atol=1e-5)


def assert_named(path, network, contract):
    """The contract's names are those of the maps before pooling and of the last layer's tensors."""
    images = np.random.default_rng(2).integers(0, 256, (2, 70, 41, 3), dtype=np.uint8)
    model = onnx.load(str(path))
    with torch.inference_mode():
        features = network.features(torch.from_numpy(images)).numpy()
    tensors = outputs(model, contract.inner, images)
    np.testing.assert_allclose(tensors, features, atol=1e-4 * np.abs(features).max())
    initializers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    slope = [network.activation.weight] if isinstance(network.activation, torch.nn.PReLU) else []
    expected = [network.projection.weight, network.projection.bias, *slope]
    assert len(contract.last_layer) == len(expected)
    for name, tensor in zip(contract.last_layer, expected, strict=True):
        values = tensor.detach().numpy().squeeze()
        np.testing.assert_array_equal(initializers[name].squeeze() if name else np.zeros_like(values), values)


def assert_explained(path, network):
    """The parts are torch's gradients times the features: all that follows is homogeneous, but for the bias."""
    explainer = Explainer(path)
    for height, width in ((33, 33), (97, 33), (640, 512)):
        image = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
        explanation = explainer.explain(image, "rgb")
        resized = resize(image, explainer.contract.resize.shape(height, width))
        with torch.no_grad():
            features = network.features(torch.from_numpy(resized[None].copy()))
        features.requires_grad_()
        (projected,) = network.project_pooled(network.pooling(features))
        norm = float(projected.detach().norm())
        for dimension, value in enumerate(projected):
            (gradient,) = torch.autograd.grad(value, features, retain_graph=True)
            expected = (gradient * features).detach().sum(1)[0].numpy() / norm
            np.testing.assert_allclose(explanation.maps[dimension], expected, atol=1e-5)
            assert explanation.bias[dimension] == pytest.approx(value.item() / norm - expected.sum(), abs=1e-5)


def two_layers():
    """A trunk of two layers, the second without a ReLU: the poolings meet negative numbers too."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=4, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, stride=4, padding=1)
    )


@pytest.mark.parametrize("activation", ["none", "prelu"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_is_torchs_at_any_size_and_batch(pooling, activation, tmp_path, monkeypatch):
    monkeypatch.setattr(training.models.network, "backbone", lambda name: Backbone(name, 8, two_layers, dict))
    torch.manual_seed(0)
    checkpoint = untrained("two layers", dimension=8)
    architecture = dataclasses.replace(checkpoint.architecture, pooling=pooling, activation=activation)
    network = build(architecture).eval()
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    tensors["network.projection.bias"].copy_(torch.randn(8) / 16)
    if pooling == "gem":
        tensors["network.pooling.p"].fill_(4.5)  # a learnt power travels; the initial one could be written in anywhere
    if activation == "prelu":
        tensors["network.activation.weight"].fill_(0.3)
    if pooling == "spatial":  # equal weights could be resized in any way
        tensors["network.pooling.weight"] = torch.randn(8, 16, 8) / 128
        tensors["network.pooling.bias"] = torch.randn(8) / 16
    network.load_state_dict({key.removeprefix("network."): value for key, value in tensors.items()})
    path = tmp_path / "model.onnx"
    changed = dataclasses.replace(checkpoint, architecture=architecture, tensors=tensors)
    agreement = export_checkpoint(changed, path, pooling)
    assert agreement.rows == 90
    embedder = Embedder.load(path)
    engines = [Embedder.load(path, device="openvino")] if importlib.util.find_spec("openvino") else []
    assert f"global {pooling} pooling" in embedder.contract.graph
    assert embedder.contract.contract_id == contract_for(changed, pooling).contract_id
    assert_named(path, network, embedder.contract)
    assert_explained(path, network)
    # A pooling frozen to the map of the example would still be right at that one size.
    for shape in ((1, 64, 48, 3), (1, 97, 33, 3), (3, 200, 75, 3)):
        images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        with torch.inference_mode():
            expected = network(torch.from_numpy(images)).numpy()
        for each in (embedder, *engines):
            np.testing.assert_allclose(each.backend.run(images), expected, atol=2e-6)
