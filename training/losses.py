"""The classification stage's loss: cross-entropy over cosines, so that it trains the vector that is deployed."""

import torch
from torch import nn
from torch.nn import functional


class IdentityClassifier(nn.Module):
    """One unit direction per identity; the logits are scaled cosines to it, the right one's less a margin.

    Source: Wang et al., Additive margin softmax for face verification, 2018.
    """

    def __init__(self, dimension: int, identities: int, scale: float, margin: float, label_smoothing: float) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(identities, dimension) * 0.01)
        self.scale, self.margin, self.label_smoothing = scale, margin, label_smoothing

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, accuracy), both scalar; embeddings (N, D) of unit length, labels (N,) class numbers."""
        cosines = embeddings @ functional.normalize(self.directions, dim=1).T
        accuracy = (cosines.argmax(1) == labels).float().mean()
        margins = self.margin * functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        logits = self.scale * (cosines - margins)
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), accuracy
