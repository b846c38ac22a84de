"""What a backbone is: a convolutional trunk, its published weights, and the input that these expect.

A trunk maps (N, 3, H, W) float to (N, channels, h, w), H and W free. Parameter names are those of the library that
it comes from, so that published weights load as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from reid_runtime.errors import ReidRuntimeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

Tensors = Mapping[str, torch.Tensor]


class BackboneError(ReidRuntimeError):
    """An unknown backbone, one that cannot be used, or weights that do not belong to it."""


@dataclass(frozen=True)
class Backbone:
    """One backbone: how to build its trunk, how many channels that gives, and what its published weights expect."""

    name: str
    channels: int
    build: Callable[[], nn.Module]
    """A trunk with random weights."""
    published: Callable[[], Tensors]
    """The tensors of its published ImageNet weights, from their usual cache or the network; raises what it likes."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of red, green, blue in [0, 1]; subtracted from the input that the weights were made for."""
    deviation: tuple[float, float, float] = IMAGENET_DEVIATION
    """What the difference is divided by."""
