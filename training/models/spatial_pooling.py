"""Global pooling by weights that are learnt for each channel and place, over a map of any size."""

import torch
from torch import nn

KERNEL = (16, 8)
"""Height and width of the kernel: the map of an image of 256x128."""


class SpatialWeights(nn.Module):
    """(N, C, h, w) to (N, C): each channel's sum, weighed by where it lies, and a bias.

    The kernel is the global depthwise convolution of MobileFaceNets (Chen et al., 2018), which has the map's size and
    so nails a network to one size of image. Here it is resized bilinearly to the map, its half pixels aligned and its
    edges repeated, and multiplied by 16 * 8 / (h * w), so that the sum stays what it is. At 16x8 it is the kernel.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, *KERNEL), 1 / (KERNEL[0] * KERNEL[1])))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool a map of any height and width."""
        height, width = features.shape[2:]
        # Products with hat functions, not interpolate: no operator that engines lack or round in their own way. And
        # one product of two matrices, for OpenVINO has none of a stack of matrices with a matrix.
        rows = hats(height, KERNEL[0], features.device)
        columns = hats(width, KERNEL[1], features.device)
        weights = (rows[:, None, :, None] * columns[None, :, None, :]).reshape(height * width, -1)
        share = KERNEL[0] * KERNEL[1] / (height * width)
        kernel = (self.weight.flatten(1) @ weights.transpose(0, 1)) * share
        # Not flattened and summed over one axis: OpenVINO 2026.4 joins that sum with the bias, and gives the images of
        # a batch each other's.
        weighed = features * kernel.reshape(-1, height, width)
        pooled: torch.Tensor = weighed.sum((2, 3)) + self.bias
        return pooled


def hats(count: int, knots: int, device: torch.device) -> torch.Tensor:
    """(count, knots): what each of `knots` values contributes to each of `count` bilinear samples of them."""
    centres = (torch.arange(count, device=device, dtype=torch.float32) + 0.5) * (knots / count) - 0.5
    distances = centres.clamp(0, knots - 1)[:, None] - torch.arange(knots, device=device, dtype=torch.float32)
    return (1 - distances.abs()).clamp_min(0)
