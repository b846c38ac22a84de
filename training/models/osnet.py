"""OSNet trunks at four widths, as Open Model Zoo's person-reidentification-retail networks have them.

Source: Zhou et al., Omni-scale feature learning for person re-identification, 2019: blocks of four streams that see 3,
5, 7 and 9 pixels, weighed channel by channel and summed. Two things differ from the paper, as they do in retail-0277,
0286, 0287 and 0288: the stem normalises each image by its own statistics, before and after the first convolution, and
the second block of each stage weighs its channels after Ruan et al., Linear context transform block, 2020. Batch
normalisation is part of the convolutions, as in a network that is deployed: an image's vector never depends on its
batch, in training neither.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

EPSILON = 1e-5
STREAMS = (1, 2, 3, 4)
"""Light convolutions in each stream of a block."""
_SQUEEZE = 16


@dataclass(frozen=True)
class Width:
    """How wide a trunk is: the channels that each stage gives, and those of its streams."""

    stem: int
    stages: tuple[int, int, int]
    """Of each stage's output; its streams have a quarter."""

    @property
    def channels(self) -> int:
        """Of the trunk's map."""
        return self.stages[-1]


WIDTHS = {
    "osnet-1.0": Width(64, (256, 384, 512)),
    "osnet-0.75": Width(48, (192, 288, 384)),
    "osnet-0.5": Width(32, (128, 192, 256)),
    "osnet-0.25": Width(16, (64, 96, 128)),
}
"""By the backbone's name, the share of the paper's channels."""


class ImageNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1 over its pixels, then scaled and moved.

    Not torch's InstanceNorm2d, which refuses a map of one pixel.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to the same."""
        mean = features.mean((2, 3), keepdim=True)
        centred = features - mean
        variance = centred.square().mean((2, 3), keepdim=True)
        scale = self.weight.reshape(1, -1, 1, 1) * torch.rsqrt(variance + EPSILON)
        return centred * scale + self.bias.reshape(1, -1, 1, 1)


class LightConvolution(nn.Module):
    """A pointwise and a depthwise 3x3 convolution, then ReLU: the paper's Lite 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to the same."""
        return functional.relu(self.depthwise(self.pointwise(features)))


class SqueezeGate(nn.Module):
    """Weighs channels by two fully connected layers on their means: the paper's aggregation gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(1, channels // _SQUEEZE), 1)
        self.excite = nn.Conv2d(max(1, channels // _SQUEEZE), channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to the same."""
        means = features.mean((2, 3), keepdim=True)
        return features * torch.sigmoid(self.excite(functional.relu(self.squeeze(means))))


class ContextGate(nn.Module):
    """Weighs channels by their means, normalised within groups of channels (Ruan et al., 2020)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to the same."""
        means = features.mean((2, 3))
        grouped = means.reshape(-1, self.groups, means.shape[1] // self.groups)
        centred = grouped - grouped.mean(2, keepdim=True)
        variance = centred.square().mean(2, keepdim=True)
        normalised = (centred * torch.rsqrt(variance + EPSILON)).flatten(1)
        gate = torch.sigmoid(normalised * self.weight + self.bias)
        return features * gate[:, :, None, None]


class Block(nn.Module):
    """Four streams between two pointwise convolutions, and around them what came in."""

    def __init__(self, channels_in: int, channels: int, gate: nn.Module) -> None:
        super().__init__()
        middle = channels // 4
        self.reduce = nn.Conv2d(channels_in, middle, 1)
        self.streams = nn.ModuleList(
            nn.Sequential(*(LightConvolution(middle) for _ in range(length))) for length in STREAMS
        )
        self.gate = gate
        self.expand = nn.Conv2d(middle, channels, 1)
        self.shortcut = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, h, w) to (N, channels, h, w)."""
        reduced = functional.relu(self.reduce(features))
        first, *others = self.streams
        summed = self.gate(first(reduced))
        for stream in others:
            summed = summed + self.gate(stream(reduced))
        return functional.relu(self.expand(summed) + self.shortcut(features))


class OSNet(nn.Module):
    """(N, 3, H, W) float to (N, channels, h, w), a pixel of the map for each 16x16 of the image or part of them."""

    def __init__(self, width: Width) -> None:
        super().__init__()
        self.image_norm = ImageNorm(3)
        self.stem = nn.Conv2d(3, width.stem, 7, stride=2, padding=3, bias=False)
        self.stem_norm = ImageNorm(width.stem)
        stages: list[nn.Module] = []
        before = width.stem
        for channels in width.stages:
            middle = channels // 4
            stages += [
                Block(before, channels, SqueezeGate(middle)),
                Block(channels, channels, ContextGate(middle, context_groups(middle))),
                nn.Conv2d(channels, channels, 1),
            ]
            before = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images of one shape, any height and width."""
        features = functional.relu(self.stem_norm(self.stem(self.image_norm(images))))
        features = functional.max_pool2d(features, 3, stride=2, padding=1)
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if isinstance(stage, nn.Conv2d):
                features = functional.relu(features)
                if index + 1 < len(self.stages):
                    # Up, so that nothing at an edge is dropped and one pixel stays one: where sides are even, the
                    # map is that of the original, which rounds down.
                    features = functional.avg_pool2d(features, 2, ceil_mode=True, count_include_pad=False)
        return features


def context_groups(channels: int) -> int:
    """Into how many groups a context gate puts its channels."""
    return 16 if channels % 16 == 0 else 8
