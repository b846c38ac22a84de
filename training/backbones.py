"""The convolutional trunks, by name, and their initialisation from ImageNet weights.

A backbone maps (N, 3, H, W) float to (N, channels, h, w), H and W free. Parameter names are torchvision's, so
that published weights load as they are.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from reid_runtime.errors import ReidRuntimeError
from training._torchvision import mobilenetv2, resnet


class BackboneError(ReidRuntimeError):
    """An unknown backbone, or weights that do not belong to it."""


class _ResNetTrunk(resnet.ResNet):  # type: ignore[misc]  # torchvision has no types
    def __init__(self, block: type, layers: Sequence[int]) -> None:
        super().__init__(block, list(layers))
        del self.avgpool, self.fc

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
        return features


class _MobileNetV2Trunk(mobilenetv2.MobileNetV2):  # type: ignore[misc]  # torchvision has no types
    def __init__(self) -> None:
        super().__init__()
        del self.classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.features(images)
        return features


def _resnet(block: type, layers: Sequence[int]) -> Callable[[], nn.Module]:
    return lambda: _ResNetTrunk(block, layers)


def _resnet50_original() -> nn.Module:
    trunk = _ResNetTrunk(resnet.Bottleneck, (3, 4, 6, 3))
    for stage in (trunk.layer2, trunk.layer3, trunk.layer4):
        first = stage[0]
        first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
    return trunk


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry: how to build a trunk, and how many channels it gives."""

    name: str
    channels: int
    build: Callable[[], nn.Module]


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("mobilenetv2", 1280, _MobileNetV2Trunk),
        Backbone("resnet18", 512, _resnet(resnet.BasicBlock, (2, 2, 2, 2))),
        Backbone("resnet50", 2048, _resnet(resnet.Bottleneck, (3, 4, 6, 3))),
        # He et al.'s own layout, with the stride in the first 1x1 convolution: same names and shapes as
        # torchvision's, other features. Weights made for one give wrong features in the other.
        Backbone("resnet50-original", 2048, _resnet50_original),
        Backbone("resnet101", 2048, _resnet(resnet.Bottleneck, (3, 4, 23, 3))),
        Backbone("resnet152", 2048, _resnet(resnet.Bottleneck, (3, 8, 36, 3))),
    )
}


def backbone(name: str) -> Backbone:
    """The registry's entry of that name, or a BackboneError that names the nearest one."""
    if name not in BACKBONES:
        nearest = difflib.get_close_matches(name, BACKBONES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(BACKBONES)}"
        raise BackboneError(f"no backbone is called {name!r}; {hint}")
    return BACKBONES[name]


_MOBILENET_BLOCK = re.compile(r"(features\.\d+\.conv)\.(\d+)\.(?:(\d+)\.)?(\w+)")


def _flat_name(name: str) -> str:
    """A MobileNetV2 tensor's name as published before torchvision nested convolution, norm and ReLU6 in threes."""
    match = _MOBILENET_BLOCK.fullmatch(name)
    if match is None:
        return name
    block, outer, inner, leaf = match.groups()
    # The first block has one nested triple before the last convolution and its norm, every other block two.
    triples = 1 if block == "features.1.conv" else 2
    flat = 3 * int(outer) + int(inner) if inner else 2 * triples + int(outer)
    return f"{block}.{flat}.{leaf}"


def initialise(trunk: nn.Module, name: str, weights: Path) -> None:
    """Load ImageNet weights (safetensors, torchvision's names) into a trunk, in place; heads are left out.

    Raises BackboneError when the file cannot be read, lacks a tensor or has one of another shape, or says
    that it was made for ResNet's original stride while the trunk has torchvision's.
    """
    try:
        with safe_open(weights, "pt") as file:
            note = (file.metadata() or {}).get("stride", "")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
    except (OSError, SafetensorError) as error:
        raise BackboneError(f"{weights}: expected a safetensors file of ImageNet weights: {error}") from error
    if "first 1x1" in note and name == "resnet50":
        raise BackboneError(
            f"{weights} was trained with the stride in the first 1x1 convolution, {name!r} has it in the 3x3: "
            "the features would be shifted without an error; use backbone 'resnet50-original'"
        )
    expected = trunk.state_dict()
    if name == "mobilenetv2" and "features.1.conv.0.weight" in tensors:
        tensors = {key: tensors[_flat_name(key)] for key in expected if _flat_name(key) in tensors}
    missing = [key for key in expected if key not in tensors]
    if missing:
        raise BackboneError(f"{weights} lacks {len(missing)} of {name}'s tensors, the first is {missing[0]!r}")
    for key, tensor in expected.items():
        if tensors[key].shape != tensor.shape:
            raise BackboneError(
                f"{weights}: {key!r} has shape {tuple(tensors[key].shape)}, {name} expects {tuple(tensor.shape)}"
            )
    trunk.load_state_dict({key: tensors[key].to(tensor.dtype) for key, tensor in expected.items()})
