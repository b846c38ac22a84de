"""The paper's network: trunk, global pooling, fully connected layer, unit length.

It takes pixels, not normalised floats: the cast and the mean and deviation that the backbone expects are part of the
network, so that training, evaluation and every export share one path and nobody can feed it the wrong thing.
"""

from collections.abc import Mapping

import torch
from torch import nn

from training.models.backbones import backbone
from training.models.base import IMAGENET_DEVIATION, IMAGENET_MEAN
from training.models.pooling import global_pooling


class EmbeddingNetwork(nn.Module):
    """(N, H, W, 3) uint8 RGB to (N, dimension) float32 of unit length; H and W are free."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, backbone_name: str, dimension: int, pooling: str = "max", activation: str = "none") -> None:
        super().__init__()
        entry = backbone(backbone_name)
        pool = global_pooling(pooling, entry.channels)
        self.trunk = entry.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.pooling = pool
        self.projection = nn.Linear(entry.channels, dimension)
        self.activation = last_layers(activation, dimension)
        self.neck: nn.Module = nn.Identity()
        """A stage's own, while it trains: see `add_neck`."""
        mean = torch.tensor(entry.mean) * 255.0
        scale = 1.0 / (torch.tensor(entry.deviation) * 255.0)
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.reshape(1, 3, 1, 1), persistent=False)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """A batch of one shape to the trunk's maps, (N, channels, h, w)."""
        # Cast first, then transpose: TensorRT refuses to transpose uint8.
        pixels = images.float().permute(0, 3, 1, 2)
        maps: torch.Tensor = self.trunk((pixels - self.mean) * self.scale)
        return maps

    def pool(self, images: torch.Tensor) -> torch.Tensor:
        """A batch of one shape to what the fully connected layer takes, (N, channels)."""
        pooled: torch.Tensor = self.pooling(self.features(images))
        return pooled

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """A batch of one shape, before its vectors become of unit length."""
        return self.project_pooled(self.pool(images))

    def project_pooled(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, channels) to vectors, before these become of unit length."""
        projected: torch.Tensor = self.neck(self.activation(self.projection(pooled).float()))
        return projected

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed a batch of one shape."""
        return unit_length(self.project(images))


def last_layers(activation: str, dimension: int) -> nn.Module:
    """What follows the fully connected layer: nothing, PReLU, or PReLU and a matrix, as whitening puts it there."""
    if activation == "prelu, linear":
        return nn.Sequential(nn.PReLU(), nn.Linear(dimension, dimension, bias=False))
    return nn.PReLU() if activation == "prelu" else nn.Identity()


def unit_length(vectors: torch.Tensor) -> torch.Tensor:
    """(N, D) vectors by their norms."""
    # functional.normalize would read the input's shape a second time in the exported graph.
    unit: torch.Tensor = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min(1e-12)
    return unit


def add_neck(network: EmbeddingNetwork) -> None:
    """Put batch normalisation behind the fully connected layer, in place; `fold_neck` takes it out again.

    Its bias stays 0, as in Luo et al., Bag of tricks and a strong baseline for deep person re-identification, 2019.
    """
    neck = nn.BatchNorm1d(network.projection.out_features, device=network.projection.weight.device)
    neck.bias.requires_grad_(False)
    network.neck = neck


def fold_neck(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A network's tensors by name, as they are; those of a batch normalisation behind its fully connected layer
    become part of that layer, which then gives the same numbers alone."""
    plain = {name: tensor for name, tensor in tensors.items() if not name.startswith("neck.")}
    if len(plain) == len(tensors):
        return plain
    deviation = torch.sqrt(tensors["neck.running_var"].double() + nn.BatchNorm1d(1).eps)
    scale = tensors["neck.weight"] / deviation
    weight, bias = tensors["projection.weight"].double(), tensors["projection.bias"].double()
    plain["projection.weight"] = (scale[:, None] * weight).float()
    plain["projection.bias"] = (scale * (bias - tensors["neck.running_mean"]) + tensors["neck.bias"]).float()
    return plain


def graph_recipe(backbone_name: str, pooling: str, activation: str = "none") -> str:
    """What a network computes, in words: part of what fixes its embedding space, and so of the contract's id."""
    entry = backbone(backbone_name)
    if (entry.mean, entry.deviation) == (IMAGENET_MEAN, IMAGENET_DEVIATION):
        normalisation = "ImageNet mean and deviation"
    else:
        normalisation = f"mean {' '.join(map(str, entry.mean))} and deviation {' '.join(map(str, entry.deviation))}"
    last = {"none": "", "prelu": ", PReLU", "prelu, linear": ", PReLU, linear"}[activation]
    return f"{backbone_name}: uint8 NHWC RGB, {normalisation}, global {pooling} pooling, fully connected{last}, L2"
