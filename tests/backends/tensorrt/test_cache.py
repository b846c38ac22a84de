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

from reid_runtime import BackendError, ContractError
from reid_runtime.backends.cuda.driver import NoGpuError
from reid_runtime.backends.tensorrt import cache as cache_module
from reid_runtime.backends.tensorrt import engine as engine_module
from reid_runtime.backends.tensorrt.cache import EngineCache
from reid_runtime.backends.tensorrt.engine import BuildOptions, sidecar_path
from reid_runtime.backends.tensorrt.profiles import Batches
from reid_runtime.backends.tensorrt.trust import ENVIRONMENT, default_folder
from reid_runtime.io.locks import exclusive_lock
from reid_runtime.model_file.contract import Contract

from ...models import CONTRACT, write_model
from .stub_builder import GPU, StubBuilder, engines, stub_tensorrt


@pytest.fixture
def stub(monkeypatch, tmp_path):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "default"))
    return StubBuilder(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(stub, folder):
    return EngineCache(folder)


def test_an_engine_is_built_once_and_found_again(stub, cache, folder, tiny_model):
    first = cache.get_or_build(tiny_model)
    assert EngineCache(folder).get_or_build(tiny_model) == first
    assert first.blob == b"engine 1"
    assert len(stub.built) == 1


def test_its_contract_is_the_models_with_the_model_as_parent(cache, tiny, tiny_model):
    contract = Contract.from_json(cache.get_or_build(tiny_model).contract_text, "here")
    assert contract.contract_id == tiny.contract.contract_id
    assert contract.parent == tiny.artefact_id
    assert contract.scores == ()


@pytest.mark.parametrize(
    "change",
    [
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
def test_everything_that_an_engine_depends_on_is_in_its_key(stub, cache, folder, tiny_model, change):
    cache.get_or_build(tiny_model)
    if callable(change):
        change(stub)
        cache.get_or_build(tiny_model)
    else:
        cache.get_or_build(tiny_model, **change)
    assert len(stub.built) == len(engines(folder)) == 2


def test_another_model_and_another_stated_contract_have_keys_of_their_own(stub, cache, folder, tmp_path):
    bare = write_model(tmp_path / "bare.onnx", None)
    cache.get_or_build(bare, contract=CONTRACT)
    cache.get_or_build(bare, contract=dataclasses.replace(CONTRACT, name="another"))
    cache.get_or_build(write_model(tmp_path / "raw.onnx", output="raw"))
    assert len(engines(folder)) == 3


def test_the_packages_of_tensorrt_are_in_the_key(stub, cache, folder, tiny_model, monkeypatch):
    cache.get_or_build(tiny_model)
    monkeypatch.setattr(cache_module, "_packages", lambda trt: ["tensorrt-cu12 11.4.0.106"])
    cache.get_or_build(tiny_model)
    assert len(engines(folder)) == 2


def damaged(path):
    path.write_bytes(path.read_bytes()[:-1])


def without_sidecar(path):
    sidecar_path(path).unlink()


def swapped(path):
    """The whole entry of another key, digest and all."""
    other = path.parent / "other.engine"
    text = sidecar_path(path).read_text().replace('"tf32": false', '"tf32": true')
    other.write_bytes(path.read_bytes())
    sidecar_path(path).write_text(text)


@pytest.mark.parametrize("harm", [damaged, without_sidecar, swapped])
def test_a_damaged_or_foreign_entry_is_built_again_with_a_warning(stub, cache, folder, tiny_model, harm):
    cache.get_or_build(tiny_model)
    harm(engines(folder)[0])
    with pytest.warns(UserWarning, match="building it again"):
        assert cache.get_or_build(tiny_model).blob == b"engine 2"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get_or_build(tiny_model).blob == b"engine 2"


def test_an_entry_that_is_damaged_as_soon_as_it_is_written_is_an_error(cache, tiny_model, monkeypatch):
    write = cache_module.write_engine

    def bad_disk(path, engine):
        write(path, engine)
        damaged(path)

    monkeypatch.setattr(cache_module, "write_engine", bad_disk)
    with pytest.raises(BackendError, match=r"was just written and cannot be used: .*is not the file"):
        cache.get_or_build(tiny_model)


def test_a_full_disk_does_not_cost_the_engine(cache, tiny_model, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    for module in (cache_module, engine_module):
        monkeypatch.setattr(module, "atomic_write", full)
    with pytest.warns(UserWarning, match="No space left on device: the engine serves this process alone"):
        assert cache.get_or_build(tiny_model).blob == b"engine 1"


def test_a_fresh_one_is_built_whatever_is_there(stub, cache, tiny_model):
    cache.get_or_build(tiny_model)
    assert cache.get_or_build(tiny_model, fresh=True).blob == b"engine 2"
    assert cache.get_or_build(tiny_model).blob == b"engine 2"


def test_timings_are_kept_from_build_to_build_of_one_gpu(stub, cache, tiny_model):
    cache.get_or_build(tiny_model)
    cache.get_or_build(tiny_model, fresh=True)
    stub.gpu = dataclasses.replace(GPU, name="NVIDIA Other/2")
    cache.get_or_build(tiny_model)
    stub.trt = stub_tensorrt("11.4.0.107")
    cache.get_or_build(tiny_model)
    assert stub.timings == [b"", b"+", b"", b""]


def test_a_build_that_fails_leaves_nothing(stub, cache, folder, tiny_model, monkeypatch):
    def fail(*arguments):
        raise BackendError("TensorRT said no")

    monkeypatch.setattr(cache_module, "build", fail)
    with pytest.raises(BackendError, match="said no"):
        cache.get_or_build(tiny_model)
    assert os.listdir(folder) == []


def test_a_model_needs_exactly_one_contract(cache, tiny_model, tmp_path):
    with pytest.raises(ContractError, match="carries no contract"):
        cache.get_or_build(write_model(tmp_path / "bare.onnx", None))
    with pytest.raises(ContractError, match="carries its own contract"):
        cache.get_or_build(tiny_model, contract=CONTRACT)


def test_without_a_gpu_there_is_nothing_to_build_for(cache, tiny_model, monkeypatch):
    def none():
        raise NoGpuError("no NVIDIA driver here")

    monkeypatch.setattr(cache_module, "find_gpu", none)
    with pytest.raises(NoGpuError):
        cache.get_or_build(tiny_model)


# Folders


def test_the_folder_is_the_callers_the_environments_or_the_users(monkeypatch, tmp_path):
    for name in (ENVIRONMENT, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if os.name == "posix":
        assert default_folder() == tmp_path / "home" / ".cache" / "reid-runtime" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "reid-runtime" / "engines"
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "named"))
    assert default_folder() == tmp_path / "named"
    assert EngineCache(tmp_path / "given").folder == tmp_path / "given"


def test_an_xdg_folder_that_is_relative_is_ignored(monkeypatch, tmp_path):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert default_folder().is_absolute()


def test_where_nothing_can_be_written_the_engine_is_for_this_process(stub, tmp_path, tiny_model):
    (tmp_path / "file").touch()
    cache = EngineCache(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match=f"built for this process alone .* {ENVIRONMENT}"):
        assert cache.get_or_build(tiny_model).blob == b"engine 1"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_the_folder_is_the_users_alone(cache, folder, tiny_model):
    cache.get_or_build(tiny_model)
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_folder_that_everyone_can_write_is_refused(cache, folder, tiny_model):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(BackendError, match="can be written by everyone"):
        cache.get_or_build(tiny_model)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_an_engine_in_a_folder_that_everyone_can_write_is_not_taken(cache, folder, tiny_model):
    cache.get_or_build(tiny_model)
    folder.chmod(0o777)
    with pytest.raises(BackendError, match="can be written by everyone"):
        cache.get_or_build(tiny_model)
    folder.chmod(0o700)


# At once


def test_threads_build_one_after_the_other_and_each_engine_once(stub, tmp_path, monkeypatch):
    """In whatever folders: the GPU that they measure on is one."""
    models = [write_model(tmp_path / f"{seed}.onnx", dataclasses.replace(CONTRACT, name=str(seed))) for seed in (1, 2)]
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
        assert cache.EngineCache(folder).get_or_build(model).blob == b"engine 1"
"""


def test_processes_build_an_engine_once(tmp_path, tiny_model):
    command = [sys.executable, "-c", textwrap.dedent(_PROCESS), str(tmp_path / "cache"), str(tiny_model)]
    root = Path(__file__).parents[3]
    processes = [subprocess.Popen(command, cwd=root) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "built").read_text() == "x"


def test_an_engine_that_is_there_does_not_wait_for_anothers_build(stub, cache, folder, tiny_model):
    cache.get_or_build(tiny_model)
    with exclusive_lock(folder):
        thread = threading.Thread(target=cache.get_or_build, args=(tiny_model,), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
