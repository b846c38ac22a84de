"""A trunk's first weights: third-party files, read safely and translated to its own names, or the published ones."""

import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from training.models.backbones import backbone
from training.models.base import Backbone, BackboneError, Tensors

PUBLISHED = "imagenet"
"""Given in the place of a file of weights: the published ones."""

_SAME_PADDING = "timm/tf_efficientnet_lite0"

_MOBILENET_BLOCK = re.compile(r"(features\.\d+\.conv)\.(\d+)\.(?:(\d+)\.)?(\w+)")

_LITE0_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_LITE0_OUTSIDE = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
_LITE0_FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_LITE0_BLOCK = {
    "conv_pw": "_expand_conv", "bn1": "_bn0",
    "conv_dw": "_depthwise_conv", "bn2": "_bn1",
    "conv_pwl": "_project_conv", "bn3": "_bn2",
}  # fmt: skip


def initialise(trunk: nn.Module, name: str, weights: Path | str) -> None:
    """Load ImageNet weights into a trunk, in place; heads are left out.

    `weights` is a file, safetensors or a .pth state dict, with the names of the library that the backbone comes from;
    or the word "imagenet", for the published weights (torchvision's first version, timm's default), which are
    downloaded once into their library's own cache.

    Raises BackboneError when the file cannot be read or the download fails, where a tensor lacks or has another
    shape, and where the file is known to be made for other strides or padding than the trunk's.
    """
    if str(weights) == PUBLISHED:
        tensors, note = _published(backbone(name)), ""
    else:
        tensors, note = read_weights(Path(weights))
    if "first 1x1" in note and name == "resnet50":
        raise BackboneError(
            f"{weights} was trained with the stride in the first 1x1 convolution, {name!r} has it in the 3x3: "
            "the features would be shifted without an error; use backbone 'resnet50-original'"
        )
    expected = trunk.state_dict()
    tensors = under_own_names(tensors, expected, name)
    # Old files lack the norms' counters of batches, which nothing here reads.
    missing = [key for key in expected if key not in tensors and not key.endswith("num_batches_tracked")]
    if missing:
        raise BackboneError(f"{weights} lacks {len(missing)} of {name}'s tensors, the first is {missing[0]!r}")
    placed = {key: tensors.get(key, tensor) for key, tensor in expected.items()}
    for key, tensor in expected.items():
        if placed[key].shape != tensor.shape:
            raise BackboneError(
                f"{weights}: {key!r} has shape {tuple(placed[key].shape)}, {name} expects {tuple(tensor.shape)}"
            )
    trunk.load_state_dict({key: placed[key].to(tensor.dtype) for key, tensor in expected.items()})


def _published(entry: Backbone) -> Tensors:
    try:
        return entry.published()
    except BackboneError:
        raise
    except Exception as error:  # each library's downloads fail in their own ways
        raise BackboneError(
            f"the published ImageNet weights of {entry.name!r} are not to be had here: {error!s:.300}; download them "
            "where there is a network and pass the file, --weights FILE"
        ) from error


def read_weights(path: Path) -> tuple[Tensors, str]:
    """The tensors in a file, and where a note in it says so, which of ResNet's strides they were trained with.

    Raises BackboneError for a file that is neither safetensors nor a plain state dict.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(9)
        # A safetensors file begins with a length of eight bytes, which may be any, and a brace.
        pickled = head[:2] in (b"PK", b"\x80\x02") and head[8:] != b"{"
        return (_plain_state_dict(path), "") if pickled else _safetensors(path)
    except (OSError, SafetensorError) as error:
        raise BackboneError(
            f"{path}: expected ImageNet weights, as safetensors or as a .pth state dict: {error}"
        ) from error


def _safetensors(path: Path) -> tuple[Tensors, str]:
    with safe_open(path, "pt") as file:
        note = (file.metadata() or {}).get("stride", "")
        return {key: file.get_tensor(key) for key in file.keys()}, note  # noqa: SIM118  not a dict


def _plain_state_dict(path: Path) -> Tensors:
    try:
        # weights_only: nothing in the file is run.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle raises anything
        raise BackboneError(
            f"{path}: expected a .pth with a state dict of tensors and nothing else; other pickles can run code and "
            f"are not opened. Where you trust it, save its state_dict() with safetensors.torch.save_file. torch says: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        holds = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
        raise BackboneError(f"{path}: expected a state dict, tensors by name, found {holds}")
    return content


def under_own_names(tensors: Tensors, expected: Tensors, name: str) -> Tensors:
    """The tensors under the backbone's own names, where they have names that this knows how to translate."""
    if name == "mobilenetv2" and "features.1.conv.0.weight" in tensors:
        names = {key: _flat_name(key) for key in expected}
    elif "_conv_stem.weight" in tensors and name.startswith("timm/"):
        if name != _SAME_PADDING:
            raise BackboneError(
                "these weights are EfficientNet-Lite0's as TensorFlow trained it, with its 'same' padding: in "
                f"{name!r} the features would be shifted without an error; use backbone {_SAME_PADDING!r}"
            )
        names = {key: lite0_name(key) for key in expected}
    else:
        return tensors
    return {key: tensors[theirs] for key, theirs in names.items() if theirs in tensors}


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


def lite0_name(name: str) -> str:
    """timm's name of an EfficientNet-Lite0 tensor as the package efficientnet-lite-pytorch has it.

    That package counts blocks through, norms from 0 in each block, and calls the convolutions by what they do.
    Its input is (x - 0.498) / 0.502 where timm's is (x - 0.5) / 0.5: at most 0.008 apart, which is left as it is.
    """
    parts = name.split(".")
    if parts[0] != "blocks":
        return ".".join((_LITE0_OUTSIDE[parts[0]], *parts[1:]))
    stage, block, layer, leaf = int(parts[1]), int(parts[2]), parts[3], parts[4]
    index = sum(_LITE0_REPEATS[:stage]) + block
    return f"_blocks.{index}.{(_LITE0_BLOCK if index else _LITE0_FIRST)[layer]}.{leaf}"
