"""The convolutional trunks, by name, and their initialisation from ImageNet weights.

torchvision's have short names ("resnet50"); "timm/NAME" is any of timm's convolutional networks, without its head.
"""

import difflib
from pathlib import Path

from torch import nn

from training.models.timm import PREFIX, timm_backbone
from training.models.trunks import BACKBONES, Backbone, BackboneError, Tensors
from training.models.weights import read_weights, under_own_names

PUBLISHED = "imagenet"
"""Given in the place of a file of weights: the published ones."""


def backbone(name: str) -> Backbone:
    """The backbone of that name, or a BackboneError that names the nearest one."""
    if name.startswith(PREFIX):
        return timm_backbone(name)
    if name not in BACKBONES:
        nearest = difflib.get_close_matches(name, BACKBONES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(BACKBONES)}, and {PREFIX}NAME"
        raise BackboneError(f"no backbone is called {name!r}; {hint}")
    return BACKBONES[name]


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
