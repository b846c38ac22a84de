"""What most tests need: a small model, the default one, and the command run in this process."""

import os
import signal
import sys
import tarfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from reid_runtime import Embedder
from reid_runtime.cli import _SIGNALS, main

from .models import write_model


@pytest.fixture(scope="session", autouse=True)
def _engines_elsewhere(tmp_path_factory):
    """What TensorRT's engines leave behind stays out of the user's cache."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("REID_RUNTIME_CACHE", str(tmp_path_factory.mktemp("engines")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_watch_of_signals():
    """A command that a test runs in this process leaves no thread behind which may end it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("reid_runtime.cli._watch_signals", lambda: None)
        yield


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


@pytest.fixture(scope="session")
def reid_data():
    """The folder of the development data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("REID_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no development data: set REID_DATA to their folder (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def market1501(reid_data, tmp_path_factory):
    """Market-1501, unpacked."""
    return _unpacked(reid_data / "market1501.tar.gz", tmp_path_factory)


@pytest.fixture(scope="session")
def pku_reid(reid_data, tmp_path_factory):
    """PKU-Reid, unpacked: 24 queries, 168 gallery crops."""
    return _unpacked(reid_data / "pku-reid.tar.gz", tmp_path_factory)


@pytest.fixture(scope="session")
def caviar4reid(reid_data, tmp_path_factory):
    """CAVIAR4REID, unpacked: 1,220 crops of 245 sizes."""
    return _unpacked(reid_data / "caviar4reid.tar.gz", tmp_path_factory)


def _unpacked(archive, tmp_path_factory):
    if not archive.is_file():
        pytest.skip(f"no {archive.name} among the development data")
    folder = tmp_path_factory.mktemp("data")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def in_process(monkeypatch, capsys):
    """A command by its own entry point, in this process: in_process(main, name, *arguments) gives a Run."""

    def run(main, *words):
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
                main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return Run(left.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def command(in_process):
    """`reid-runtime`, in this process: command(*arguments) gives a Run."""
    return partial(in_process, main, "reid-runtime")
