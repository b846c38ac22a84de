"""python -m training: the stages of the paper's training, one command each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from reid_runtime import Embedder
from reid_runtime.cli import run
from reid_runtime.scoring.layouts import market1501
from training.backbones import initialise
from training.checkpoint import Checkpoint, read_checkpoint
from training.data import TrainingCrops
from training.losses import IdentityClassifier, TeacherVectors
from training.network import EmbeddingNetwork
from training.recipe import Recipe, read_recipe
from training.stage import Pace, Run, TrainingError

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Train an embedding network after 'Re-ID done right' (Almazán et al., 2018)."""


def stage(command: Callable[..., None]) -> click.Command:
    """A stage's command: what every one of them needs."""
    for option in (
        click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True),
        click.option("--checkpoint-minutes", default=3.0, show_default=True, help="How often the run is saved."),
        click.option("--terms", required=True, help="The data's terms of use; they travel in the model's contract."),
        click.option("--weights", type=FILE, help="ImageNet weights: safetensors, torchvision's names."),
        click.option(
            "--start", type=FILE, help="A checkpoint whose trunk a new run starts from, instead of --weights."
        ),
        click.option("-o", "--out", type=FOLDER, required=True, help="Run folder; a run in it is resumed."),
        click.option("--recipe", "recipe_file", type=FILE, required=True, help="TOML, see training/recipes."),
        click.argument("data", type=FOLDER),
    ):
        command = option(command)
    return main.command()(command)


@stage
def classify(data: Path, recipe_file: Path, terms: str, **options: Any) -> None:
    """Identity classification on DATA/bounding_box_train (Market-1501's layout)."""
    recipe, crops = read_recipe(recipe_file), load_crops(data)
    trained_on = facts(data, terms, crops)
    torch.manual_seed(recipe.seed)
    network = EmbeddingNetwork(recipe.backbone, recipe.dimension)
    objective = IdentityClassifier(
        recipe.dimension, crops.identities, recipe.scale, recipe.margin, recipe.label_smoothing
    )
    train(recipe, crops, trained_on, network, objective, **options)


@stage
@click.option("--teacher", type=FILE, required=True, help="A model with a contract, ONNX or OpenVINO.")
@click.option("--teacher-contract", type=FILE, help="States the contract of a teacher that carries none.")
def distil(
    data: Path, recipe_file: Path, terms: str, teacher: Path, teacher_contract: Path | None, **options: Any
) -> None:
    """Teach a network the vectors that a better model gives to the crops of DATA/bounding_box_train.

    The recipe's dimension must be the teacher's; its scale, margin and label_smoothing are not used.
    """
    recipe, crops = read_recipe(recipe_file), load_crops(data)
    embedder = Embedder.load(teacher, device="auto", contract=teacher_contract)
    if embedder.dimension != recipe.dimension:
        raise TrainingError(f"the teacher's vectors have {embedder.dimension} numbers, the recipe {recipe.dimension}")
    trained_on = facts(data, f"{terms}; vectors of {embedder.contract.name} as targets", crops)
    progress = tqdm(crops.images, desc=f"vectors of {embedder.contract.name}", disable=None)
    objective = TeacherVectors(torch.from_numpy(embedder.embed(progress, colour="rgb")))
    torch.manual_seed(recipe.seed)
    network = EmbeddingNetwork(recipe.backbone, recipe.dimension)
    each_its_own = replace(crops, labels=np.arange(len(crops.images)))
    train(recipe, each_its_own, trained_on, network, objective, **options)


def load_crops(data: Path) -> TrainingCrops:
    """The crops of people in the training split."""
    split = market1501.read_split(data, "bounding_box_train")
    return TrainingCrops.load(split.where(split.identities > 0))


def facts(data: Path, terms: str, crops: TrainingCrops) -> dict[str, Any]:
    """What the contract says of the training data."""
    counts = {"identities": crops.identities, "crops": len(crops.images)}
    return {"data": f"{data.name}/bounding_box_train", "terms": terms} | counts


def train(
    recipe: Recipe,
    crops: TrainingCrops,
    trained_on: dict[str, Any],
    network: EmbeddingNetwork,
    objective: nn.Module,
    *,
    out: Path,
    weights: Path | None,
    start: Path | None,
    checkpoint_minutes: float,
    device: str,
) -> None:
    """Start or resume the run, and say where its result lies."""
    if weights is not None and start is not None:
        raise TrainingError("expected one of --weights and --start, found both")
    stage_run = Run(out, recipe, crops, trained_on, network, objective, device, Pace(checkpoint_minutes))
    if stage_run.resume():
        click.echo(f"resumed at epoch {stage_run.epoch + 1}, batch {stage_run.batch}", err=True)
    elif weights is not None:
        initialise(network.trunk, recipe.backbone, weights)
    elif start is not None:
        start_from(network, recipe.backbone, read_checkpoint(start))
    else:
        raise TrainingError(
            "expected --weights or --start for a new run: a re-ID set is too small to learn from random weights"
        )
    click.echo(f"wrote {stage_run.train()}")


def start_from(network: EmbeddingNetwork, backbone: str, checkpoint: Checkpoint) -> None:
    """Take the trunk of an earlier stage; the projection too where it has the same shape."""
    if checkpoint.recipe.backbone != backbone:
        raise TrainingError(f"--start holds {checkpoint.recipe.backbone!r}, the recipe wants {backbone!r}")
    earlier, own = checkpoint.part("network"), network.state_dict()
    network.load_state_dict({key: earlier[key] if earlier[key].shape == own[key].shape else own[key] for key in own})


if __name__ == "__main__":
    run(main)
