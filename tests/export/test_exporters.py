"""The silent failures that exporters are known for, each built here, and the gate names each."""

import dataclasses

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs the extras train and export")

import torch
from onnx import helper, numpy_helper

import training.models.network
import training.models.pooling
from export import to_onnx
from export.parity import ParityError, require_parity
from export.torch_reference import TorchBackend
from reid_runtime.agreement import TOLERANCES
from reid_runtime.backends.onnx import OnnxBackend
from reid_runtime.errors import ReidRuntimeError
from training.models.base import Backbone
from training.models.network import EmbeddingNetwork
from training.run.checkpoint import build, untrained

from .small import loaded, small_model, write_small


def saved(model, tmp_path):
    path = tmp_path / "broken.onnx"
    onnx.save(model, str(path))
    return path


def before(model, kind, *nodes, **constants):
    """Put nodes before the one of this kind, which then reads what the last of them gives."""
    (index,) = [index for index, node in enumerate(model.graph.node) if node.op_type == kind]
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    model.graph.node[index].input[0] = nodes[-1].output[0]
    for node in reversed(nodes):
        model.graph.node.insert(index, node)
    return model


def frozen_height(model):
    """As a pooling whose window was written in for one height: the rest of a taller map is never seen."""
    node = helper.make_node("Slice", ["f+", "start", "end", "axis"], ["seen"])
    return before(model, "ReduceMax", node, start=[0], end=[9], axis=[2])


def frozen_width(model):
    node = helper.make_node("Slice", ["f+", "start", "end", "axis"], ["seen"])
    return before(model, "ReduceMax", node, start=[0], end=[9], axis=[3])


def frozen_shape(model):
    """As a reshape whose numbers were those of the example."""
    node = helper.make_node("Reshape", ["f+", "shape"], ["seen"])
    return before(model, "ReduceMax", node, shape=[-1, 32, 16, 12])


def ignored_input(model):
    node = helper.make_node("Mul", ["f+", "nothing"], ["seen"])
    return before(model, "ReduceMax", node, nothing=np.float32(0))


def frozen_batch(model):
    node = helper.make_node("Reshape", ["pooled", "shape"], ["seen"])
    return before(model, "Gemm", node, shape=[2, 32])


def squeezed_batch(model):
    model.graph.node[-1].output[0] = "unit"
    model.graph.node.append(helper.make_node("Squeeze", ["unit"], ["embeddings"]))
    del model.graph.output[0].type.tensor_type.shape.dim[0]
    return model


def fixed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    return model


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (frozen_height, "differs from the reference on . of 64x32"),
        (frozen_width, "differs from the reference on . of 97x41"),
        (frozen_shape, "the artefact (fails on|gives .* for) . of 33x33"),
        (ignored_input, "differs from the reference on 1 of 33x33"),
        (frozen_batch, "the artefact (fails on|gives .* for) 1 of 33x33"),
    ],
)
def test_a_graph_that_was_exported_wrong_is_named_with_its_size(failure, said, parent, tmp_path):
    broken = OnnxBackend(saved(failure(small_model()), tmp_path), "cpu")
    with pytest.raises(ParityError, match=said):
        require_parity(loaded(parent).backend.run, broken.run, TOLERANCES["float32"].probes)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (squeezed_batch, r"gives \[16\]; expected a free first axis"),
        (fixed_batch, r"takes \[2, .* with a dynamic batch"),
    ],
)
def test_a_batch_that_is_not_free_is_no_export(failure, said, tmp_path):
    """The runtime would run both, as it does with third-party graphs."""
    with pytest.raises(ParityError, match=said):
        write_small(tmp_path / "broken.onnx", failure(small_model()))


def test_a_reference_that_ignores_its_input_does_not_vouch_for_one_that_does_too(tmp_path):
    blind = loaded(write_small(tmp_path / "blind.onnx", ignored_input(small_model()))).backend.run
    with pytest.raises(ParityError, match="tells its 90 inputs apart by too little"):
        require_parity(blind, blind, TOLERANCES["float32"].probes)


@pytest.fixture
def trunk():
    """A backbone of one convolution."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=4, padding=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
    )
    torch.manual_seed(0)
    layers[1].running_mean.normal_()
    layers[1].running_var.uniform_(0.5, 2)
    return layers


def network_of(trunk):
    torch.manual_seed(1)
    network = EmbeddingNetwork("resnet18", 16).eval()
    network.trunk, network.projection = trunk.eval(), torch.nn.Linear(8, 16, bias=False)
    return network


def test_batch_normalisation_is_folded_the_opset_is_stated_and_the_network_is_left_alone(trunk, tmp_path):
    network = network_of(trunk)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    model = to_onnx.export_graph(network)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", to_onnx.OPSET)]
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    candidate = OnnxBackend(saved(model, tmp_path), "cpu")
    require_parity(TorchBackend(network).run, candidate.run, TOLERANCES["float32"].probes)


def test_the_command_says_which_opset():
    assert f"opset {to_onnx.OPSET}" in to_onnx.main.help


class Pooling(torch.nn.Module):
    """A pooling that works in torch, at every size."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, features):
        return self.pool(features)


def halves_of_height(features):
    """The exporter writes the windows in that the example's height has."""
    return torch.nn.functional.adaptive_avg_pool2d(features, (2, 1)).amax((2, 3))


def halves_of_width(features):
    return torch.nn.functional.adaptive_avg_pool2d(features, (1, 2)).amax((2, 3))


def blind_in_the_exporter(features):
    """As switches go that were made for the exporter's sake."""
    pooled = features.amax((2, 3))
    return pooled * 0 + 1 if torch.onnx.is_in_onnx_export() else pooled


def squeezed(features):
    return features.amax((2, 3), keepdim=True).squeeze()


def in_company(features):
    """As batch normalisation that was left in training: no fault of the exporter's, and no model to use."""
    pooled = features.amax((2, 3))
    return pooled - 0.5 * pooled.mean(0, keepdim=True)


def one_by_one(features):
    """A loop over the batch is unrolled for the example's."""
    return torch.stack([row.amax((1, 2)) for row in features])


def whole_window(features):
    return torch.nn.functional.max_pool2d(features, features.shape[2:]).flatten(1)


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        (halves_of_height, "the artefact (differs from the reference|fails) on"),
        (halves_of_width, "the artefact (differs from the reference|fails) on"),
        (blind_in_the_exporter, "the artefact differs from the reference on"),
        (squeezed, "the reference fails on 1 of 33x33: torch failed on a batch of shape"),
        (in_company, "does not pass `reid-runtime verify`: its vectors; worst cosine 0"),
        (one_by_one, "cannot export the network: .*inferred ranges"),
        (whole_window, "cannot export the network: "),
    ],
)
def test_what_the_real_exporter_gets_wrong_in_silence_leaves_no_file(pool, said, trunk, tmp_path, monkeypatch):
    monkeypatch.setattr(training.models.network, "backbone", lambda name: Backbone(name, 8, lambda: trunk, dict))
    monkeypatch.setitem(training.models.pooling.POOLINGS, "odd", lambda channels: Pooling(pool))
    torch.manual_seed(0)
    plain = untrained("one layer", dimension=16)
    architecture = dataclasses.replace(plain.architecture, pooling="odd")
    tensors = {f"network.{name}": value for name, value in build(architecture).eval().state_dict().items()}
    tensors["network.projection.bias"].zero_()
    checkpoint = dataclasses.replace(plain, architecture=architecture, tensors=tensors)
    with pytest.raises(ReidRuntimeError, match=said):
        to_onnx.export_checkpoint(checkpoint, tmp_path / "model.onnx", "odd")
    assert list(tmp_path.iterdir()) == []
