"""What most tests need: a small model, the default one, and the command run in this process."""

import signal
import sys
import warnings
from dataclasses import dataclass

import pytest

from reid_runtime import Embedder
from reid_runtime.cli import main

from .models import write_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A small ONNX file with a contract: fast, and its vectors differ from crop to crop."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny(tiny_model):
    return Embedder.load(tiny_model)


@pytest.fixture(scope="session")
def default():
    return Embedder.load()


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, capsys):
    """`reid-runtime` by its own entry point, in this process: command(*arguments) gives a Run."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["reid-runtime", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        return Run(left.value.code or 0, *capsys.readouterr())

    return run
