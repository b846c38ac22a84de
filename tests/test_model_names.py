"""Every command that takes a model's file takes a packaged model's name as well, and tells one that is misspelt."""

import pkgutil
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from reid_runtime.cli.options import ModelPath
from reid_runtime.model_file.packaged import PACKAGED

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("scipy")

import benchmarks
import export
import training.__main__ as training

NAMES = {"model", "models", "artefact", "reference", "record_of", "teacher"}
OTHERS = {
    ("benchmarks.detector", "model"),  # a detector's folder
    ("benchmarks.trackers", "model"),  # also a server: Embedder.load reads it
}


def commands():
    for package in (export, benchmarks):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            command = None if module.name.endswith("__main__") else getattr(import_module(module.name), "main", None)
            if isinstance(command, click.Command):
                yield module.name, command
    yield from training.main.commands.items()


def test_each_model_may_be_a_packaged_ones_name():
    found = {
        (name, parameter.name): parameter
        for name, command in commands()
        for parameter in command.params
        if parameter.name in NAMES and (name, parameter.name) not in OTHERS
    }
    assert {("export.to_int8", "model"), ("benchmarks.latency", "models"), ("adapt", "teacher")} <= set(found)
    for key, parameter in found.items():
        assert isinstance(parameter.type, ModelPath), key


def test_a_name_is_its_file_and_a_misspelt_one_is_told_the_nearest(tmp_path):
    from export.to_fp16 import main

    run = CliRunner().invoke(main, ["smal", "-o", str(tmp_path / "half.onnx")])
    assert run.exit_code == 2
    assert "smal: no such model file; did you mean small?" in run.output
    (model,) = (parameter for parameter in main.params if parameter.name == "model")
    assert model.type.convert("small", model, None) == PACKAGED["small"].path
