"""The paper's network: trunk, global max pooling, fully connected layer, unit length.

It takes pixels, not normalised floats: the cast and ImageNet's mean and deviation are part of the network,
so that training, evaluation and every export share one path and nobody can feed it the wrong thing.
"""

import torch
from torch import nn

from training.backbones import backbone

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class EmbeddingNetwork(nn.Module):
    """(N, H, W, 3) uint8 RGB to (N, dimension) float32 of unit length; H and W are free."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, backbone_name: str, dimension: int) -> None:
        super().__init__()
        entry = backbone(backbone_name)
        self.trunk = entry.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projection = nn.Linear(entry.channels, dimension)
        mean = torch.tensor(IMAGENET_MEAN) * 255.0
        scale = 1.0 / (torch.tensor(IMAGENET_DEVIATION) * 255.0)
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed a batch of one shape."""
        # Cast first, then transpose: TensorRT refuses to transpose uint8.
        pixels = images.float().permute(0, 3, 1, 2)
        features = self.trunk((pixels - self.mean) * self.scale)
        pooled = features.amax((2, 3))
        projected = self.projection(pooled).float()
        # functional.normalize would read the input's shape a second time in the exported graph.
        unit: torch.Tensor = projected / torch.linalg.vector_norm(projected, dim=1, keepdim=True).clamp_min(1e-12)
        return unit
