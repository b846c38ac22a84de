"""Arguments and options that several commands of `python -m training` have."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import torch

from reid_runtime.cli.layouts import NAMES_HELP
from reid_runtime.scoring.layouts.datasets import DATASETS

Command = TypeVar("Command", bound=Callable[..., None])

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

DATA = click.argument("data", type=click.Path(path_type=Path))
TERMS = click.option("--terms", required=True, help="The data's terms of use; they travel in the model's contract.")
LAYOUT = click.option(
    "--layout",
    type=click.Choice([dataset.name for dataset in DATASETS]),
    metavar="NAME",
    help="How DATA lies, by a name of `reid-runtime datasets`.  [bounding_box_train: market1501; else recognised]",
)
NAMES = click.option("--names", metavar="PATTERN", help=NAMES_HELP)
ONE_CAMERA = click.option("--one-camera", is_flag=True, help="Go on although all images are of one camera.")
DEVICE = click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
CHECKPOINT_MINUTES = click.option(
    "--checkpoint-minutes", default=3.0, show_default=True, help="How often a run is saved."
)
FORCE = click.option("--force", is_flag=True, help="Overwrite the output file.")
OUTPUT = click.option("-o", "--output", type=FILE, required=True, help="The checkpoint to write.")


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that adds these, shown by the help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
