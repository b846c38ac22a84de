"""python -m benchmarks.step_sizes: a step of classification beside one of ranking, and which triplets have a loss."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from reid_runtime.cli import run
from reid_runtime.io.atomic import atomic_write
from training.data.training_set import TrainingCrops, load_training
from training.models.frozen import freeze_parts
from training.models.network import EmbeddingNetwork
from training.recipe import Architecture, Mining, Ranking, Recipe
from training.run.checkpoint import build, read_checkpoint
from training.run.cpu import repair_bfloat16
from training.run.entry import start_from
from training.run.trainer import FINAL, LAST
from training.stages.base import Stage, StageInputs
from training.stages.classification import classification_architecture, classification_stage
from training.stages.ranking import RankingStage

_CPU = torch.device("cpu")
_DRAWS = {
    "25 of 5,000": Mining(),
    "300 of 5,000": Mining(hardest=300),
    "25 of 1,000": Mining(pool=1000),
    "any pair": Mining(hardest=0),
}
Tensors = list[torch.Tensor]


@dataclass(frozen=True)
class Steps:
    """Of some updates, each from the same weights."""

    gradient: dict[str, float]
    """By part of the network, and of all of it: the mean Euclidean norm of the loss's gradient."""
    step: dict[str, float]
    """The norm of what the optimiser changes, as a share of the norm of the weights."""
    coherence: float
    """The mean cosine between the gradients of two updates; 0 for gradients that have nothing in common."""


@dataclass(frozen=True)
class Triplets:
    """What ranking draws: means over triplets."""

    active: float
    """The share with a loss."""
    wrong: float
    """The share whose negative is nearer than the positive."""
    loss: float
    positive: float
    """The cosine of query and positive."""
    negative: float


class Recorded(nn.Module):
    """A ranking loss that keeps, of each triplet: loss, agreement, cosine to the positive, and to the negative."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.rows: Tensors = []

    def forward(
        self, query: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the loss gives."""
        losses, agreed = self.loss(query, positive, negative)
        columns = (losses, agreed, (query * positive).sum(1), (query * negative).sum(1))
        self.rows.append(torch.stack([column.detach().double() for column in columns], dim=1))
        return losses, agreed

    def triplets(self) -> Triplets:
        """Of all that were recorded since the last call."""
        losses, agreed, positive, negative = torch.cat(self.rows).T
        self.rows = []
        shares = ((losses > 0).double(), 1 - agreed, losses, positive, negative)
        return Triplets(*(values.mean().item() for values in shares))


def _parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def _part(name: str, parameter: torch.Tensor) -> str:
    if not name.startswith("trunk."):
        return name.split(".")[0]
    block = ".".join(name.split(".")[:3])
    return f"{block}, batch normalisation" if parameter.ndim < 2 else block


def norms(parameters: dict[str, nn.Parameter], values: Sequence[torch.Tensor]) -> dict[str, tuple[float, float]]:
    """(norm of the values, norm of the parameters) by part of the network; "all" is of all of them."""
    squares: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (name, parameter), value in zip(parameters.items(), values, strict=True):
        for key in (_part(name, parameter), "all"):
            for column, tensor in enumerate((value, parameter.detach())):
                squares[key][column] += tensor.double().square().sum().item()
    return {key: (value**0.5, weight**0.5) for key, (value, weight) in squares.items()}


def coherence(gradients: Sequence[Tensors]) -> float:
    """The mean cosine between two of the gradients."""
    units = torch.stack([torch.cat([value.flatten() for value in gradient]) for gradient in gradients])
    units = units / units.norm(dim=1, keepdim=True)
    count = len(units)
    return float(((units @ units.T).sum() - count) / (count * (count - 1)))


def measure(network: nn.Module, stage: Stage, rate: float, first: int, updates: int) -> Steps:
    """So many of a stage's updates from the first on, at one learning rate, each from the weights that there are."""
    optimiser = stage.optimiser
    parameters = _parameters(network)
    gradients: list[Tensors] = []
    sizes: list[dict[str, tuple[float, float]]] = []
    steps: list[dict[str, tuple[float, float]]] = []
    for group in optimiser.param_groups:
        group["lr"] = rate
    for _ in islice(stage.accumulate_each_update(first), updates):
        before = [parameter.detach().clone() for parameter in parameters.values()]
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters.values()])
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        changes = [p.detach() - old for p, old in zip(parameters.values(), before, strict=True)]
        with torch.no_grad():
            for parameter, old in zip(parameters.values(), before, strict=True):
                parameter.copy_(old)
        sizes.append(norms(parameters, gradients[-1]))
        steps.append(norms(parameters, changes))
    mean = {key: float(np.mean([size[key][0] for size in sizes])) for key in sizes[0]}
    shares = {key: float(np.mean([step[key][0] / max(step[key][1], 1e-12) for step in steps])) for key in steps[0]}
    return Steps(mean, shares, coherence(gradients))


def classification(crops: TrainingCrops, folder: Path, updates: int) -> Steps:
    """Updates of a finished run's last epoch again, from its last weights, at half of its highest rate."""
    saved = read_checkpoint(folder / LAST)
    network = _network(classification_architecture(saved.recipe), saved.recipe)
    stage = classification_stage(StageInputs(network, crops, saved.recipe, _CPU, folder))
    network.load_state_dict(saved.part("network"))
    stage.restore(saved.part("stage"))
    places = [parameter for group in stage.optimiser.param_groups for parameter in group["params"]]
    for name, tensor in saved.part("optimiser").items():
        place, key = name.split(".")
        value = places[int(place)]
        same = tensor.shape == value.shape
        stage.optimiser.state[value][key] = torch.empty_like(value).copy_(tensor) if same else tensor
    first = stage.updates - 2 * updates  # an epoch's last updates have what is left of each shape, two images maybe
    rate = saved.recipe.classification.learning_rate / 2
    return measure(network, stage, rate, first, updates)


def ranking(crops: TrainingCrops, folder: Path, updates: int) -> dict[str, Any]:
    """Ranking's first updates, and its last ones, from a finished run of classification; and what it may draw."""
    saved = read_checkpoint(folder / FINAL)
    choices = Ranking(updates=96, triplets_together=64, bn_calibration=768, momentum=0.0)
    recipe = replace(saved.recipe, ranking=choices)
    network = _network(recipe.network, recipe)
    start_from(network, recipe.network, saved)
    stage = RankingStage(StageInputs(network, crops, recipe, _CPU, folder))
    stage.prepare()
    found: dict[str, Any] = {}
    for name, first in (("little cut-out", 0), ("most cut-out", choices.updates - updates)):
        recorded = stage.loss = Recorded(stage.loss.loss if isinstance(stage.loss, Recorded) else stage.loss)
        steps = measure(network, stage, choices.learning_rate, first, updates)
        found[name] = {"steps": asdict(steps), "triplets": asdict(recorded.triplets())}
    draws = {name: replace(choices, mining=mining) for name, mining in _DRAWS.items()}
    for name, changed in (draws | {"25 of 5,000, margin 0.3": replace(choices, margin=0.3)}).items():
        found[f"drawn: {name}"] = asdict(_drawn(network, crops, replace(recipe, ranking=changed), folder))
    return found


def _drawn(network: EmbeddingNetwork, crops: TrainingCrops, recipe: Recipe, folder: Path) -> Triplets:
    stage = RankingStage(StageInputs(network, crops, recipe, _CPU, folder))
    recorded = stage.loss = Recorded(stage.loss)
    for _ in islice(stage.accumulate_each_update(0), 4):
        stage.optimiser.zero_grad(set_to_none=True)
    return recorded.triplets()


def _network(architecture: Architecture, recipe: Recipe) -> EmbeddingNetwork:
    network = build(architecture)
    freeze_parts(network.trunk, recipe.fixed)
    repair_bfloat16(network)
    return network


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("classified", type=click.Path(exists=True, path_type=Path))
@click.option("--updates", type=click.IntRange(min=2), default=8, show_default=True, help="Of each kind.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="A JSON file.")
def main(data: Path, classified: Path, updates: int, output: Path) -> None:
    """Measure steps of the run folder CLASSIFIED, which `python -m training classify` made of all people of DATA."""
    crops = load_training(data)
    found = {"classification": {"steps": asdict(classification(crops, classified, updates))}}
    found |= {f"ranking, {name}": values for name, values in ranking(crops, classified, updates).items()}
    with atomic_write(output) as tmp_path:
        tmp_path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
