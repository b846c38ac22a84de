"""The command: what it needs, what it writes, and that nothing is left where it fails."""

import dataclasses
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx")

from export import to_tensorrt
from export.parity import ParityError
from reid_runtime import BackendError, ContractError, ReidRuntimeError, StorageError
from reid_runtime.backends.cuda.driver import Gpu
from reid_runtime.backends.tensorrt.engine import read_engine
from reid_runtime.backends.tensorrt.profiles import Batches, profiles_for
from reid_runtime.images.resize import LongestSide
from reid_runtime.install import install_line
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.precision import Precision

from ..backends.tensorrt.graphs import contract_of, write_network
from ..backends.tensorrt.stub_builder import StubBuilder, stub_tensorrt
from ..models import stated_for, write_model
from ..sample_images import encode, sample_image


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """TensorRT's name and a builder in its place; the machine has no GPU to compare on."""
    stub = StubBuilder(monkeypatch)
    monkeypatch.setattr(to_tensorrt, "import_tensorrt", lambda: stub.trt)
    monkeypatch.setenv("REID_RUNTIME_CACHE", str(tmp_path / "cache"))
    return stub


def export(*arguments):
    return to_tensorrt.main.main([str(argument) for argument in arguments], standalone_mode=False)


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "cache" and path.suffix != ".onnx")


def test_the_engine_lies_beside_its_description(stub, tiny, tiny_model, tmp_path, capsys):
    export(tiny_model, "-o", tmp_path / "model.engine", "--batch", "2:6", "--tf32", "--level", 4)
    assert left(tmp_path) == ["model.engine", "model.engine.json"]
    engine = read_engine(tmp_path / "model.engine")
    assert engine.blob == b"engine 1"
    assert engine.profiles == profiles_for(LongestSide(16), Batches(2, 6))
    assert (engine.origin.onnx, engine.origin.parity) == (tiny.artefact_id, "not run: no GPU")
    assert (engine.origin.options.tf32, engine.origin.options.level) == (True, 4)
    assert Contract.from_json(engine.contract_text, "engine").contract_id == tiny.contract.contract_id
    assert "4 profiles, tensorrt 11.4.0.106; comparison not run: no GPU" in capsys.readouterr().out


def test_profiles_follow_a_folders_crops_after_the_resize(stub, tiny_model, tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for seed, size in enumerate([(64, 20), (64, 24), (32, 16), (64, 40), (20, 64)]):
        (crops / f"{seed}.png").write_bytes(encode(sample_image(*size, seed), "PNG"))
    (crops / "broken.png").write_bytes(b"no image")
    export(tiny_model, "-o", tmp_path / "model.engine", "--profiles-from", crops)
    shapes = {(16, 5): 1, (16, 6): 1, (16, 8): 1, (16, 10): 1, (5, 16): 1}
    assert read_engine(tmp_path / "model.engine").profiles == profiles_for(LongestSide(16), Batches(), shapes)


def test_a_folder_of_broken_pictures_gives_no_sizes(stub, tiny_model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ReidRuntimeError, match="none of its 1 images can be read"):
        export(tiny_model, "-o", tmp_path / "model.engine", "--profiles-from", tmp_path)


def test_a_stated_contract_serves_a_model_without_one(stub, tmp_path):
    model = write_model(tmp_path / "bare.onnx", None)
    (tmp_path / "stated.json").write_text("\ufeff" + stated_for(model).to_json())
    with pytest.raises(ContractError, match="carries no contract"):
        export(model, "-o", tmp_path / "model.engine")
    export(model, "-o", tmp_path / "model.engine", "--contract", tmp_path / "stated.json")
    assert Contract.from_json(read_engine(tmp_path / "model.engine").contract_text, "engine").name == "tiny"


@pytest.mark.parametrize("name", ["model.engine", "model.engine.json"])
def test_nothing_is_overwritten_without_force(stub, tiny_model, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(StorageError, match="exists and is not overwritten"):
        export(tiny_model, "-o", tmp_path / "model.engine")
    assert (tmp_path / name).read_text() == "mine"
    assert stub.built == []
    export(tiny_model, "-o", tmp_path / "model.engine", "--force")
    assert read_engine(tmp_path / "model.engine").blob == b"engine 1"


@pytest.mark.parametrize("batch", ["0:4", "8:4", "many", "1:2:3", "-1:4", ""])
def test_a_batch_that_is_none_is_a_usage_error(stub, tiny_model, tmp_path, batch):
    with pytest.raises(click.UsageError, match="expected two numbers such as 8:32"):
        export(tiny_model, "-o", tmp_path / "model.engine", "--batch", batch)


# The comparison, with backends in the place of TensorRT's


@pytest.fixture
def gpu(stub, monkeypatch):
    """A GPU to compare on; `bench.backend` stands for the running engine."""
    from reid_runtime.backends.onnx import OnnxBackend
    from reid_runtime.backends.tensorrt import backend as tensorrt

    monkeypatch.setattr(to_tensorrt, "find_gpu", lambda: Gpu("NVIDIA Pretended", "8.6", "13.0"))
    stub.change, stub.ran = (lambda vectors: vectors), []

    class Running(OnnxBackend):
        def __init__(self, engine):
            super().__init__(stub.model, "cpu")

        def run(self, images):
            stub.ran.append(images.shape[:3])
            return stub.change(super().run(images))

    monkeypatch.setattr(tensorrt, "TensorRTBackend", Running)
    return stub


def test_an_engine_that_gives_the_same_vectors_says_how_well(gpu, tiny_model, tmp_path):
    gpu.model = tiny_model
    gpu.change = lambda vectors: vectors + np.float32(1e-6)
    export(tiny_model, "-o", tmp_path / "model.engine")
    engine = read_engine(tmp_path / "model.engine")
    assert engine.origin.parity.endswith("images against ONNX Runtime on the CPU")
    drift = Contract.from_json(engine.contract_text, "engine").drift
    assert 0 < drift["largest_difference"] < 2e-6


def test_every_profile_is_compared_at_its_ends_its_optimum_and_its_largest_batch(gpu, tiny_model, tmp_path):
    gpu.model = tiny_model
    export(tiny_model, "-o", tmp_path / "model.engine", "--batch", "3:5")
    for profile in read_engine(tmp_path / "model.engine").profiles:
        assert {profile.minimum, profile.optimum, (5, *profile.optimum[1:]), (2, *profile.maximum[1:])} <= set(gpu.ran)


def reversed_rows(vectors):
    return vectors[::-1]


def turned(vectors):
    return np.roll(vectors, 1, axis=1)


def slightly_off(vectors):
    shifted = vectors + np.float32(0.01)
    return shifted / np.linalg.norm(shifted, axis=1, keepdims=True)


@pytest.mark.parametrize("change", [reversed_rows, turned, slightly_off, np.zeros_like])
def test_an_engine_that_gives_other_vectors_leaves_no_file(gpu, tiny_model, tmp_path, change):
    gpu.model, gpu.change = tiny_model, change
    with pytest.raises(ParityError):
        export(tiny_model, "-o", tmp_path / "model.engine")
    assert left(tmp_path) == []


def test_a_build_that_fails_leaves_no_file_and_an_old_one_as_it_was(stub, tiny_model, tmp_path, monkeypatch):
    export(tiny_model, "-o", tmp_path / "model.engine")
    old = read_engine(tmp_path / "model.engine")

    def fail(*arguments):
        raise BackendError("TensorRT said no")

    monkeypatch.setattr("reid_runtime.backends.tensorrt.cache.build", fail)
    with pytest.raises(BackendError, match="said no"):
        export(tiny_model, "-o", tmp_path / "model.engine", "--force")
    assert read_engine(tmp_path / "model.engine") == old
    assert left(tmp_path) == ["model.engine", "model.engine.json"]


def test_int8_and_float16_have_bounds_of_their_own(gpu, tmp_path):
    """What is out of bounds for float32 is within those of INT8."""
    gpu.change = slightly_off
    for kind in ("float32", "float16"):
        gpu.model = write_network(tmp_path / f"{kind}.onnx", kind)
        with pytest.raises(ParityError, match="differs from the reference"):
            export(gpu.model, "-o", tmp_path / "model.engine")
    gpu.model = write_network(tmp_path / "int8.onnx", "int8")
    export(gpu.model, "-o", tmp_path / "model.engine")
    assert Contract.from_json(read_engine(tmp_path / "model.engine").contract_text, "engine").drift


def test_the_bounds_go_by_the_kind_of_the_precision(gpu, tmp_path):
    """Nobody's half precision is held to the wider bounds of INT8."""
    gpu.change = slightly_off
    stated = dataclasses.replace(
        contract_of("float16"), precision=Precision("float16", scheme="but for the first layer")
    )
    gpu.model = write_network(tmp_path / "m.onnx", "float16", contract=stated)
    with pytest.raises(ParityError, match="differs from the reference"):
        export(gpu.model, "-o", tmp_path / "model.engine")


# In a process of its own


def run(*arguments, path=""):
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", "export.to_tensorrt", *map(str, arguments)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def without_tensorrt(tmp_path):
    """A folder that hides whatever TensorRT is installed."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("tensorrt", "tensorrt_rtx"):
        (hidden / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})")
    return str(hidden)


def test_without_tensorrt_there_is_help_and_one_line(without_tensorrt, tiny_model, tmp_path):
    helped = run("--help", path=without_tensorrt)
    assert helped.returncode == 0
    assert "--profiles-from" in helped.stdout
    refused = run(tiny_model, "-o", tmp_path / "model.engine", path=without_tensorrt)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith(f"error: TensorRT is needed and missing: {install_line('tensorrt')}")
    assert "NVIDIA's own package index" in refused.stderr


def test_the_whole_command_with_tensorrt_rtx(tiny_model, tmp_path, monkeypatch):
    if not list(metadata.distributions(name="tensorrt-rtx")):
        pytest.skip("needs tensorrt-rtx: pip install tensorrt-rtx==1.7.1.116")
    monkeypatch.setenv("REID_RUNTIME_CACHE", str(tmp_path / "cache"))
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "tensorrt.py").write_text("raise ModuleNotFoundError(name='tensorrt')")
    path = os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", "")])
    arguments = (
        tiny_model,
        "-o",
        tmp_path / "model.engine",
        "--compute-capability",
        "8.6",
        "--compute-capability",
        "12.0",
    )
    done = run(*arguments, path=path)
    assert done.returncode == 0, done.stderr
    described = json.loads((tmp_path / "model.engine.json").read_text())
    assert described["origin"]["options"]["compute_capabilities"] == ["8.6", "12.0"]
    assert described["origin"]["package"] == "tensorrt_rtx"
    assert len(read_engine(tmp_path / "model.engine").profiles) == 4


def test_the_full_tensorrt_takes_no_compute_capabilities(stub, tiny_model, tmp_path, monkeypatch):
    from reid_runtime.backends.tensorrt import build

    monkeypatch.setattr("reid_runtime.backends.tensorrt.cache.build", build.build)
    monkeypatch.setattr(build, "find_gpu", lambda: None)
    stub.trt = stub_tensorrt()
    with pytest.raises(BackendError, match="builds for the GPU that it runs on and no other"):
        export(tiny_model, "-o", tmp_path / "model.engine", "--compute-capability", "8.6")
