"""The tensors that an explanation reads, kept under names in the graph: features before pooling, and the last layer."""

import copy
from dataclasses import replace

import onnx
import torch

from reid_runtime.model_file.contract import Contract
from training.models.network import EmbeddingNetwork, unit_length

FEATURES = "features"
"""What exported graphs call the maps before pooling."""


class WithFeatures(EmbeddingNetwork):
    """A network that gives its embeddings and the maps before pooling, so that the exporter keeps these apart."""

    @classmethod
    def of(cls, network: EmbeddingNetwork) -> "WithFeatures":
        """The same network, its tensors shared and under the same names."""
        watched = copy.copy(network)
        watched.__class__ = cls
        assert isinstance(watched, cls)
        return watched

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Embed a batch of one shape: (N, dimension) and (N, channels, h, w)."""
        features = self.features(images)
        return unit_length(self.project_pooled(self.pooling(features))), features


def name_inner_tensors(contract: Contract, model: onnx.ModelProto) -> Contract:
    """The contract with the names that this graph has; None for what it lacks.

    Precisions change the names: half precision and integers have the last layer's weights under others. The maps keep
    theirs, where the graph still has them.
    """
    nodes = model.graph.node
    made = {name for node in nodes for name in node.output}
    last = [number for number, node in enumerate(nodes) if node.op_type == "Gemm"][-1:]
    if contract.inner not in made or not last:
        return replace(contract, inner=None, last_layer=None)
    names = [*nodes[last[0]].input[1:], ""][:2]  # exporters leave out a bias of zeros
    names += [node.input[1] for node in nodes[last[0] :] if node.op_type == "PRelu"]
    return replace(contract, last_layer=tuple(names))
