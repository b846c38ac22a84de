"""The model repository: Triton's own schema reads it, what it names is there, and wrong files are refused."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra export")
text_format = pytest.importorskip("google.protobuf.text_format", reason="needs the extra remote")
pytest.importorskip("tritonclient.grpc", reason="needs the extra remote")
pytest.importorskip("onnxruntime")

from tritonclient.grpc.model_config_pb2 import ModelConfig

from reid_runtime import Embedder
from reid_runtime.backends.cuda.driver import Gpu
from reid_runtime.backends.remote.client import metadata_of
from reid_runtime.backends.remote.statement import ARTEFACT_KEY, Statement
from reid_runtime.backends.tensorrt.engine import BuildOptions, Engine, Origin, write_engine
from reid_runtime.backends.tensorrt.profiles import Batches, profiles_for
from reid_runtime.model_file.file import artefact_digest

from ..models import DIMENSION, FOREIGN, stated_for, write_model
from ..recorded import record_of, write_recorded


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_recorded(tmp_path_factory.mktemp("triton") / "reid.onnx")


@pytest.fixture(autouse=True)
def _engines_of_this_test(monkeypatch, tmp_path):
    monkeypatch.setenv("REID_RUNTIME_CACHE", str(tmp_path / "cache"))


def read(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())


def statement(config):
    parameters = {key: {"string_value": each.string_value} for key, each in config.parameters.items()}
    return Statement.of(metadata_of({}, {"parameters": parameters}), "config.pbtxt")


def write_engine_of(model, path, package="tensorrt"):
    """An engine file as to_tensorrt leaves it, of bytes that no TensorRT made."""
    contract = Embedder.load(model).contract
    gpu = Gpu("a GPU", "8.6", "13.0")
    origin = Origin(artefact_digest(model), package, "11.4.0", gpu, BuildOptions(), "not run: no GPU")
    drifted = dataclasses.replace(contract, drift={"worst_cosine": 0.99999})
    write_engine(path, Engine(b"plan", drifted.to_json(), profiles_for(contract.resize, Batches(2, 6)), origin))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt", "python"])
def test_repository(export, model, tmp_path, backend):
    source, options = model, ("--backend", backend)
    if backend == "openvino":
        pytest.importorskip("openvino")
    if backend == "tensorrt":
        source, options = tmp_path / "reid.engine", ("--record-of", model)
        write_engine_of(model, source)
    run = export("to_triton", source, "-o", tmp_path / "repository", "--instances", 2, *options)
    assert run.code == 0, run.err
    assert run.out.startswith(f"wrote {tmp_path}/repository/reid: {backend}, contract ")
    folder = tmp_path / "repository" / "reid"
    config = read(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("reid", backend, 6 if backend == "tensorrt" else 32)
    (taken,), (given,) = config.input, config.output
    kinds = ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
    assert (taken.name, kinds[taken.data_type].name) == ("images", "TYPE_UINT8")
    assert (list(taken.dims), given.name, list(given.dims)) == ([-1, -1, 3], "embeddings", [DIMENSION])
    assert config.HasField("dynamic_batching")
    (group,) = config.instance_group
    profiles = profiles_for(Embedder.load(model).contract.resize, Batches(2, 6)) if backend == "tensorrt" else ()
    assert (group.count, len(group.profile)) == (2, len(profiles))
    for warmup in config.model_warmup:
        tensor = warmup.inputs["images"]
        assert (folder / "warmup" / tensor.input_data_file).stat().st_size == np.prod(tensor.dims)
    assert len(config.model_warmup) == len(record_of(model).images)
    files = {path.name: path for path in (folder / "1").iterdir()}
    assert config.default_model_filename in files
    stated = statement(config)
    assert json.loads((folder / "contract.json").read_text()) == json.loads(stated.contract.to_json())
    assert np.array_equal(stated.record.vectors, record_of(model).vectors)
    runs = files["model.onnx" if backend == "python" else config.default_model_filename]
    assert stated.artefact_id == artefact_digest(runs)
    assert sorted(path.name for path in (tmp_path / "repository").iterdir()) == ["reid"]


def test_third_party_of_one_size(export, tmp_path):
    """Planes of floats, under a stated contract; what the graph fixes the configuration fixes."""
    model = write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw")
    (tmp_path / "stated.json").write_text(stated_for(model, FOREIGN).to_json())
    run = export("to_triton", model, "-o", tmp_path / "out", "--contract", tmp_path / "stated.json", "--name", "other")
    assert run.code == 0, run.err
    config = read(tmp_path / "out" / "other")
    assert list(config.input[0].dims) == [3, -1, -1]
    assert ARTEFACT_KEY in config.parameters
    assert statement(config).record is None


def test_refusals(export, model, tmp_path):
    out = tmp_path / "out"
    assert export("to_triton", model, "-o", out).code == 0
    run = export("to_triton", model, "-o", out)
    assert (run.code, "--force replaces it" in run.err) == (1, True)
    assert export("to_triton", model, "-o", out, "--force", "--batch", 4).code == 0
    assert read(out / "reid").max_batch_size == 4
    run = export("to_triton", model, "-o", out, "--backend", "tensorrt", "--force")
    assert (run.code, "python -m export.to_tensorrt builds engines" in run.err) == (1, True)
    assert read(out / "reid").max_batch_size == 4
    write_engine_of(model, tmp_path / "rtx.engine", "tensorrt_rtx")
    run = export("to_triton", tmp_path / "rtx.engine", "-o", out)
    assert (run.code, "Triton runs TensorRT's engines alone" in run.err) == (1, True)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes().replace(b"embeddings", b"embedding5"))
    assert export("to_triton", damaged, "-o", out).code == 1
    assert sorted(path.name for path in out.iterdir()) == ["reid"]
