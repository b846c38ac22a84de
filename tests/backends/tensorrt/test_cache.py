"""The engine cache: what is in the key, what is found again, and what happens to entries that are not what they say."""

import dataclasses
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest

from reid_runtime import BackendError
from reid_runtime.backends.cuda.driver import NoGpuError
from reid_runtime.backends.tensorrt import cache as cache_module
from reid_runtime.backends.tensorrt import engine as engine_module
from reid_runtime.backends.tensorrt.cache import EngineCache
from reid_runtime.backends.tensorrt.engine import BuildOptions
from reid_runtime.backends.tensorrt.profiles import Batches
from reid_runtime.backends.tensorrt.trust import ENVIRONMENT, default_folder
from reid_runtime.io.locks import exclusive_lock
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.formats import sidecar_path

from ...models import CONTRACT, write_model
from .stub_builder import GPU, StubBuilder, engines, stub_tensorrt


@pytest.fixture
def stub(monkeypatch, tmp_path):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "default"))
    return StubBuilder(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny_file(tiny_model):
    return ModelFile.open(tiny_model)


@pytest.fixture
def cache(stub, folder):
    return EngineCache(folder)


def test_built_once(stub, cache, folder, tiny_file):
    first = cache.get_or_build(tiny_file)
    assert EngineCache(folder).get_or_build(tiny_file) == first
    assert first.blob == b"engine 1"
    assert len(stub.built) == 1


def test_contract_of_the_engine(cache, tiny, tiny_file):
    contract = Contract.from_json(cache.get_or_build(tiny_file).contract_text, "here")
    assert contract.contract_id == tiny.contract.contract_id
    assert contract.parent == tiny.artefact_id
    assert contract.scores == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda stub: setattr(cache_module, "_packages", lambda trt: ["tensorrt-cu12 11.4.0.106"]),
        lambda stub: setattr(stub, "trt", stub_tensorrt("11.4.0.107")),
        lambda stub: setattr(stub, "gpu", dataclasses.replace(GPU, name="NVIDIA Other")),
        lambda stub: setattr(stub, "gpu", dataclasses.replace(GPU, compute_capability="8.9")),
        lambda stub: setattr(stub, "gpu", dataclasses.replace(GPU, cuda="12.9")),
        {"batches": Batches(4, 8)},
        {"shapes": {(16, 7): 3}},
        {"options": BuildOptions(tf32=True)},
        {"options": BuildOptions(level=5)},
        {"options": BuildOptions(workspace_mib=64)},
        {"options": BuildOptions(compute_capabilities=("8.6",))},
    ],
)
def test_key(stub, cache, folder, tiny_file, monkeypatch, change):
    monkeypatch.setattr(cache_module, "_packages", cache_module._packages)
    cache.get_or_build(tiny_file)
    if callable(change):
        change(stub)
        cache.get_or_build(tiny_file)
    else:
        cache.get_or_build(tiny_file, **change)
    assert len(stub.built) == len(engines(folder)) == 2


def test_key_of_model_and_contract(stub, cache, folder, tmp_path):
    bare = write_model(tmp_path / "bare.onnx", None)
    cache.get_or_build(ModelFile.open(bare, CONTRACT))
    cache.get_or_build(ModelFile.open(bare, dataclasses.replace(CONTRACT, name="another")))
    cache.get_or_build(ModelFile.open(write_model(tmp_path / "raw.onnx", output="raw")))
    assert len(engines(folder)) == 3


def damage(path):
    path.write_bytes(path.read_bytes()[:-1])


def take_sidecar(path):
    sidecar_path(path).unlink()


def swap(path):
    """As the sidecar of another key, digest and all."""
    sidecar = sidecar_path(path)
    sidecar.write_text(sidecar.read_text().replace('"tf32": false', '"tf32": true'))


@pytest.mark.parametrize("harm", [damage, take_sidecar, swap])
def test_damaged_or_foreign_entry(stub, cache, folder, tiny_file, harm):
    cache.get_or_build(tiny_file)
    harm(engines(folder)[0])
    with pytest.warns(UserWarning, match="building it again"):
        assert cache.get_or_build(tiny_file).blob == b"engine 2"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get_or_build(tiny_file).blob == b"engine 2"


def test_damaged_while_written(cache, tiny_file, monkeypatch):
    write = cache_module.write_engine

    def bad_disk(path, engine):
        write(path, engine)
        damage(path)

    monkeypatch.setattr(cache_module, "write_engine", bad_disk)
    with pytest.raises(BackendError, match=r"was just written and cannot be used: .*is not the file"):
        cache.get_or_build(tiny_file)


def test_full_disk(cache, tiny_file, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    for module in (cache_module, engine_module):
        monkeypatch.setattr(module, "atomic_write", full)
    with pytest.warns(UserWarning, match="No space left on device: the engine serves this process alone"):
        assert cache.get_or_build(tiny_file).blob == b"engine 1"


def test_fresh(stub, cache, tiny_file):
    cache.get_or_build(tiny_file)
    assert cache.get_or_build(tiny_file, fresh=True).blob == b"engine 2"
    assert cache.get_or_build(tiny_file).blob == b"engine 2"


def test_timings(stub, cache, tiny_file):
    cache.get_or_build(tiny_file)
    cache.get_or_build(tiny_file, fresh=True)
    stub.gpu = dataclasses.replace(GPU, name="NVIDIA Other/2")
    cache.get_or_build(tiny_file)
    stub.trt = stub_tensorrt("11.4.0.107")
    cache.get_or_build(tiny_file)
    assert stub.timings == [b"", b"+", b"", b""]


def test_failed_build(stub, cache, folder, tiny_file, monkeypatch):
    def fail(*arguments):
        raise BackendError("TensorRT said no")

    monkeypatch.setattr(cache_module, "build", fail)
    with pytest.raises(BackendError, match="said no"):
        cache.get_or_build(tiny_file)
    assert os.listdir(folder) == []


def test_without_a_gpu(cache, tiny_file, monkeypatch):
    def none():
        raise NoGpuError("no NVIDIA driver here")

    monkeypatch.setattr(cache_module, "find_gpu", none)
    with pytest.raises(NoGpuError):
        cache.get_or_build(tiny_file)


def test_default_folder(monkeypatch, tmp_path):
    for name in (ENVIRONMENT, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if os.name == "posix":
        assert default_folder() == tmp_path / "home" / ".cache" / "reid-runtime" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder().is_absolute()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "reid-runtime" / "engines"
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "named"))
    assert default_folder() == tmp_path / "named"
    assert EngineCache(tmp_path / "given").folder == tmp_path / "given"


def test_unwritable_folder(stub, tmp_path, tiny_file):
    (tmp_path / "file").touch()
    cache = EngineCache(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match=f"built for this process alone .* {ENVIRONMENT}"):
        assert cache.get_or_build(tiny_file).blob == b"engine 1"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
@pytest.mark.parametrize("has_engine", [False, True])
def test_public_folder(cache, folder, tiny_file, has_engine):
    if has_engine:
        cache.get_or_build(tiny_file)
        assert folder.stat().st_mode & 0o077 == 0
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    with pytest.raises(BackendError, match="can be written by others"):
        cache.get_or_build(tiny_file)


def test_threads(stub, tmp_path, monkeypatch):
    """In whatever folders: the GPU that they measure on is one."""
    contracts = {name: dataclasses.replace(CONTRACT, name=name) for name in "ab"}
    models = [ModelFile.open(write_model(tmp_path / f"{name}.onnx", stated)) for name, stated in contracts.items()]
    at_work, most = [], []
    build = stub.build

    def slow(*arguments):
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.05)
        at_work.pop()
        return build(*arguments)

    monkeypatch.setattr(cache_module, "build", slow)
    caches = [EngineCache(tmp_path / name) for name in ("one", "two")]
    threads = [threading.Thread(target=cache.get_or_build, args=(model,)) for model in models for cache in caches * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stub.built) == 4
    assert max(most) == 1


_PROCESS = """
    import sys, time
    from pathlib import Path
    import pytest
    from reid_runtime.backends.tensorrt import cache
    from reid_runtime.model_file import ModelFile
    from tests.backends.tensorrt.stub_builder import StubBuilder

    folder, model = map(Path, sys.argv[1:])
    with pytest.MonkeyPatch.context() as monkeypatch:
        stub = StubBuilder(monkeypatch)
        build = stub.build

        def slow(*arguments):
            with open(folder.parent / "built", "a") as log:
                log.write("x")
            time.sleep(0.5)
            return build(*arguments)

        monkeypatch.setattr(cache, "build", slow)
        assert cache.EngineCache(folder).get_or_build(ModelFile.open(model)).blob == b"engine 1"
"""


def test_processes(tmp_path, tiny_model):
    command = [sys.executable, "-c", textwrap.dedent(_PROCESS), str(tmp_path / "cache"), str(tiny_model)]
    root = Path(__file__).parents[3]
    processes = [subprocess.Popen(command, cwd=root) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "built").read_text() == "x"


def test_read_during_a_build(stub, cache, folder, tiny_file):
    cache.get_or_build(tiny_file)
    with exclusive_lock(folder):
        thread = threading.Thread(target=cache.get_or_build, args=(tiny_file,), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
