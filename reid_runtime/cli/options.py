"""The model options that several verbs share, and the loading of the model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from reid_runtime.backends import DEVICES
from reid_runtime.embedder import Embedder
from reid_runtime.model_file.contract import Contract

Command = TypeVar("Command", bound=Callable[..., Any])


def model_options(command: Command) -> Command:
    """--model, --contract, --device and --trust-engine."""
    for option in (
        click.option(
            "--trust-engine", is_flag=True,
            help="Run a TensorRT engine that was not built here. It is code: whoever made it decides what it does.",
        ),
        click.option(
            "--device", type=click.Choice(DEVICES), default="auto", show_default=True,
            help="Where the model runs; openvino-bf16 is faster and less exact.",
        ),
        click.option("--contract", type=click.Path(), help="States the contract of a model that carries none (JSON)."),
        click.option("--model", type=click.Path(), help="An ONNX file; the embedded default without this."),
    ):  # fmt: skip
        command = option(command)
    return command


def load_model(model: str | None, contract: str | None, device: str, *, trust_engine: bool = False) -> Embedder:
    """The model, with a line of its terms where it is the default."""
    with _log_on_stderr():
        embedder = Embedder.load(model, device=device, contract=contract, trust_engine=trust_engine)
    if model is None:
        print_terms(embedder.path, embedder.contract)
    return embedder


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Print what the runtime logs meanwhile: which device was chosen and why."""
    log, handler = logging.getLogger("reid_runtime"), _OnStderr()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def print_terms(path: Path, contract: Contract) -> None:
    """Print what the default model may be used for, in one line on standard error."""
    terms = "; ".join(f"{item.data} ({item.terms})" for item in contract.trained_on)
    click.echo(f"default model {path.name}: research use only, trained on {terms}", err=True)
