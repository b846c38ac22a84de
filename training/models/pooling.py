"""The registry of global poolings: a new one is a module, a line in POOLINGS, and its name in the recipe."""

from collections.abc import Callable

import torch
from torch import nn

from reid_runtime.errors import ReidRuntimeError
from training.models.spatial_pooling import SpatialWeights
from training.registry import look_up


class PoolingError(ReidRuntimeError):
    """An unknown pooling."""


class GlobalMax(nn.Module):
    """(N, C, h, w) to (N, C): each channel's largest value."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool a map of any height and width."""
        # Not max_pool2d over the whole map: its exported window would have one map's size for ever.
        return features.amax((2, 3))


class GlobalAverage(nn.Module):
    """(N, C, h, w) to (N, C): each channel's mean."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool a map of any height and width."""
        return features.mean((2, 3))


class GeneralisedMean(nn.Module):
    """(N, C, h, w) to (N, C): mean(x^p)^(1/p), p learnt (Radenović et al., 2018). p = 1 is the mean, a large p the max.

    In float32, which autocast leaves alone in all that is done here: at p = 3, float16 overflows above 40.3.
    """

    SMALLEST = 1e-6

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool a map of any height and width."""
        raised = features.float().clamp_min(self.SMALLEST) ** self.p
        pooled: torch.Tensor = raised.mean((2, 3)) ** (1.0 / self.p)
        return pooled


POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "max": lambda channels: GlobalMax(),
    "average": lambda channels: GlobalAverage(),
    "gem": lambda channels: GeneralisedMean(),
    "spatial": SpatialWeights,
}
"""By name, what makes one for so many channels."""


def global_pooling(name: str, channels: int) -> nn.Module:
    """The pooling of that name for (N, channels, h, w) maps, or a PoolingError that names the nearest one."""
    return look_up(POOLINGS, name, "pooling", PoolingError)(channels)
