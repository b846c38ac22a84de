"""The options that several verbs share, and the loading of the model that they name."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from reid_runtime.backends import DEVICES
from reid_runtime.embedder import Embedder

Command = TypeVar("Command", bound=Callable[..., Any])


def model_options(command: Command) -> Command:
    """--model, --contract and --device."""
    for option in (
        click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True),
        click.option("--contract", type=click.Path(), help="States the contract of a model that carries none (JSON)."),
        click.option("--model", type=click.Path(), help="An ONNX file; the embedded default without this."),
    ):
        command = option(command)
    return command


def load_model(model: str | None, contract: str | None, device: str) -> Embedder:
    """The named model, or the default with a line that says what it may be used for."""
    embedder = Embedder.load(model, device=device, contract=contract)
    if device == "auto":
        click.echo(f"device auto: {embedder.backend.name}", err=True)
    if model is None:
        terms = "; ".join(f"{seen.data} ({seen.terms})" for seen in embedder.contract.trained_on)
        click.echo(f"default model {embedder.path.name}: research use only, trained on {terms}", err=True)
    return embedder
