"""The model options that several verbs share, and the loading of the model."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from reid_runtime.backends import DEVICES, Options, parse_device, require_device
from reid_runtime.cli.json_lines import JsonLines
from reid_runtime.cli.terminal import note
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, DamagedFileError
from reid_runtime.model_file.address import Address, is_address
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.packaged import find_model, model_path
from reid_runtime.model_file.terms import restriction

Command = TypeVar("Command", bound=Callable[..., Any])


class ModelPath(click.Path):
    """A model's file, or the name of a packaged model."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; usage where there is no such file."""
        if is_address(value):
            self.fail(f"{value} is a server, and this reads a model's file", param, ctx)
        try:
            find_model(value)
        except DamagedFileError:
            pass  # a folder is told below, a pipe by who reads it
        except BackendError as error:
            self.fail(str(error), param, ctx)
        return super().convert(model_path(value), param, ctx)


class ModelOrServer(ModelPath):
    """A model's file, the name of a packaged model, or the address of a server."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path or the Address; usage where there is no such file."""
        return Address.parse(value) if is_address(value) else super().convert(value, param, ctx)


class DeviceName(click.Choice[str]):
    """A device, or another name that `parse_device` understands."""

    def __init__(self) -> None:
        super().__init__(DEVICES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, which is checked; anything else is wrong usage."""
        try:
            parse_device(value)
        except BackendError:
            return super().convert(value, param, ctx)
        return str(value)


@dataclass(frozen=True)
class ModelChoice:
    """What --model, --contract, --device, --fast and --trust-engine say."""

    model: str | None
    contract: str | None
    device: str
    trust_engine: bool = False
    fast: bool = False


def gathered(
    name: str, kind: type, options: Sequence[Callable[[Any], Any]], check: Callable[[Any], None] = lambda choice: None
) -> Callable[[Command], Command]:
    """A decorator: the command has these options, and takes them as one argument, the dataclass of their names.

    `check` is called with it before the command.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_choice(*arguments: Any, **given: Any) -> Any:
            choice = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            check(choice)
            return command(*arguments, **{name: choice}, **given)

        decorated: Any = with_choice
        for option in reversed(options):
            decorated = option(decorated)
        return cast(Command, decorated)

    return decorate


def _check(chosen: ModelChoice) -> None:
    """Raises BackendError, before anything else is complained of, for a model or a device that cannot be meant."""
    if chosen.model is not None and is_address(chosen.model):
        Address.parse(chosen.model)
    else:
        require_device(find_model(chosen.model), parse_device(chosen.device)[0], Options(fast=chosen.fast))


model_options = gathered(
    "chosen", ModelChoice,
    [
        click.option(
            "--model", metavar="FILE|NAME|URL",
            help="A model's file, base, small or tiny, or a server, kserve://HOST:PORT/MODEL; base without this.",
        ),
        click.option("--contract", type=click.Path(), help="States the contract of a model that carries none (JSON)."),
        click.option(
            "--device", type=DeviceName(), default="auto", show_default=True,
            help="Where the model runs; openvino-bf16 is faster and less exact, cuda:1 is the second GPU.",
        ),
        click.option(
            "--fast", is_flag=True,
            help="OpenVINO's faster mode: last bits of a vector then depend on the images that came before.",
        ),
        click.option(
            "--trust-engine", is_flag=True,
            help="Run a TensorRT engine that was not built here. It is code: whoever made it decides what it does.",
        ),
    ],
    _check,
)  # fmt: skip


def load_model(chosen: ModelChoice) -> Embedder:
    """The model, with a line of its terms where they restrict what it may be used for."""
    with _log_on_stderr():
        return Embedder.load(
            chosen.model,
            device=chosen.device,
            contract=chosen.contract,
            fast=chosen.fast,
            trust_engine=chosen.trust_engine,
        )


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.stderr, JsonLines):  # which has a handler of its own
            note(record.getMessage())


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
    """Print on standard error that a model is for research only, where its training data are."""
    if line := restriction(path, contract):
        note(line)
