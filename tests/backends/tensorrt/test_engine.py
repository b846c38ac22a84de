"""An engine and its sidecar: told apart, and nothing taken from strangers."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from reid_runtime import BackendError
from reid_runtime.backends.cuda.driver import Gpu
from reid_runtime.backends.tensorrt.engine import (
    BuildOptions,
    Engine,
    Origin,
    read_engine,
    require_fit,
    sidecar_text,
    write_engine,
)
from reid_runtime.backends.tensorrt.profiles import Profile
from reid_runtime.backends.tensorrt.trust import ENVIRONMENT
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.formats import sidecar_path

from ...models import CONTRACT
from .stub_builder import GPU, stub_tensorrt

ORIGIN = Origin("sha256:11", "tensorrt", "11.4.0.106", GPU, BuildOptions(level=3), "not run: no GPU")
PROFILES = (Profile((1, 16, 1), (4, 16, 8), (8, 16, 16)), Profile((1, 1, 16), (4, 8, 16), (8, 16, 16)))
ENGINE = Engine(b"compiled", CONTRACT.to_json(), PROFILES, ORIGIN)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "engines"))
    write_engine(tmp_path / "model.engine", ENGINE)
    return tmp_path / "model.engine"


def rewrite(path, change):
    sidecar = sidecar_path(path)
    values = json.loads(sidecar.read_text())
    change(values)
    sidecar.write_text(json.dumps(values))


def test_engine_round_trip(path):
    assert path.read_bytes() == b"compiled"
    assert sidecar_path(path).name == "model.engine.json"
    read = read_engine(path)
    assert read == ENGINE
    assert Contract.from_json(read.contract_text, "here").contract_id == CONTRACT.contract_id


def test_interrupted_write(path, monkeypatch):
    original = Path.write_bytes

    def half(self, content):
        original(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(BackendError, match="cannot be written: No space left on device"):
        write_engine(path, dataclasses.replace(ENGINE, blob=b"another engine"))
    assert read_engine(path) == ENGINE
    assert sorted(os.listdir(path.parent)) == ["engines", "model.engine", "model.engine.json"]


def test_sidecar(path):
    values = json.loads(sidecar_path(path).read_text())
    assert values["version"] == 1
    assert values["contract"]["name"] == "tiny"
    assert values["digest"] == ENGINE.digest
    assert values["origin"]["gpu"]["name"] == "NVIDIA Pretended"
    assert values["profiles"][0]["optimum"] == [4, 16, 8]


@pytest.mark.parametrize("trust", [False, True])
def test_changed_engine(path, trust):
    path.write_bytes(b"Compiled")
    with pytest.raises(BackendError, match=r"is not the file that model\.engine\.json describes: expected sha256"):
        read_engine(path, trust_engine=trust)


def test_trust_without_a_sidecar(path):
    sidecar_path(path).unlink()
    with pytest.raises(BackendError, match=r"an engine is code: build it with .* or pass trust_engine=True"):
        read_engine(path)
    assert read_engine(path, trust_engine=True) == Engine(b"compiled", None, (), None)


def test_trust_of_a_copy(path, monkeypatch, tmp_path):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "another machine"))
    with pytest.raises(BackendError, match=r"was not built here by this user, .* pass trust_engine=True"):
        read_engine(path)
    assert read_engine(path, trust_engine=True) == ENGINE


def exchanged(path, monkeypatch):
    forged = dataclasses.replace(ENGINE, blob=b"other code")
    path.write_bytes(forged.blob)
    sidecar_path(path).write_text(sidecar_text(forged))


def changed_sidecar(path, monkeypatch):
    rewrite(path, lambda values: values["contract"].update(name="another"))


def public_records(path, monkeypatch):
    (path.parent / "engines" / "built-here").chmod(0o777)


def records_of_another_user(path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid() == 0:
        os.chown(path.parent / "engines" / "built-here", 12345, -1)


@pytest.mark.parametrize("change", [exchanged, changed_sidecar, public_records, records_of_another_user])
def test_trust_after_a_change(path, monkeypatch, change):
    if os.name != "posix" and "records" in change.__name__:
        pytest.skip("needs POSIX permissions and owners")
    change(path, monkeypatch)
    with pytest.raises(BackendError, match="was not built here by this user, or its sidecar was changed since"):
        read_engine(path)


def test_unwritable_records(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="loading it needs trust"):
        write_engine(tmp_path / "model.engine", ENGINE)
    with pytest.raises(BackendError, match="was not built here"):
        read_engine(tmp_path / "model.engine")
    assert read_engine(tmp_path / "model.engine", trust_engine=True) == ENGINE


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(version=2),
        lambda values: values.pop("contract"),
        lambda values: values.pop("profiles"),
        lambda values: values.update(more=1),
        lambda values: values["origin"].update(gpu="mine"),
        lambda values: values["origin"]["options"].update(tf32="no"),
        lambda values: values["profiles"][0].update(optimum=[4, 16]),
        lambda values: values["profiles"][0].update(optimum=[9, 16, 8]),
        lambda values: values["contract"].update(dimension="8"),
    ],
)
def test_foreign_sidecar(path, change):
    rewrite(path, change)
    with pytest.raises(BackendError):
        read_engine(path, trust_engine=True)


@pytest.mark.parametrize("text", ["", "[]", "{", "nul", "[" * 100_000])
def test_sidecar_that_is_no_json(path, text):
    sidecar_path(path).write_text(text)
    with pytest.raises(BackendError, match=r"model\.engine\.json"):
        read_engine(path)


def test_no_engine(tmp_path):
    with pytest.raises(BackendError, match="cannot be read"):
        read_engine(tmp_path / "model.engine")


@pytest.mark.parametrize(
    ("module", "gpu", "message"),
    [
        (stub_tensorrt("11.3.0.1"), GPU, "built by tensorrt 11.4.0.106, here is tensorrt 11.3.0.1"),
        (stub_tensorrt(), dataclasses.replace(GPU, name="NVIDIA Other"), "NVIDIA Pretended.* here is .*NVIDIA Other"),
        (stub_tensorrt(), dataclasses.replace(GPU, compute_capability="8.9"), "8.9"),
    ],
)
def test_does_not_fit_elsewhere(module, gpu, message):
    with pytest.raises(BackendError, match=f"{message}.*build it again here"):
        require_fit(ENGINE, module, gpu)


@pytest.mark.parametrize("cuda", [GPU.cuda, "13.2"])
def test_fits_here_under_a_newer_driver_too(cuda):
    require_fit(ENGINE, stub_tensorrt(), dataclasses.replace(GPU, cuda=cuda))


def test_fits_named_gpus():
    module = stub_tensorrt("1.7.1.116")
    module.__name__ = "tensorrt_rtx"
    options = BuildOptions(compute_capabilities=("8.6", "8.9"))
    origin = Origin("sha256:11", "tensorrt_rtx", "1.7.1.116", None, options, "")
    engine = dataclasses.replace(ENGINE, origin=origin)
    require_fit(engine, module, Gpu("NVIDIA Pretended", "8.9", "13.0"))
    with pytest.raises(BackendError, match=r"built for compute capability 8.6, 8.9, NVIDIA Pretended has 12.0"):
        require_fit(engine, module, Gpu("NVIDIA Pretended", "12.0", "13.0"))
