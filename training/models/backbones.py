"""The registry of backbones: a new one is a function that builds its trunk, and a line in BACKBONES.

torchvision's have short names ("resnet50"); "timm/NAME" is any of timm's convolutional networks, without its head.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from training.models.base import Backbone, BackboneError, Tensors
from training.models.osnet import WIDTHS, OSNet, Width
from training.models.timm import PREFIX, timm_backbone
from training.models.torchvision import mobilenetv2, resnet
from training.registry import look_up


def backbone(name: str) -> Backbone:
    """The backbone of that name, or a BackboneError that names the nearest one."""
    if name.startswith(PREFIX):
        return timm_backbone(name)
    return look_up(BACKBONES, name, "backbone", BackboneError, more=f", and {PREFIX}NAME")


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


def _torchvision(weights: type) -> Callable[[], Tensors]:
    # The first version: the training of the papers' time. The second's longer one (label smoothing, mixed images)
    # scores higher on ImageNet, with features that are known to transfer less well.
    def published() -> Tensors:
        first = weights["IMAGENET1K_V1"]  # type: ignore[index]  # an Enum
        tensors: Tensors = first.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
        return tensors

    return published


def _osnet(width: Width) -> Callable[[], nn.Module]:
    return lambda: OSNet(width)


def _no_osnet() -> Tensors:
    raise BackboneError(
        "nobody publishes ImageNet weights of these OSNets, which have no batch normalisation: pass a file, --weights "
        "FILE, or start from a converted network, --start FILE"
    )


def _nothing_published() -> Tensors:
    raise BackboneError(
        "nobody publishes 'resnet50-original' in this form (torchvision's ResNet-50 has the stride in the 3x3 "
        "convolution): pass a file, --weights FILE, or take the backbone 'resnet50'"
    )


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("mobilenetv2", 1280, _MobileNetV2Trunk, _torchvision(mobilenetv2.MobileNet_V2_Weights)),
        Backbone("resnet18", 512, _resnet(resnet.BasicBlock, (2, 2, 2, 2)), _torchvision(resnet.ResNet18_Weights)),
        Backbone("resnet50", 2048, _resnet(resnet.Bottleneck, (3, 4, 6, 3)), _torchvision(resnet.ResNet50_Weights)),
        # He et al.'s own layout, with the stride in the first 1x1 convolution: same names and shapes as
        # torchvision's, other features. Weights made for one give wrong features in the other.
        Backbone("resnet50-original", 2048, _resnet50_original, _nothing_published),
        Backbone("resnet101", 2048, _resnet(resnet.Bottleneck, (3, 4, 23, 3)), _torchvision(resnet.ResNet101_Weights)),
        Backbone("resnet152", 2048, _resnet(resnet.Bottleneck, (3, 8, 36, 3)), _torchvision(resnet.ResNet152_Weights)),
        *(Backbone(name, width.channels, _osnet(width), _no_osnet) for name, width in WIDTHS.items()),
    )
}
