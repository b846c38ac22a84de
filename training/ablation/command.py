"""python -m training ablate: what each of the paper's choices is worth, on a stated budget."""

from pathlib import Path

import click

from training.ablation.evaluators import Evaluator, hold_out_people, query_and_gallery
from training.ablation.factors import NAMES, factor
from training.ablation.report import write_report
from training.ablation.study import Ablation, Weights, budgeted
from training.data.training_set import load_training
from training.models.backbones import backbone
from training.models.weights import PUBLISHED
from training.options import (
    CHECKPOINT_MINUTES,
    CONTEXT,
    DATA,
    DEVICE,
    FILE,
    FOLDER,
    LAYOUT,
    ONE_CAMERA,
    TERMS,
    with_options,
)
from training.recipe import read_recipe
from training.run.trainer import LogConfig

COUNT = click.IntRange(min=1)


@click.command(context_settings=CONTEXT)
@click.argument("recipe_file", metavar="RECIPE", type=FILE)
@with_options(
    DATA,
    click.option("-o", "--out", type=FOLDER, required=True, help="Of the runs and the report; what is there goes on."),
    click.option("--factor", "names", multiple=True, metavar="NAME", help=f"Only this one: {', '.join(NAMES)}.  [all]"),
    click.option("--without", multiple=True, metavar="VARIANT", help="Leave one out, as `augmentation-flip`."),
    click.option("--updates", metavar="N", type=COUNT, help="Of ranking, in each run.  [the recipe's]"),
    click.option(
        "--classification-epochs", "epochs", metavar="N", type=COUNT, help="In runs that have it.  [the recipe's]"
    ),
    click.option(
        "--seeds", metavar="N", type=COUNT, default=3, show_default=True, help="Runs of each; may be raised later."
    ),
    click.option(
        "--size", "sizes", multiple=True, type=COUNT, help="Longest side.  [256/416, 1 and 640/416 of the recipe's]"
    ),
    click.option("--backbone", "backbones", multiple=True, metavar="NAME", help="[resnet50, resnet101, resnet152]"),
    click.option(
        "--weights",
        "given",
        multiple=True,
        required=True,
        metavar="[BACKBONE=]FILE|imagenet",
        help="ImageNet weights: a file for the recipe's backbone, BACKBONE=FILE for another; `imagenet` for the "
        "published ones of all that have no file.",
    ),
    click.option(
        "--on",
        type=click.Choice(["held-out", "test"]),
        default="held-out",
        show_default=True,
        help="Score people of the training split on whom no run is trained, or DATA's own query and gallery.",
    ),
    click.option(
        "--held-out",
        "share",
        type=click.FloatRange(0, 0.5, min_open=True),
        default=0.2,
        show_default=True,
        help="Share of the training split's people, in place of RECIPE's; the fewer, the wider the intervals.",
    ),
    TERMS,
    LAYOUT,
    ONE_CAMERA,
    DEVICE,
    CHECKPOINT_MINUTES,
)
def ablate(
    recipe_file: Path, data: Path, out: Path, names: tuple[str, ...], without: tuple[str, ...],
    updates: int | None, epochs: int | None, seeds: int, sizes: tuple[int, ...], backbones: tuple[str, ...],
    given: tuple[str, ...], on: str, share: float, terms: str, layout: str | None, one_camera: bool, device: str,
    checkpoint_minutes: float,
) -> None:  # fmt: skip
    """Change one choice of RECIPE at a time, and measure what it is worth on DATA, beside the paper's numbers.

    \b
      augmentation   none, flip, crop, cut-out, all three
      size           the longest side: 256, 416 and 640 pixels, to the scale of RECIPE's
      pooling        average, max
      backbone       ResNet-50, -101, -152
      pre-training   ranking straight from ImageNet, or after identity classification
      mining         random triplets, hard ones (the paper calls them critical, without a number)

    Each variant is trained with each seed: classification, which variants share where the change does not concern
    it, then ranking. All runs are scored alike, after the last update. The schedules shrink with --updates and
    --classification-epochs.

    \b
      python -m training ablate training/recipes/two-cores.toml DATA --weights imagenet --backbone resnet18 \\
          --updates 256 --classification-epochs 5 --terms "..." -o ablation

    Ended or killed, it goes on when the same command is given again. FOLDER gets report.md, report.json and
    differences.png after each seed: a difference counts as real where its 95 % interval over people and seeds leaves
    out zero, with three seeds or more.
    """
    for option, values, needed in (("--size", sizes, "size"), ("--backbone", backbones, "backbone")):
        if values and names and needed not in names:
            raise click.UsageError(f"{option} is for the factor {needed}, which --factor leaves out")
    recipe = budgeted(read_recipe(recipe_file), updates, epochs)
    factors = tuple(factor(name, recipe, sizes, backbones) for name in dict.fromkeys(names or NAMES))
    labels = {one.label(variant) for one in factors for variant in one.variants} - {"baseline"}
    for label in without:
        if label not in labels:
            raise click.UsageError(f"--without {label}: expected one of {', '.join(sorted(labels))}")
    factors = tuple(one.without(without) for one in factors)
    own = recipe.network.backbone
    needed_backbones = {own, *(variant.recipe.network.backbone for one in factors for variant in one.variants)}
    weights = _weights(given, own, needed_backbones)
    crops = load_training(data, layout, one_camera)
    evaluator: Evaluator
    if on == "test":
        evaluator = query_and_gallery(data, layout)
    else:
        crops, evaluator = hold_out_people(crops, share, recipe.seed)
    log = LogConfig(checkpoint_minutes)
    ablation = Ablation(out, crops, recipe, factors, seeds, evaluator, weights, terms, device, log)
    click.echo(f"{len(ablation.variants)} variants, {seeds} seeds: {', '.join(ablation.variants)}", err=True)
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
