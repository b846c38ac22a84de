"""timm's convolutional networks as backbones, under the name "timm/NAME"."""

import difflib
import importlib
from functools import cache
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional

from reid_runtime.install import install_line
from training.models import torchvision as _torchvision  # noqa: F401  timm imports torchvision, which may need what this declares
from training.models.base import Backbone, BackboneError, Tensors

PREFIX = "timm/"

_SMALLEST = 32
_PROBES = ((96, 64), (131, 197))
_ONE_PIXEL = (1, 96)


@cache
def timm_backbone(name: str) -> Backbone:
    """The backbone "timm/NAME" (or "timm/NAME.TAG", of timm's several weights), tried once at several sizes.

    Raises BackboneError without timm, for an unknown name, and for a network that is no trunk: whose output is not
    (N, channels, h, w), or that does not take any height and width (most transformers).
    """
    model = name.removeprefix(PREFIX)
    timm = _library()
    if not timm.is_model(model):
        nearest = difflib.get_close_matches(model, timm.list_models(), n=1)
        hint = f"did you mean {PREFIX + nearest[0]!r}?" if nearest else "timm.list_models() has them all"
        raise BackboneError(f"timm {timm.__version__} has no model {model!r}; {hint}")
    # Trying it must not move the random numbers that the network's own weights are drawn from.
    with torch.random.fork_rng(devices=[]):
        try:
            trunk = _create(model).eval()
        except Exception as error:  # whatever timm's many constructors raise
            raise BackboneError(f"timm cannot build {model!r} without its head: {error}") from error
        channels = _channels(trunk, name)
        prepare = _nothing if _takes_one_pixel(trunk) else _repeat_edges_first
        if not _takes_one_pixel(prepare(trunk)):
            raise BackboneError(f"{name} cannot be a backbone, it fails on images that are one pixel high or wide")

    def published() -> Tensors:
        with torch.random.fork_rng(devices=[]):
            return _create(model, pretrained=True).state_dict()

    expects = trunk.pretrained_cfg
    mean, deviation = tuple(expects["mean"]), tuple(expects["std"])  # type: ignore[index]
    return Backbone(name, channels, lambda: prepare(_create(model)), published, mean, deviation)


def _library() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise BackboneError(f'backbones "{PREFIX}NAME" need timm: {install_line("timm")}') from error


def _create(model: str, pretrained: bool = False) -> nn.Module:
    created: nn.Module = _library().create_model(model, pretrained=pretrained, num_classes=0, global_pool="")
    return created


def _channels(trunk: nn.Module, name: str) -> int:
    """How many channels its map has; raises BackboneError where the output is no map that grows with the image."""
    shapes = []
    for height, width in _PROBES:
        try:
            shapes.append(_map_shape(trunk, (height, width)))
        except Exception as error:  # whatever its layers raise
            raise BackboneError(
                f"{name} cannot be a backbone, it does not take images of any size: {height}x{width} pixels give "
                f"{str(error)[:200]!r}; take a convolutional network"
            ) from error
    first, second = shapes
    if not (len(first) == len(second) == 4 and first[1] == second[1] and first[2] < second[2] and first[3] < second[3]):
        raise BackboneError(
            f"{name} cannot be a backbone, expected a map (N, channels, h, w) that grows with the image; "
            f"{' and '.join(f'{height}x{width}' for height, width in _PROBES)} pixels give {first} and {second}"
        )
    return first[1]


def _map_shape(trunk: nn.Module, size: tuple[int, int]) -> tuple[int, ...]:
    with torch.inference_mode():
        features = trunk(torch.zeros(1, 3, *size))
    if not isinstance(features, torch.Tensor):
        raise TypeError(f"{type(features).__name__} instead of one tensor")
    return tuple(features.shape)


def _takes_one_pixel(trunk: nn.Module) -> bool:
    try:
        _map_shape(trunk, _ONE_PIXEL)
    except Exception:  # whatever its layers raise
        return False
    return True


def _nothing(trunk: nn.Module) -> nn.Module:
    return trunk


def _repeat_edges_first(trunk: nn.Module) -> nn.Module:
    # A hook rather than a module around it: the parameters keep their names.
    trunk.register_forward_pre_hook(_repeat_edges)
    return trunk


def _repeat_edges(trunk: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """Images less than 32 pixels high or wide, which the trunk cannot take, with their last row and column repeated."""
    (images,) = inputs
    height, width = images.shape[2:]
    # max() would decide at export, once and for all, which of the two it is.
    right, below = (torch.sym_max(0, _SMALLEST - side) for side in (width, height))  # type: ignore[no-untyped-call]
    return functional.pad(images, (0, right, 0, below), mode="replicate")
