"""A network with the maps before pooling as a second output: torch's exporter keeps those apart then."""

import copy

import torch

from training.models.network import EmbeddingNetwork, unit_length


class WithFeatures(EmbeddingNetwork):
    """A network that gives its embeddings and the maps before pooling, so that the exporter keeps these apart."""

    @classmethod
    def of(cls, network: EmbeddingNetwork) -> "WithFeatures":
        """The same network, its tensors shared and under the same names."""
        watched = copy.copy(network)
        watched.__class__ = cls
        assert isinstance(watched, cls)
        return watched

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]  # two outputs
        """Embed a batch of one shape: (N, dimension) and (N, channels, h, w)."""
        features = self.features(images)
        return unit_length(self.project_pooled(self.pooling(features))), features
