"""What no longer learns: batch normalisation's statistics, and parts of the trunk."""

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_runtime.errors import ReidRuntimeError
from training.models.network import EmbeddingNetwork

MIN_BATCH = 8
"""Images of one shape that batch normalisation takes its statistics of; of fewer it uses those that it has."""


class FixedPartError(ReidRuntimeError):
    """A part of the trunk that is to stay as it is, and is not there."""


def freeze_batch_norm(network: nn.Module) -> None:
    """Let batch normalisation use the mean and variance that it has, in place; its weight and bias still learn.

    Images that go through one by one have no batch to take statistics of: one image's own mean and variance would
    erase what sets it apart from others, and their running average would be that of no batch that is ever seen.
    With frozen statistics an image's vector depends on that image alone, in training as in use, so gradients of
    images together and one by one are the same.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def freeze_parts(trunk: nn.Module, parts: Sequence[str]) -> None:
    """Take these parts of the trunk out of training, in place: their parameters have no gradients any more.

    Raises FixedPartError for a part that the trunk has not.
    """
    modules = dict(trunk.named_modules())
    for part in parts:
        if part not in modules:
            children = [name for name, _ in trunk.named_children()]
            nearest = difflib.get_close_matches(part, modules, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(children)}"
            raise FixedPartError(f"'fixed' names {part!r}, which the trunk has not; {hint}")
        modules[part].requires_grad_(False)


def keep_frozen(trunk: nn.Module, parts: Sequence[str]) -> None:
    """Let these parts compute as in use, in place, whatever mode the rest of the network is in."""
    for part in parts:
        trunk.get_submodule(part).eval()


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that `freeze_parts` has left in training."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@torch.no_grad()
def rescale_to_unit_variance(network: EmbeddingNetwork) -> int:
    """Scale, in place, each convolution so that the running variance after it is 1; how many were.

    The network computes what it did before. But while batch normalisation follows its batch it divides a channel's
    scale away, so that training and weight decay leave some with next to no variance (1e-7 and less); once frozen, it
    multiplies these, and the gradient's step with its square, by hundreds: a few updates at the paper's learning
    rate then undo what classification has learnt. With unit variances one learning rate fits every channel.
    """
    pairs = _normalised_convolutions(network)
    for convolution, norm in pairs:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        deviation = torch.sqrt(norm.running_var + norm.eps)
        convolution.weight /= deviation.reshape(-1, 1, 1, 1)
        if convolution.bias is not None:
            convolution.bias /= deviation
        norm.running_mean /= deviation
        norm.running_var.fill_(1 - norm.eps)
    return len(pairs)


def _normalised_convolutions(network: EmbeddingNetwork) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """Each convolution whose output goes into a batch normalisation: seen in one pass, for names tell nothing."""
    made: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, _BatchNorm]] = []

    def note(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = module, output  # kept, so that no other tensor gets its identity

    def pair(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(module, _BatchNorm)
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = [module.register_forward_hook(note) for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks += [module.register_forward_pre_hook(pair) for module in network.modules() if isinstance(module, _BatchNorm)]
    training = network.training
    try:
        network.eval()(torch.zeros(1, 64, 64, 3, dtype=torch.uint8, device=network.mean.device))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return pairs
