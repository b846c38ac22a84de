"""python -m training: the stages of the paper's training, one command each, and what is not in the paper."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.io.atomic import ensure_writable
from reid_runtime.scoring.layouts.datasets import DATASETS
from training.ablation.command import ablate
from training.data.training_set import TrainingCrops, load_training
from training.models import retail
from training.people.command import people
from training.postprocess import averaging, whitening
from training.postprocess import bn_calibration as statistics
from training.recipe import Recipe, read_recipe
from training.run import entry as stages
from training.run.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from training.run.trainer import LogConfig

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
LAYOUTS = click.Choice([known.name for known in DATASETS])
WIDE = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
DEVICE = click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
TERMS = click.option("--terms", required=True, help="The data's terms of use; they travel in the model's contract.")


class _InOrder(click.Group):
    """Lists the stages as they follow each other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings=WIDE)
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
    forms of the curriculum. Not in the paper: distil, where a better model's vectors are the targets, and average,
    whiten and at-size, last touches without training.

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


def stage(command: Callable[..., None]) -> click.Command:
    """A stage's command: what every one of them needs."""
    for option in (
        click.option("--checkpoint-minutes", default=3.0, show_default=True, help="How often the run is saved."),
        DEVICE,
        click.option("--one-camera", is_flag=True, help="Train although all pictures are of one camera."),
        click.option(
            "--layout",
            type=LAYOUTS,
            metavar="NAME",
            help="How DATA lies, by a name of `reid-runtime datasets`.  [bounding_box_train: market1501; else found]",
        ),
        TERMS,
        click.option("--start", type=FILE, help="A checkpoint of the stage before, which a new run starts from."),
        click.option(
            "--weights",
            metavar="FILE|imagenet",
            help="ImageNet weights that a new run starts from: safetensors with torchvision's names, or the published.",
        ),
        click.option("-o", "--out", type=FOLDER, required=True, help="Run folder; a run in it is resumed."),
        click.option("--recipe", "recipe_file", type=FILE, required=True, help="TOML, see training/recipes."),
        click.argument("data", type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return main.command(context_settings=WIDE)(command)


@stage
def classify(**options: Any) -> None:
    """Identity classification on DATA's training split: which of its people is this?

    DATA is a data set that `reid-runtime datasets` lists, or a plain folder identity/camera/image of your own.
    """
    click.echo(f"wrote {stages.classify(*_read(**options))}")


@stage
def rank(**options: Any) -> None:
    """Ranking on DATA's training split: nearer to the same person than to any other, by a margin.

    Batch normalisation keeps the statistics of the stage before: images of all sizes go through one by one.
    """
    click.echo(f"wrote {stages.rank(*_read(**options))}")


@stage
@click.option("--teacher", type=FILE, required=True, help="A model with a contract, ONNX or OpenVINO.")
@click.option("--teacher-contract", type=FILE, help="States the contract of a teacher that carries none.")
def distil(teacher: Path, teacher_contract: Path | None, **options: Any) -> None:
    """Teach a network the vectors that a better model, of any size, gives to DATA's training images.

    Both see the same views of each image; the teacher's vectors of them are kept in the run folder. The recipe's
    dimension must be the teacher's.
    """
    model = Embedder.load(teacher, device="auto", contract=teacher_contract)
    click.echo(f"wrote {stages.distil(*_read(**options), model)}")


@stage
@click.option("--teacher", type=FILE, required=True, help="The network as it was, or a better one, with a contract.")
@click.option("--teacher-contract", type=FILE, help="States the contract of a teacher that carries none.")
def adapt(teacher: Path, teacher_contract: Path | None, **options: Any) -> None:
    """Teach a network that was made for one size of image another one, or every aspect.

    The teacher stretches each image as its contract says; its vectors of the image and of its mirror image are the
    targets. The network sees the image as the recipe's rule has it: first its fully connected layer is fitted to them
    in closed form, then all of it is trained. The identities of DATA serve to measure progress alone.
    """
    model = Embedder.load(teacher, device="auto", contract=teacher_contract)
    click.echo(f"wrote {stages.adapt(*_read(**options), model)}")


@main.command(context_settings=WIDE)
@click.argument("network", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The checkpoint to write.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def convert(network: Path, output: Path, force: bool) -> None:
    """Make a checkpoint of NETWORK, the .xml of a person-reidentification-retail network of Open Model Zoo.

    At 256x128 it gives the vectors of the original; its pooling lets it take any size, and `adapt` makes it good at
    that.
    """
    ensure_writable(output, force)
    write_checkpoint(output, retail.converted(network))
    click.echo(f"wrote {output}")


def touch(command: Callable[..., None]) -> click.Command:
    """The command of a last touch, which makes one checkpoint of another without training: what each of them needs."""
    for option in (
        click.option("--force", is_flag=True, help="Overwrite the output file."),
        DEVICE,
        click.option("--one-camera", is_flag=True, help="Go on although all pictures are of one camera."),
        click.option("--layout", type=LAYOUTS, metavar="NAME", help="How DATA lies, as for the stages."),
        TERMS,
        click.option("-o", "--output", type=FILE, required=True, help="The checkpoint to write."),
        click.argument("data", type=click.Path(path_type=Path)),
        click.argument("checkpoint", type=FILE),
    ):
        command = option(command)
    return main.command(context_settings=WIDE)(command)


@touch
@click.option("--size", type=click.IntRange(min=1), help="Longest side from now on, in pixels.  [the checkpoint's]")
@click.option(
    "--shrinkage",
    type=click.FloatRange(0, min_open=True),
    default=whitening.SHRINKAGE,
    show_default=True,
    help="Added to each variance, in shares of their mean; the more, the less is changed.",
)
def whiten(size: int | None, shrinkage: float, **options: Any) -> None:
    """Count each direction of CHECKPOINT's vectors by how little one person's pictures differ in it, on DATA.

    No training: one pass over DATA's training split, then the fully connected layer takes it in, so that the model
    costs what it did. Not in the paper; training/whitening.py has the sources. It also sets the size of the images,
    which may be larger in use than in training. All people of the split count, also those whom a run has held out:
    score what comes of it on others.
    """
    _touch(partial(whitening.whiten, size=size, shrinkage=shrinkage), **options)


@touch
@click.option("--size", type=click.IntRange(min=1), required=True, help="Longest side from now on, in pixels.")
@click.option("--images", type=click.IntRange(min=8), default=statistics.IMAGES, show_default=True)
def at_size(size: int, images: int, **options: Any) -> None:
    """Make CHECKPOINT's network one for images of another size, or for images without cut-out of the same.

    No training: batch normalisation's statistics are taken anew over so many of DATA's training images, whole and at
    that size, of people whom CHECKPOINT's recipe does not hold out. Not in the paper.
    """
    _touch(partial(statistics.at_size, size=size, images=images), **options)


@main.command(context_settings=WIDE)
@click.argument("checkpoints", type=FILE, nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, required=True, help="The checkpoint to write.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def average(checkpoints: tuple[Path, ...], output: Path, force: bool) -> None:
    """Make one network of CHECKPOINTS, runs that went on from one another: the mean of their weights.

    Use `at-size` on what comes of it: batch normalisation's statistics are those of no network before that. Not in the
    paper.
    """
    ensure_writable(output, force)
    write_checkpoint(output, averaging.average([read_checkpoint(path) for path in checkpoints]))
    click.echo(f"wrote {output}")


def _touch(
    change: Callable[..., Checkpoint], checkpoint: Path, data: Path, output: Path, terms: str, layout: str | None,
    one_camera: bool, device: str, force: bool,
) -> None:  # fmt: skip
    ensure_writable(output, force)
    place, before = stages.device_called(device), read_checkpoint(checkpoint)
    crops = load_training(data, layout, one_camera)
    write_checkpoint(output, change(before, crops, terms, place=place))
    click.echo(f"wrote {output}")


def _read(
    data: Path, recipe_file: Path, layout: str | None, one_camera: bool, checkpoint_minutes: float, weights: str | None,
    **rest: Any,
) -> tuple[TrainingCrops, Recipe, stages.Job]:  # fmt: skip
    """What all the stages' calls take."""
    recipe = read_recipe(recipe_file)  # before the pictures are: its errors come at once
    given = Path(weights) if weights not in (None, "imagenet") else weights
    crops = load_training(data, layout, one_camera)
    return crops, recipe, stages.Job(weights=given, log=LogConfig(checkpoint_minutes), **rest)


main.add_command(ablate)
main.add_command(people)

if __name__ == "__main__":
    run(main)
