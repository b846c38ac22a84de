"""The losses, and their registries: a new one is a class and an entry here, and its name in the recipe.

They take vectors, (N, D) and, but for `LinearClassifier`, of unit length. With each loss comes its agreement, 1 where
everything is as it should be, for people to watch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from training.recipe import Classification, Ranking


class TripletLoss(nn.Module):
    """The paper's: 1/2 max(0, m + |q - d+|^2 - |q - d-|^2), with the margin m.

    On unit vectors it equals max(0, m/2 + q.d- - q.d+). Source: Almazán et al., Re-ID done right, 2018.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(
        self, query: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((N,) losses, (N,) whether the positive is nearer than the negative); row i of all three is triplet i."""
        near = (query - positive).square().sum(dim=1)
        far = (query - negative).square().sum(dim=1)
        return 0.5 * (self.margin + near - far).clamp_min(0), near < far


class IdentityClassifier(nn.Module):
    """One unit direction per identity; the logits are scaled cosines to it, the right one's less a margin.

    Source: Wang et al., Additive margin softmax for face verification, 2018.
    """

    def __init__(self, dimension: int, identities: int, scale: float, margin: float, label_smoothing: float) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(identities, dimension) * 0.01)
        self.scale, self.margin, self.label_smoothing = scale, margin, label_smoothing

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, accuracy), both scalar; labels (N,) are class numbers."""
        cosines = embeddings @ functional.normalize(self.directions, dim=1).T
        accuracy = (cosines.argmax(1) == labels).float().mean()
        margins = self.margin * functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
        logits = self.scale * (cosines - margins)
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), accuracy


class LinearClassifier(nn.Module):
    """One weight vector per identity; the logits are its products with (N, D) vectors of any length.

    Source: Luo et al., Bag of tricks and a strong baseline for deep person re-identification, 2019.
    """

    def __init__(self, dimension: int, identities: int, label_smoothing: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(identities, dimension) * 0.01)
        self.label_smoothing = label_smoothing

    def forward(self, vectors: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, accuracy), both scalar; labels (N,) are class numbers."""
        logits = vectors @ self.weight.T
        accuracy = (logits.argmax(1) == labels).float().mean()
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), accuracy


class TeacherVectors(nn.Module):
    """Distillation: every image has the unit vector that a better model gives it; the loss is 1 - cosine to that.

    `relations` times the mean absolute difference of the similarities of a batch's images among each other, theirs and
    the teacher's, is added (Park et al., Relational knowledge distillation, 2019).
    """

    vectors: torch.Tensor

    def __init__(self, vectors: torch.Tensor, relations: float = 0.0) -> None:
        """`vectors`: (images, D), of unit length."""
        super().__init__()
        # Not part of the state: the run folder keeps the teacher's vectors in files of their own.
        self.register_buffer("vectors", vectors, persistent=False)
        self.relations = relations

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, mean cosine), both scalar; labels (N,) are the images' row numbers."""
        targets = self.vectors[labels]
        cosine = (embeddings * targets).sum(dim=1).mean()
        loss = 1 - cosine
        if self.relations:
            loss = loss + self.relations * (embeddings @ embeddings.T - targets @ targets.T).abs().mean()
        return loss, cosine.detach()


@dataclass(frozen=True)
class Classifier:
    """One choice of [classification] 'classifier'."""

    make: Callable[[int, int, Classification], nn.Module]
    """(dimension, identities, the recipe's table) to a module of (vectors (N, D), labels (N,)) to (loss, accuracy)."""
    unit_length: bool
    """Whether it takes vectors of unit length; else those that they are made from, behind batch normalisation."""


def _cosine(dimension: int, identities: int, choices: Classification) -> nn.Module:
    return IdentityClassifier(dimension, identities, choices.scale, choices.margin, choices.label_smoothing)


def _bnneck(dimension: int, identities: int, choices: Classification) -> nn.Module:
    return LinearClassifier(dimension, identities, choices.label_smoothing)


CLASSIFIERS = {"bnneck": Classifier(_bnneck, unit_length=False), "cosine": Classifier(_cosine, unit_length=True)}

RANKING_LOSSES: dict[str, Callable[[Ranking], nn.Module]] = {"triplet": lambda choices: TripletLoss(choices.margin)}
"""By [ranking] 'loss': modules of (query, positive, negative), each (N, D), to ((N,) losses, (N,) agreement)."""
