"""python -m training: the stages of the paper's training, one command each, and what is not in the paper."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.io.atomic import ensure_writable
from reid_runtime.io.text import in_one_line
from reid_runtime.jobs import read_embeddings
from training.ablation.command import ablate
from training.data.training_set import load_training, load_unlabelled
from training.options import (
    CHECKPOINT_MINUTES,
    CONTEXT,
    DATA,
    DEVICE,
    FILE,
    FOLDER,
    FORCE,
    LAYOUT,
    NAMES,
    ONE_CAMERA,
    OUTPUT,
    TERMS,
    with_options,
)
from training.people.command import people
from training.postprocess import averaging, convert, recalibrate, site_whitening, whitening
from training.recipe import read_recipe
from training.run.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from training.run.entry import Job, run_stage, usable_device
from training.run.trainer import LogConfig
from training.stages.base import StageKind
from training.stages.registry import STAGES


class _InOrder(click.Group):
    """Lists the stages as they follow each other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings=CONTEXT)
def main() -> None:
    """Train a person re-identification network after 'Re-ID done right' (Almazán et al., 2018).

    One network: an image at its own size, the largest side scaled to 416 pixels and the aspect ratio kept, goes
    through a convolutional backbone, global max pooling, a fully connected layer and L2 normalisation. It is
    trained in stages, each of which starts from the one before:

    \b
      ImageNet           --weights imagenet, or a file
      classify           identity classification, by cross-entropy
      rank               three streams with shared weights and the ranking loss
                         1/2 max(0, m + |q - d+|^2 - |q - d-|^2), on hard triplets
                         out of a pool of training images that is embedded anew all the time

    Images meet cut-out: noise in a region that grows during training. Mining, pre-training and cut-out are the three
    forms of the curriculum. Not in the paper: distil, where a better model's vectors are the targets; adapt, to another
    size of image; and average, whiten and recalibrate, post-processing without training.

    \b
      python -m training classify DATA --recipe training/recipes/paper-resnet101.toml \\
          --weights imagenet --terms "..." -o classified
      python -m training rank DATA --recipe training/recipes/paper-resnet101.toml \\
          --start classified/model.safetensors --terms "..." -o ranked
      python -m export.to_onnx ranked/model.safetensors -o model.onnx

    Everything that can be chosen is in the recipe, one TOML file for all stages, whose defaults are the paper's
    choices: training/recipe.py says what each is and where it comes from. A run that was interrupted or killed goes
    on when the same command is given again. Its folder holds recipe.toml, run.json (code version, seed, data),
    metrics.jsonl, plots.png, curriculum.png (look at it), last.safetensors and in the end model.safetensors.
    """


def stage_command(kind: StageKind) -> click.Command:
    """The command of a stage."""

    @click.command(kind.command, help=kind.help, context_settings=CONTEXT)
    @with_options(
        DATA,
        click.option("--recipe", "recipe_file", type=FILE, required=True, help="TOML, see training/recipes."),
        click.option("-o", "--out", type=FOLDER, required=True, help="Run folder; a run in it is resumed."),
        click.option(
            "--weights",
            metavar="FILE|imagenet",
            help="ImageNet weights that a new run starts from: safetensors with torchvision's names, or the published.",
        ),
        click.option("--start", type=FILE, help="A checkpoint of the stage before, which a new run starts from."),
        TERMS,
        LAYOUT,
        NAMES,
        ONE_CAMERA,
        DEVICE,
        CHECKPOINT_MINUTES,
    )
    def command(
        data: Path, recipe_file: Path, layout: str | None, names: str | None, one_camera: bool,
        checkpoint_minutes: float, weights: str | None, teacher: Path | None = None,
        teacher_contract: Path | None = None, unlabelled: bool = False, **rest: Any,
    ) -> None:  # fmt: skip
        recipe = read_recipe(recipe_file)  # before the images are: its errors come at once
        model = Embedder.load(teacher, device="auto", contract=teacher_contract) if teacher else None
        crops = load_unlabelled(data) if unlabelled else load_training(data, layout, one_camera, names)
        start = Path(weights) if weights not in (None, "imagenet") else weights
        job = Job(weights=start, teacher=model, log=LogConfig(checkpoint_minutes), **rest)
        click.echo(f"wrote {run_stage(kind, crops, recipe, job)}")

    if kind.teacher:
        command.params += [
            click.Option(["--teacher"], type=ModelPath(), required=True, help=kind.teacher),
            click.Option(["--teacher-contract"], type=FILE, help="States the contract of a teacher that carries none."),
        ]
    if not kind.labels:
        help = "DATA is a folder of images of whoever it may be; nobody is held out."
        command.params.append(click.Option(["--unlabelled"], is_flag=True, help=help))
    return command


for _kind in STAGES.values():
    main.add_command(stage_command(_kind))


def postprocess(*options: Callable[..., Any]) -> Callable[[Callable[..., None]], click.Command]:
    """A command that makes one checkpoint of another without training, with these options besides the usual ones."""

    def decorate(command: Callable[..., None]) -> click.Command:
        checkpoint = click.argument("checkpoint", type=FILE)
        usual = (OUTPUT, TERMS, LAYOUT, NAMES, ONE_CAMERA, DEVICE, FORCE)
        name = command.__name__.strip("_")
        return main.command(name, context_settings=CONTEXT)(with_options(checkpoint, DATA, *options, *usual)(command))

    return decorate


@postprocess(
    click.option("--size", type=click.IntRange(min=1), help="Longest side from now on, in pixels.  [the checkpoint's]"),
    click.option(
        "--shrinkage",
        type=click.FloatRange(0, min_open=True),
        default=whitening.SHRINKAGE,
        show_default=True,
        help="Added to each variance, in shares of their mean; the more, the less is changed.",
    ),
)
def whiten(size: int | None, shrinkage: float, **options: Any) -> None:
    """Count each direction of CHECKPOINT's vectors by how little one person's images differ in it, on DATA.

    No training: one pass over DATA's training split, then the fully connected layer takes it in, so that the model
    costs what it did. Not in the paper; training/postprocess/whitening.py has the sources. It also sets the size of the
    images, which may be larger in use than in training. All people of the split count, also those whom a run has held
    out: score what comes of it on others.
    """
    _write(partial(whitening.whiten, size=size, shrinkage=shrinkage), **options)


@postprocess(
    click.option("--size", type=click.IntRange(min=1), required=True, help="Longest side from now on, in pixels."),
    click.option("--images", type=click.IntRange(min=8), default=recalibrate.IMAGES, show_default=True),
)
def _recalibrate(size: int, images: int, **options: Any) -> None:
    """Make CHECKPOINT's network one for images of another size, or for images without cut-out of the same.

    No training: batch normalisation is calibrated on so many of DATA's training images, as they are and at that size,
    of people whom CHECKPOINT's recipe does not hold out. Not in the paper.
    """
    _write(partial(recalibrate.recalibrate, size=size, images=images), **options)


@main.command("site-whiten", context_settings=CONTEXT)
@click.argument("checkpoint", type=FILE)
@click.argument("embeddings", type=FILE)
@with_options(OUTPUT, TERMS, FORCE)
def site_whiten(checkpoint: Path, embeddings: Path, output: Path, terms: str, force: bool) -> None:
    """Fit CHECKPOINT to a site by the tracks in EMBEDDINGS, without labels, where that helps.

    EMBEDDINGS is what `reid-runtime embed VIDEO --boxes TRACKS` makes with CHECKPOINT's export: vectors with the
    columns track, time or frame, and camera. No training: a closed form of how one person differs and how people of
    one frame do, taken in by the last layer. It is tried on people who did not take part, and nothing is written where
    it does not help them. What is written has another contract id: embed everything anew.
    """
    ensure_writable(output, force)
    whitened, result = site_whitening.site_whitened(read_checkpoint(checkpoint), read_embeddings(embeddings), terms)
    write_checkpoint(output, whitened)
    click.echo(in_one_line(f"wrote {output}: {result}"))


def _write(
    change: Callable[..., Checkpoint], checkpoint: Path, data: Path, output: Path, terms: str, layout: str | None,
    names: str | None, one_camera: bool, device: str, force: bool,
) -> None:  # fmt: skip
    ensure_writable(output, force)
    usable, before = usable_device(device), read_checkpoint(checkpoint)
    crops = load_training(data, layout, one_camera, names)
    write_checkpoint(output, change(before, crops, terms, device=usable))
    click.echo(in_one_line(f"wrote {output}"))


@main.command(context_settings=CONTEXT)
@click.argument("checkpoints", type=FILE, nargs=-1, required=True)
@with_options(OUTPUT, FORCE)
def average(checkpoints: tuple[Path, ...], output: Path, force: bool) -> None:
    """Make one network of CHECKPOINTS, runs that went on from one another: the mean of their weights.

    Use `recalibrate` on what comes of it: batch normalisation's statistics are those of no network before that. Not in
    the paper.
    """
    ensure_writable(output, force)
    write_checkpoint(output, averaging.average([read_checkpoint(path) for path in checkpoints]))
    click.echo(in_one_line(f"wrote {output}"))


@main.command("convert", context_settings=CONTEXT)
@click.argument("network", type=FILE)
@with_options(OUTPUT, FORCE)
def convert_retail(network: Path, output: Path, force: bool) -> None:
    """Make a checkpoint of NETWORK, the .xml of a person-reidentification-retail network of Open Model Zoo.

    At 256x128 it gives the vectors of the original; its pooling lets it take any size, and `adapt` makes it good at
    that.
    """
    ensure_writable(output, force)
    write_checkpoint(output, convert.converted(network))
    click.echo(in_one_line(f"wrote {output}"))


main.add_command(ablate)
main.add_command(people)

if __name__ == "__main__":
    run(main)
