"""OpenVINO gives what ONNX Runtime gives, and says so where it cannot."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from reid_runtime import BackendError, Embedder
from reid_runtime.agreement import compare
from reid_runtime.backends import openvino as backend
from reid_runtime.backends.base import Options
from reid_runtime.backends.openvino_graph import fold_constants
from reid_runtime.errors import MissingBackendError
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import selftest_images
from reid_runtime.model_file.precision import Precision

from ..models import stated_for

pytest.importorskip("openvino", reason="needs the extra openvino")


@pytest.fixture(scope="module")
def pair():
    return Embedder.load(), Embedder.load(device="openvino")


def crops(count, height=90, width=37):
    return list(np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("height", "width"), [(128, 64), (64, 128), (33, 90), (300, 1), (257, 131)])
def test_gives_onnx_runtimes_vectors(pair, height, width):
    images = crops(3, height, width)
    expected, result = (embedder.embed(images, channel_order="rgb") for embedder in pair)
    assert (expected * result).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_contract_of_an_onnx_file(pair):
    onnx, openvino = pair
    assert openvino.contract == onnx.contract
    assert openvino.artefact_id == onnx.artefact_id


def require(device):
    if device == "openvino-bf16" and "BF16" not in backend.openvino_core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        pytest.skip("this CPU has no bfloat16")


@pytest.fixture
def one_sizes(monkeypatch):
    """The shapes for which a network is compiled, here for a few images already."""
    for name in ("openvino._WORTH", "fixed_sizes._WORTH"):
        monkeypatch.setattr(f"reid_runtime.backends.{name}", 8)
    shapes = []
    of_one_size = backend.OpenVinoBackend._of_one_size
    monkeypatch.setattr(
        backend.OpenVinoBackend, "_of_one_size", lambda self, shape: shapes.append(shape) or of_one_size(self, shape)
    )
    return shapes


@pytest.mark.parametrize("device", ["openvino", "openvino-bf16"])
def test_a_network_of_one_size_gives_the_bytes_of_any_size(device, one_sizes, monkeypatch, caplog):
    """Sides that divide by two exactly and others, for its pooling's weights are resized to the feature map."""
    require(device)
    caplog.set_level("INFO")
    sizes = ((128, 64), (70, 50))
    images = [each for size in sizes for each in crops(18, *size)]
    monkeypatch.setattr("reid_runtime.backends.fixed_sizes._MOST", 0)
    expected = Embedder.load("tiny", device=device, threads=2).embed(images, "rgb")
    assert not one_sizes
    monkeypatch.setattr("reid_runtime.backends.fixed_sizes._MOST", 8)
    embedder = Embedder.load("tiny", device=device, threads=2)
    for _ in range(5):
        assert embedder.embed(images, "rgb").tobytes() == expected.tobytes()
    assert {shape[1:3] for shape in one_sizes} == {embedder.contract.resize.shape(*size) for size in sizes}
    assert "keep the network of free sizes" not in caplog.text


@pytest.mark.parametrize("device", ["openvino", "openvino-bf16"])
def test_fast_stays_within_what_rounding_in_another_order_gives(device, one_sizes):
    """And the sizes that few images have keep their bytes."""
    require(device)
    images = crops(33, 128, 64) + crops(2, 100, 60)
    exact = Embedder.load("tiny", device=device, threads=2)
    expected = [exact.embed(images, "rgb") for _ in range(2)][1]
    one_sizes.clear()
    fast = Embedder.load("tiny", device=device, threads=2, fast=True)
    result = [fast.embed(images, "rgb") for _ in range(2)][1]
    assert {shape[1:3] for shape in one_sizes} == {(256, 128)}
    assert (expected * result).sum(axis=1).min() > (0.999999 if device == "openvino" else 0.99)
    assert expected[33:].tobytes() == result[33:].tobytes()
    assert fast.backend.name.endswith(", fast")


def test_constants_are_folded_and_bytes_stay():
    openvino, core, path = backend.import_openvino(), backend.openvino_core(), Embedder.load("tiny").backend.path
    folded, model = core.read_model(path), core.read_model(path)
    fold_constants(openvino, folded)
    images = np.stack(crops(2, 128, 64))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    before, after = (core.compile_model(each, "CPU", exact) for each in (model, folded))
    assert before([images])[before.output("embeddings")].tobytes() == after([images])[0].tobytes()
    biases = [sum(layer.startswith("Reshape_") for layer in layers_of(each)) for each in (before, after)]
    assert biases[0] > 100
    assert biases[1] < 20


def layers_of(compiled):
    return [each.get_friendly_name() for each in compiled.get_runtime_model().get_ops()]


def test_fast_is_refused_where_there_is_no_such_mode():
    with pytest.raises(
        BackendError, match="'cpu' has no faster mode: expected --device openvino or openvino-bf16 with --fast"
    ):
        Embedder.load("tiny", fast=True)


def test_fast_is_refused_in_int8(pair):
    _, openvino = pair
    int8 = replace(openvino.contract, precision=Precision("int8", "cpu", "s"))
    with pytest.raises(BackendError, match="for float32 files"):
        backend.open_float32(replace(ModelFile.open(openvino.path), contract=int8), Options(fast=True))


def test_vectors_are_copied(pair):
    _, openvino = pair
    first = openvino.embed(crops(2), channel_order="rgb")
    kept = first.copy()
    openvino.embed(crops(4, 50, 50)[2:], channel_order="rgb")
    assert np.array_equal(first, kept)


def test_threads_share_one(pair):
    _, openvino = pair
    images = crops(12)
    alone = [openvino.embed([image], channel_order="rgb") for image in images]
    result: dict[int, np.ndarray] = {}

    def work(start):
        for index in range(start, 12, 4):
            result[index] = openvino.embed([images[index]], channel_order="rgb")

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result[index], alone[index]) for index in range(12))


def test_no_model(tmp_path):
    for name, content, said in (
        ("broken.xml", "<net>", "is damaged or no OpenVINO model"),
        ("broken.onnx", "<net>", "is damaged or no ONNX file"),
        ("empty.xml", "<net/>", "OpenVINO cannot load it"),
    ):
        (tmp_path / name).write_text(content)
        (tmp_path / "contract.json").write_text(stated_for(tmp_path / name).to_json())
        with pytest.raises(BackendError, match=said):
            Embedder.load(tmp_path / name, device="openvino", contract=tmp_path / "contract.json")


def test_xml_on_another_device(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text("<net/>")
    with pytest.raises(BackendError, match="use device 'openvino'"):
        Embedder.load(path, device="cpu")


def test_no_telemetry(tmp_path):
    code = (
        "import sys, socket; socket.socket.connect = lambda *_: sys.exit(9); "
        "from reid_runtime import Embedder; Embedder.load(device='openvino'); "
        "import openvino; assert sys.modules.get('openvino_telemetry') is None"
    )
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_after_embedders_are_gone(tiny_model):
    """Two of them, the first one to come the first to go; and one that a thread opened."""
    code = (
        "import os, signal, sys, threading; from reid_runtime import Embedder\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "embedders = [Embedder.load(sys.argv[1], device='openvino') for _ in range(2)]\n"
        "embedders.pop(0); embedders.pop(0)\n"
        "opener = threading.Thread(target=Embedder.load, args=sys.argv[1:], kwargs={'device': 'openvino'})\n"
        "opener.start(); opener.join()\n"
        "try: os.kill(os.getpid(), signal.SIGINT); opener.join(10)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    run = [sys.executable, "-c", code, str(tiny_model)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def has_bfloat16():
    return "BF16" in backend.openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_bfloat16_logs_its_drift(pair, caplog):
    if not has_bfloat16():
        pytest.skip("this CPU does not compute in bfloat16")
    _, exact = pair
    embedder = Embedder.load(device="openvino-bf16")
    assert embedder.backend.name == "openvino cpu, bfloat16"
    assert embedder.contract == exact.contract
    crops = selftest_images()
    measured = compare(exact.embed(crops), embedder.embed(crops))
    assert embedder.drift == measured
    assert 0.98 < measured.worst_cosine < 0.9999  # another arithmetic, and no other model
    (message,) = [seen.getMessage() for seen in caplog.records if seen.levelname == "WARNING"]
    assert message.startswith("openvino cpu, bfloat16: its vectors are not float32's: on 4 crops")
    assert f"{measured.worst_cosine:.4f}" in message
    assert exact.drift is None


def test_bfloat16_is_refused(monkeypatch):
    monkeypatch.setattr(type(backend.openvino_core()), "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(MissingBackendError, match=r"AVX512-BF16 or AMX.*FP32, INT8: use device 'openvino'"):
        Embedder.load(device="openvino-bf16")


def test_changed_precision_is_refused(monkeypatch, tiny_model):
    """OpenVINO takes its hints as such: what it then computes in is looked at."""
    monkeypatch.setitem(backend._HINTS, "float32", "f16")
    real = backend.import_openvino().Core.compile_model
    monkeypatch.setattr(
        type(backend.openvino_core()),
        "compile_model",
        lambda core, model, device, options: real(core, model, device, options | {"INFERENCE_PRECISION_HINT": "f32"}),
    )
    with pytest.raises(BackendError, match="float32 was asked for, OpenVINO chose f32"):
        Embedder.load(tiny_model, device="openvino")
