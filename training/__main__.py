"""python -m training: the stages of the paper's training, one command each."""

from pathlib import Path

import click
import torch

from reid_runtime.cli import run
from reid_runtime.scoring.layouts import market1501
from training.backbones import initialise
from training.classification import ClassificationRun, Pace, TrainingError
from training.data import TrainingCrops
from training.network import EmbeddingNetwork
from training.recipe import read_recipe

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Train an embedding network after 'Re-ID done right' (Almazán et al., 2018)."""


@main.command()
@click.argument("data", type=FOLDER)
@click.option("--recipe", "recipe_file", type=FILE, required=True, help="TOML, see training/recipes.")
@click.option("-o", "--out", type=FOLDER, required=True, help="Run folder; a run in it is resumed.")
@click.option("--weights", type=FILE, help="ImageNet weights: safetensors, torchvision's names.")
@click.option("--terms", required=True, help="The data's terms of use; they travel in every model's contract.")
@click.option("--checkpoint-minutes", default=3.0, show_default=True, help="How often the run is saved.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
def classify(
    data: Path, recipe_file: Path, out: Path, weights: Path | None, terms: str, checkpoint_minutes: float, device: str
) -> None:
    """Identity classification on DATA/bounding_box_train (Market-1501's layout), from ImageNet weights."""
    recipe = read_recipe(recipe_file)
    split = market1501.read_split(data, "bounding_box_train")
    split = split.where(split.identities > 0)
    crops = TrainingCrops.load(split)
    torch.manual_seed(recipe.seed)
    network = EmbeddingNetwork(recipe.backbone, recipe.dimension)
    trained_on = {
        "data": f"{data.name}/bounding_box_train",
        "terms": terms,
        "identities": crops.identities,
        "crops": len(split),
    }
    run = ClassificationRun(out, recipe, crops, trained_on, network, device, Pace(checkpoint_minutes))
    if run.resume():
        click.echo(f"resumed at epoch {run.epoch + 1}, batch {run.batch}", err=True)
    elif weights is not None:
        initialise(network.trunk, recipe.backbone, weights)
    else:
        raise TrainingError(
            "expected --weights FILE for a new run: a re-ID set is too small to learn from random weights"
        )
    click.echo(f"wrote {run.train()}")


if __name__ == "__main__":
    run(main)
