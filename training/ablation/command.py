"""python -m training.ablate: what each of the paper's practices is worth, on a stated budget."""

from pathlib import Path

import click
import torch

from reid_runtime.cli import run
from reid_runtime.scoring.layouts.datasets import DATASETS
from training.ablation.evaluators import Judge, hold_out_people, query_and_gallery
from training.ablation.factors import NAMES, practice
from training.ablation.report import write_report
from training.ablation.study import Ablation, Weights, budgeted
from training.data.training_set import load_training
from training.models.backbones import backbone
from training.models.weights import PUBLISHED
from training.recipe import read_recipe
from training.run.trainer import LogConfig

COUNT = click.IntRange(min=1)
LAYOUTS = click.Choice([known.name for known in DATASETS])


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("recipe_file", metavar="RECIPE", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the runs and the report; what is there already goes on.",
)
@click.option(
    "--practice", "names", multiple=True, metavar="NAME", help=f"Only this one; may be repeated: {', '.join(NAMES)}."
)
@click.option(
    "--without",
    "left_out",
    multiple=True,
    metavar="SETTING",
    help="Leave one out, as `augmentation-flip`; may be repeated.",
)
@click.option("--updates", metavar="N", type=COUNT, help="Of ranking, in each run.  [the recipe's]")
@click.option(
    "--classification-epochs", "epochs", metavar="N", type=COUNT, help="In each run that has its own.  [the recipe's]"
)
@click.option(
    "--seeds", metavar="N", type=COUNT, default=3, show_default=True, help="Runs of each setting; may be raised later."
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=COUNT,
    help="Longest side in pixels; may be repeated.  [256/416, 1 and 640/416 of the recipe's]",
)
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="NAME",
    help="May be repeated.  [resnet50, resnet101, resnet152]",
)
@click.option(
    "--weights",
    "given",
    multiple=True,
    required=True,
    metavar="[BACKBONE=]FILE|imagenet",
    help="ImageNet weights: a file for the recipe's backbone, BACKBONE=FILE for another; `imagenet` for the "
    "published ones of all that have no file.",
)
@click.option(
    "--on",
    type=click.Choice(["held-out", "test"]),
    default="held-out",
    show_default=True,
    help="Score people of the training split on whom no run is trained, or DATA's own query and gallery.",
)
@click.option(
    "--held-out",
    "share",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the training split's people, in place of RECIPE's; the fewer, the wider the intervals.",
)
@click.option("--terms", required=True, help="The data's terms of use; they travel with the models.")
@click.option("--layout", type=LAYOUTS, metavar="NAME", help="How DATA lies, as for `python -m training`.")
@click.option("--one-camera", is_flag=True, help="Train although all pictures are of one camera.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--checkpoint-minutes", default=3.0, show_default=True, help="How often a run is saved.")
def main(
    recipe_file: Path, data: Path, out: Path, names: tuple[str, ...], left_out: tuple[str, ...],
    updates: int | None, epochs: int | None,
    seeds: int, sizes: tuple[int, ...], backbones: tuple[str, ...], given: tuple[str, ...], on: str, share: float,
    terms: str, layout: str | None, one_camera: bool, device: str, checkpoint_minutes: float,
) -> None:  # fmt: skip
    """Change one choice of RECIPE at a time, and measure what it is worth on DATA, beside the paper's numbers.

    \b
      augmentation   none, flip, crop, cut-out, all three
      size           the longest side: 256, 416 and 640 pixels, to the scale of RECIPE's
      pooling        average, max
      backbone       ResNet-50, -101, -152
      pre-training   ranking straight from ImageNet, or after identity classification
      mining         random triplets, hard ones (the paper calls them critical, without a number)

    Each setting is trained with each seed: classification, which settings share where the change does not concern
    it, then ranking. All runs are scored alike, after the last update. The schedules shrink with --updates and
    --classification-epochs.

    \b
      python -m training.ablate training/recipes/two-cores.toml DATA --weights imagenet --backbone resnet18 \\
          --updates 256 --classification-epochs 5 --terms "..." -o ablation

    Ended or killed, it goes on when the same command is given again. FOLDER gets report.md, report.json and
    differences.png after each seed: a difference counts as real where its 95 % interval over people and seeds leaves
    out zero, with three seeds or more.
    """
    for option, values, needed in (("--size", sizes, "size"), ("--backbone", backbones, "backbone")):
        if values and names and needed not in names:
            raise click.UsageError(f"{option} is for the practice {needed}, which --practice leaves out")
    recipe = budgeted(read_recipe(recipe_file), updates, epochs)
    practices = tuple(practice(name, recipe, sizes, backbones) for name in dict.fromkeys(names or NAMES))
    labels = {one.label(setting) for one in practices for setting in one.settings} - {"baseline"}
    for label in left_out:
        if label not in labels:
            raise click.UsageError(f"--without {label}: expected one of {', '.join(sorted(labels))}")
    practices = tuple(one.without(left_out) for one in practices)
    own = recipe.network.backbone
    weights = _weights(
        given, own, {own, *(setting.recipe.network.backbone for one in practices for setting in one.settings)}
    )
    crops = load_training(data, layout, one_camera)
    judge: Judge
    if on == "test":
        judge = query_and_gallery(data, layout)
    else:
        crops, judge = hold_out_people(crops, share, recipe.seed)
    ablation = Ablation(
        out, crops, recipe, practices, seeds, judge, weights, terms, device, LogConfig(checkpoint_minutes)
    )  # fmt: skip
    click.echo(f"{len(ablation.settings)} settings, {seeds} seeds: {', '.join(ablation.settings)}", err=True)
    ablation.run(lambda done: click.echo(f"wrote {write_report(ablation, recipe_file.stem, done)}"))


def _weights(given: tuple[str, ...], own: str, needed: set[str]) -> dict[str, Weights]:
    """Those of the backbones that are needed, as far as they are given; raises UsageError for two of one."""
    weights: dict[str, Weights] = {}
    for text in given:
        name, equals, file = text.partition("=")
        # "" is all that have none of their own.
        name, file = (backbone(name).name, file) if equals else ("" if text == PUBLISHED else own, text)
        if name in weights:
            raise click.UsageError(f"--weights says twice what {name or 'a backbone'} begins with")
        weights[name] = PUBLISHED if file == PUBLISHED else Path(file)
    return {name: weights.get(name, weights.get("", "")) for name in needed if name in weights or "" in weights}


if __name__ == "__main__":
    run(main)
