"""What the stages want of a vector. Each objective takes (N, D) unit vectors and the crops' labels, and gives
(loss, agreement), both scalar; agreement is 1 where everything is as it should be, and is for people to watch."""

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
        """(loss, accuracy); labels (N,) are class numbers."""
        cosines = embeddings @ functional.normalize(self.directions, dim=1).T
        accuracy = (cosines.argmax(1) == labels).float().mean()
        margins = self.margin * functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        logits = self.scale * (cosines - margins)
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), accuracy


class TeacherVectors(nn.Module):
    """Distillation: every crop has the unit vector that a better model gives it; the loss is 1 - cosine to that."""

    vectors: torch.Tensor

    def __init__(self, vectors: torch.Tensor) -> None:
        """`vectors`: (crops, D), of unit length."""
        super().__init__()
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, mean cosine); labels (N,) are the crops' row numbers."""
        cosine = (embeddings * self.vectors[labels]).sum(dim=1).mean()
        return 1 - cosine, cosine.detach()
