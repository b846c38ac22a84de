"""Several checkpoints of one network as one: the mean of their weights.

Runs that go on from one another end in different places of one valley, and its middle does better on people whom none
of them has seen, at the cost of a single network. After Izmailov et al., Averaging weights leads to wider optima and
better generalization, 2018. So does the mean of a network as it came and as it was adapted: Wortsman et al., Robust
fine-tuning of zero-shot models, 2022. Not in the paper.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from reid_runtime.errors import ReidRuntimeError
from training.run.checkpoint import Checkpoint, Progress

NAME = "average"


class AveragingError(ReidRuntimeError):
    """Checkpoints that have no mean."""


def average(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The mean of their weights, each counting alike, with the recipe and size of the last.

    Batch normalisation's statistics are no longer those of the weights: `training.models.bn_calibration` takes
    them anew. Raises AveragingError for fewer than two, other networks, and runs that do not hold out the same people;
    a network that no run here has trained, such as a converted one, has held out nobody.
    """
    if len(checkpoints) < 2:
        raise AveragingError(f"expected two checkpoints or more, found {len(checkpoints)}")
    last = checkpoints[-1]
    for other in checkpoints[:-1]:
        checks: list[tuple[str, object, object]] = [
            ("networks", replace(other.architecture, size=0), replace(last.architecture, size=0))
        ]
        if bool(other.progress.data) == bool(last.progress.data):
            checks += [
                ("seed and share of people held out", _held_out(other), _held_out(last)),
                ("training data", other.progress.data, last.progress.data),
            ]
        for what, actual, expected in checks:
            if actual != expected:
                raise AveragingError(f"expected checkpoints with the same {what}, found {actual} beside {expected}")
    weights = [checkpoint.weights() for checkpoint in checkpoints]
    seen = [one for checkpoint in checkpoints[:-1] for one in checkpoint.trained_on]
    return replace(
        last,
        trained_on=tuple(dict.fromkeys((*last.trained_on, *seen))),
        progress=Progress(NAME, 0, last.progress.data),
        tensors={f"network.{name}": _mean([one[name] for one in weights]) for name in weights[-1]},
    )


def _held_out(checkpoint: Checkpoint) -> tuple[int, float]:
    return checkpoint.recipe.seed, checkpoint.recipe.validation.share


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(tensors[-1].dtype)
