"""Every backbone of the registry, exported by the real code and held to torch by the real gate."""

import pytest

pytest.importorskip("torch", reason="needs the extras train and export")

import onnx

from export.to_onnx import export_checkpoint
from reid_runtime import Embedder
from training.backbones import BACKBONES
from training.checkpoint import untrained


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_gives_torchs_vectors_at_any_size_and_batch(backbone, tmp_path):
    path = tmp_path / "model.onnx"
    agreement = export_checkpoint(untrained(backbone, dimension=64), path, backbone)
    assert agreement.rows == 90
    assert agreement.worst_cosine >= 0.99999
    graph = onnx.load(str(path)).graph
    named = [[dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]]
    assert named == [["batch", "height", "width", 3]]
    assert graph.node[0].op_type == "Cast", "TensorRT takes uint8 only if nothing but a cast reads it"
    assert [node.op_type for node in graph.node if graph.input[0].name in node.input] == ["Cast"]
    assert Embedder.load(path).dimension == 64
