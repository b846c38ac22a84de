"""device="tensorrt": from a file to a backend, by way of the engine cache, on the fakes."""

import dataclasses
from contextlib import closing

import pytest

from reid_runtime import Embedder
from reid_runtime.backends import onnx as onnx_module
from reid_runtime.backends import open_backend
from reid_runtime.backends.base import Options
from reid_runtime.backends.cuda.driver import Gpu
from reid_runtime.backends.tensorrt import open as open_module
from reid_runtime.backends.tensorrt.engine import BuildOptions, Engine, Origin, write_engine
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.formats import sidecar_path

from ...models import CONTRACT, FOREIGN, stated_for, write_model
from ...sample_images import encode, sample_image
from .fake_machine import FakeMachine, near
from .fake_tensorrt import BLOB

GPU = Gpu("fake GPU", "8.6", "13.0")
ORIGIN = Origin("sha256:00", "tensorrt", "11.4.0.106", GPU, BuildOptions(), "not run: no GPU")


class Cache:
    """An EngineCache that builds at once what the fake runs, and remembers what it was asked for."""

    blob = BLOB

    def __init__(self):
        self.asked = []

    def get_or_build(self, file, *, fresh=False):
        self.asked.append((file.path, file.contract, fresh))
        derived = dataclasses.replace(file.contract, parent="sha256:00", scores=())
        return Engine(BLOB if fresh else self.blob, derived.to_json(), ())


@pytest.fixture
def machine(monkeypatch, tiny_model):
    machine = FakeMachine(monkeypatch, tiny_model)
    machine.cache = Cache()
    monkeypatch.setattr(open_module, "open_cuda", lambda: machine.cuda)
    monkeypatch.setattr(open_module, "find_gpu", lambda: GPU)
    monkeypatch.setattr(open_module, "EngineCache", lambda: machine.cache)
    yield machine
    machine.check()


@pytest.fixture
def path(machine, tmp_path):
    path = tmp_path / "model.engine"
    write_engine(path, Engine(BLOB, CONTRACT.to_json(), (), ORIGIN))
    return path


@pytest.fixture
def stated(tmp_path):
    path = tmp_path / "contract.json"
    path.write_text(CONTRACT.to_json())
    return path


def test_onnx_file(machine, tiny, tiny_model):
    embedder = Embedder.load(tiny_model, device="tensorrt")
    crops = [sample_image(40, 20, seed) for seed in range(6)]
    near(embedder.embed(crops, channel_order="rgb"), tiny.embed(crops, channel_order="rgb"))
    assert embedder.contract.contract_id == tiny.contract.contract_id
    assert embedder.artefact_id == Engine(BLOB, None, ()).digest != tiny.artefact_id
    assert machine.cache.asked == [(tiny_model, CONTRACT, False)]
    embedder.backend.close()


def test_refused_engine_is_built_again(machine, tiny_model):
    machine.cache.blob = b"damaged"
    with pytest.warns(UserWarning, match=r"will not load the engine: .*magicTag.*; building the engine of .* again"):
        backend = open_backend(ModelFile.open(tiny_model), "tensorrt")
    assert [fresh for _, _, fresh in machine.cache.asked] == [False, True]
    backend.close()


def test_refused_twice(machine, tiny_model, monkeypatch):
    damaged = Engine(b"damaged", CONTRACT.to_json(), ())
    monkeypatch.setattr(machine.cache, "get_or_build", lambda *_, **__: damaged)
    with (
        pytest.warns(UserWarning, match="building the engine"),
        pytest.raises(BackendError, match=r"TensorRT 11\.4\.0\.106 will not load the engine: .*magicTag"),
    ):
        open_backend(ModelFile.open(tiny_model), "tensorrt")


def test_stated_contract(machine, tmp_path, stated):
    path = write_model(tmp_path / "m.onnx", None)
    contract = stated_for(path)
    stated.write_text(contract.to_json())
    embedder = Embedder.load(path, device="tensorrt", contract=stated)
    assert machine.cache.asked == [(path, contract, False)]
    assert embedder.contract.contract_id == contract.contract_id
    embedder.backend.close()


class TestEngineFiles:
    def test_run_where_they_were_built(self, machine, path, tiny):
        embedder = Embedder.load(path, device="tensorrt")
        crops = [sample_image(30, 20)]
        near(embedder.embed(crops, channel_order="rgb"), tiny.embed(crops, channel_order="rgb"))
        assert machine.cache.asked == []
        embedder.backend.close()

    def test_not_on_another_gpu(self, machine, path, monkeypatch):
        monkeypatch.setattr(open_module, "find_gpu", lambda: Gpu("another", "9.0", "13.0"))
        with pytest.raises(BackendError, match="build it again here"):
            open_backend(ModelFile.open(path), "tensorrt")

    def test_without_a_device_being_named(self, path):
        with closing(open_backend(ModelFile.open(path), "auto")) as backend:
            assert backend.name == "TensorRT 11.4.0.106 with fake GPU"

    def test_not_by_another_device(self, path):
        with pytest.raises(BackendError, match=r"runs \.onnx files, found \.engine: use device 'tensorrt'"):
            open_backend(ModelFile.open(path), "cpu")

    def test_strangers_need_to_be_trusted(self, machine, tmp_path, stated):
        path = tmp_path / "foreign.engine"
        path.write_bytes(BLOB)
        with pytest.raises(BackendError, match=r"an engine is code: .*trust_engine=True \(--trust-engine\)"):
            Embedder.load(path, device="tensorrt", contract=stated)
        embedder = Embedder.load(path, device="tensorrt", contract=stated, trust_engine=True)
        assert embedder.contract == Contract.from_json(CONTRACT.to_json(), "")
        embedder.backend.close()

    def test_no_second_contract_beside_their_own(self, path, stated):
        with pytest.raises(ContractError, match="carries its own contract"):
            Embedder.load(path, device="tensorrt", contract=stated)


def test_engine_without_sidecar_or_contract(machine, tmp_path):
    (tmp_path / "foreign.engine").write_bytes(BLOB)
    with pytest.raises(ContractError, match=r"foreign\.engine carries no contract.*--contract FILE"):
        Embedder.load(tmp_path / "foreign.engine", device="tensorrt", trust_engine=True)


def test_damaged_engine_is_not_described(path, command):
    path.write_bytes(path.read_bytes() + b"x")
    assert "model.engine is damaged: sha256:" in command("describe", path).err
    sidecar_path(path).write_text("{")
    assert "model.engine.json is no engine's sidecar" in command("describe", path).err


def test_describe_and_verify(path, command):
    assert "mean and maximum of the colours" in command("describe", path).out
    assert (
        "its self-test record lies in its ONNX file: verify that one with --device tensorrt"
        in command("verify", path).err
    )


def test_trust_engine_flag(machine, command, tmp_path, stated):
    (tmp_path / "foreign.engine").write_bytes(BLOB)
    (tmp_path / "one.png").write_bytes(encode(sample_image(40, 20), "PNG"))
    arguments = (
        *("embed", tmp_path / "one.png", "-o", tmp_path / "out.npz"),
        *("--model", tmp_path / "foreign.engine", "--contract", stated),
    )
    refused = command(*arguments)
    assert refused.code == 1
    assert "an engine is code: " in refused.err
    assert "(--trust-engine) if you know who made it" in refused.err
    assert command(*arguments, "--trust-engine").code == 0
    assert (tmp_path / "out.npz").exists()


class TestFallback:
    """A crop of 16x2 is outside every profile of the fake's engine."""

    @pytest.fixture
    def asked(self, monkeypatch):
        """The devices that ONNX Runtime was asked for; it has but the CPU here."""
        asked, on_cpu = [], onnx_module.OnnxBackend
        monkeypatch.setattr(
            onnx_module, "OnnxBackend", lambda path, device, *_: asked.append(device) or on_cpu(path, "cpu")
        )
        return asked

    def test_is_an_onnx_file_on_cuda(self, machine, path, tiny, tiny_model, asked):
        crops = [sample_image(64, 8), sample_image(40, 20)]
        embedder = Embedder.load(path, device="tensorrt")
        with pytest.raises(BackendError, match=r"16x2; the nearest takes .*, or load it with fallback=FILE\.onnx"):
            embedder.embed(crops, channel_order="rgb")
        embedder.backend.close()
        embedder = Embedder.load(path, device="tensorrt", fallback=tiny_model)
        near(embedder.embed(crops, channel_order="rgb"), tiny.embed(crops, channel_order="rgb"))
        assert asked == ["cuda"]
        embedder.backend.close()

    @pytest.mark.parametrize("change", [{"weights": "sha256:11"}, {"input": FOREIGN.input}])
    def test_of_another_model_is_refused(self, machine, path, tmp_path, asked, change):
        onnx = write_model(tmp_path / "other.onnx", dataclasses.replace(CONTRACT, **change))
        with pytest.raises(ContractError, match=r"the fallback must be of the engine's model, .*; found one of "):
            Embedder.load(path, device="tensorrt", fallback=onnx)


def test_cuda_graphs(machine, tiny, tiny_model):
    for graphs, launched in ((0, 0), (2, 1)):
        embedder = Embedder.load(tiny_model, device="tensorrt", cuda_graphs=graphs)
        crops = [sample_image(40, 20, 1)]
        machine.cuda.faults.arm(None)
        for _ in range(2):
            near(embedder.embed(crops, channel_order="rgb"), tiny.embed(crops, channel_order="rgb"))
        assert machine.cuda.faults.calls.count("cuGraphLaunch") == launched
        embedder.backend.close()


@pytest.mark.parametrize("option", [{"cuda_graphs": 1}, {"fallback": "model.onnx"}])
def test_engine_options_elsewhere(tiny_model, option):
    with pytest.raises(BackendError, match="are for device 'tensorrt', and 'cpu' was asked for"):
        Embedder.load(tiny_model, **option)


def test_graphs_without_capture(machine, tiny_model, monkeypatch):
    monkeypatch.setattr(machine.cuda, "captures_graphs", False, raising=False)
    with pytest.raises(BackendError, match="cannot capture CUDA graphs: use cuda-bindings, or cuda_graphs=0"):
        open_module.open_tensorrt(ModelFile.open(tiny_model), Options(cuda_graphs=2))
