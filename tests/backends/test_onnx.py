"""ONNX Runtime: the device that was asked for or an error, and one distribution of it."""

import logging
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.backends import DEVICES, Options, onnx, open_backend
from reid_runtime.backends.cuda import driver
from reid_runtime.errors import BackendError, MissingBackendError
from reid_runtime.install import install_line
from reid_runtime.model_file import ModelFile

from ..models import DIMENSION, write_model
from ..sample_images import sample_image

onnxruntime = pytest.importorskip("onnxruntime")
proto = pytest.importorskip("onnx")

without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime offers CUDA"
)


def pretend(monkeypatch, **versions):
    """Makes only these distributions installed, by name with _ for -."""

    def version(name):
        try:
            return versions[name.replace("-", "_")]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(metadata, "version", version)


def test_runs_a_batch(tiny_model):
    backend = open_backend(ModelFile.open(tiny_model), "cpu", Options(threads=1))
    vectors = backend.run(np.zeros((3, 16, 8, 3), np.uint8))
    assert vectors.shape == (3, DIMENSION)
    assert vectors.dtype == np.float32
    assert backend.name == "onnxruntime cpu"
    assert backend.device == "cpu"
    assert backend.max_batch_pixels >= 256 * 128


def with_last(path, *nodes):
    """The model with these nodes for its last one, which reads "unit" and writes "embeddings"."""
    model = proto.load(path)
    model.graph.initializer.append(proto.numpy_helper.from_array(np.array([2, 3], np.int64), "last_axes"))
    del model.graph.node[-1]
    model.graph.node.extend(nodes)
    model.graph.output[0].ClearField("type")
    return model


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("kind", ["pooled", "half"])
def test_outputs_as_others_export_them(tiny_model, tmp_path, device, kind):
    """(N, D, 1, 1), as global pooling leaves it, and float16."""
    if device == "openvino":
        pytest.importorskip("openvino")
    node = {
        "pooled": proto.helper.make_node("Unsqueeze", ["unit", "last_axes"], ["embeddings"]),
        "half": proto.helper.make_node("Cast", ["unit"], ["embeddings"], to=proto.TensorProto.FLOAT16),
    }[kind]
    model = with_last(tiny_model, node)
    float16 = proto.TensorProto.FLOAT16 if kind == "half" else proto.TensorProto.FLOAT
    model.graph.output[0].CopyFrom(proto.helper.make_tensor_value_info("embeddings", float16, None))
    proto.save(model, tmp_path / "m.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 8, 3), np.uint8)
    expected, actual = (
        open_backend(ModelFile.open(path), device).run(images) for path in (tiny_model, tmp_path / "m.onnx")
    )
    assert (actual.shape, actual.dtype) == ((3, DIMENSION), np.float32)
    np.testing.assert_allclose(actual, expected, atol=1e-3 if kind == "half" else 1e-6)


def test_sequence_output_is_refused(tiny_model, tmp_path):
    model = with_last(tiny_model, proto.helper.make_node("SequenceConstruct", ["unit"], ["embeddings"]))
    model.graph.output[0].CopyFrom(
        proto.helper.make_tensor_sequence_value_info("embeddings", proto.TensorProto.FLOAT, None)
    )
    proto.save(model, tmp_path / "m.onnx")
    with pytest.raises(
        BackendError, match=r"expected a tensor \(N, D\) of floats as output, found list: cut the graph where that is"
    ):
        open_backend(ModelFile.open(tmp_path / "m.onnx"), "cpu").run(np.zeros((1, 16, 8, 3), np.uint8))


@without_cuda
def test_cuda_is_never_the_cpu(tiny_model):
    with pytest.raises(BackendError, match=rf"device 'cuda'.*offers .*CPU.*{re.escape(install_line('gpu'))}"):
        open_backend(ModelFile.open(tiny_model), "cuda")


@without_cuda
def test_auto_logs_its_device(tiny_model, caplog):
    with caplog.at_level(logging.INFO, "reid_runtime"):
        assert open_backend(ModelFile.open(tiny_model), "auto").name == "onnxruntime cpu"
    assert [(seen.levelname, seen.getMessage()) for seen in caplog.records] == [
        ("INFO", "device auto: onnxruntime cpu")
    ]


@pytest.fixture
def offers_cuda(monkeypatch):
    """The package offers CUDA, and its session is the CPU's, as ONNX Runtime does with a mere warning."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    asked, original = [], onnxruntime.InferenceSession

    def session(path, options, providers, enable_fallback):
        assert not enable_fallback
        asked.append((options, providers))
        return original(path, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return asked


def chosen_by_auto(path, caplog):
    """The backend's name, and the one warning."""
    name = open_backend(ModelFile.open(path), "auto").name
    (message,) = [seen.getMessage() for seen in caplog.records if seen.levelname == "WARNING"]
    return name, message


def test_auto_without_a_driver(tiny_model, offers_cuda, monkeypatch, caplog):
    monkeypatch.setattr(driver, "missing_gpu", lambda: "no NVIDIA driver: libcuda.so.1")
    name, message = chosen_by_auto(tiny_model, caplog)
    assert name == "onnxruntime cpu"
    assert "CUDA, which is installed, cannot be used" in message
    assert "there is no NVIDIA driver: libcuda.so.1: install" in message
    with pytest.raises(MissingBackendError, match="no NVIDIA driver"):
        open_backend(ModelFile.open(tiny_model), "cuda")


def test_auto_without_cuda_libraries(tiny_model, offers_cuda, monkeypatch, caplog, capsys):
    monkeypatch.setattr(driver, "missing_gpu", lambda: None)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcudnn.so.9"), raising=False)
    name, message = chosen_by_auto(tiny_model, caplog)
    assert name == "onnxruntime cpu"
    assert "ONNX Runtime chose CPUExecutionProvider" in message
    assert f"{install_line('gpu', '--force-reinstall')} (Failed to load libcudnn.so.9)" in message
    assert capsys.readouterr().out == ""  # it belongs to --json


def test_cuda_options(tiny_model, offers_cuda, monkeypatch):
    monkeypatch.setattr(driver, "missing_gpu", lambda: None)
    with pytest.raises(MissingBackendError, match="'cuda' was asked for, ONNX Runtime chose CPUExecutionProvider"):
        open_backend(ModelFile.open(tiny_model), "cuda")
    ((options, providers),) = offers_cuda
    assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
    cuda = {"device_id": "0", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    assert providers == [("CUDAExecutionProvider", cuda)]


def test_broken_package(tiny_model, monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "onnxruntime":
                raise ImportError("libstdc++.so.6: version `GLIBCXX_3.4.32' not found")

    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(BackendError, match=r"onnxruntime \S+ is installed and cannot be imported \(libstdc.*install"):
        open_backend(ModelFile.open(tiny_model), "cpu")


@pytest.mark.parametrize("left", ["", "raise RuntimeError('numpy is too new')"])
def test_remains_of_a_package(tiny_model, tmp_path, monkeypatch, left):
    (tmp_path / "onnxruntime.py").write_text(left)
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match=r"onnxruntime \S+ is installed and cannot be imported .*then pip install"):
        open_backend(ModelFile.open(tiny_model), "cpu")


@pytest.mark.parametrize(("device", "package"), [("cpu", "onnxruntime"), ("openvino", "openvino")])
@pytest.mark.parametrize("signalled", [SystemExit, KeyboardInterrupt])
def test_signal_during_the_import(tiny_model, tmp_path, monkeypatch, device, package, signalled):
    (tmp_path / f"{package}.py").write_text(
        f"raise ImportError('initialization failed') from {signalled.__name__}(143)"
    )
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(signalled):
        open_backend(ModelFile.open(tiny_model), device)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_sixteen_threads(device):
    """The default model, crops of several shapes, alone and in batches: bit for bit."""
    if device == "openvino":
        pytest.importorskip("openvino", reason="needs the extra openvino")
    embedder = Embedder.load(device=device)
    crops = [sample_image(height, width, seed) for seed in range(2) for height, width in [(90, 20), (64, 18)]]
    frame = sample_image(90, 120)
    boxes = [(0, 0, 20, 60), (40, 10, 60, 90)]
    expected = embedder.embed(crops, "rgb"), embedder.embed_boxes(frame, boxes, "rgb")
    start = threading.Barrier(16)

    def work(index):
        order = np.random.default_rng(index).permutation(len(crops))
        start.wait(timeout=60)
        vectors = np.empty_like(expected[0])
        if index % 2:
            vectors[order] = embedder.embed([crops[row] for row in order], "rgb")
        else:
            for row in order:
                vectors[row] = embedder.embed([crops[row]], "rgb")[0]
        return vectors, embedder.embed_boxes(frame, boxes, "rgb")

    with ThreadPoolExecutor(16) as pool:
        result = list(pool.map(work, range(16)))
    assert all(np.array_equal(vectors, expected[0]) for vectors, _ in result)
    assert all(np.array_equal(vectors, expected[1]) for _, vectors in result)


@pytest.mark.parametrize("device", ["gpu", "CUDA", ""])
def test_unknown_devices_are_refused(tiny_model, device):
    with pytest.raises(BackendError, match=f"no device is called {device!r}; known: {', '.join(DEVICES)}"):
        open_backend(ModelFile.open(tiny_model), device)


def test_two_distributions(tiny_model, monkeypatch):
    pretend(monkeypatch, onnxruntime="1.20.0", onnxruntime_gpu="1.23.0")
    for device in ("auto", "cpu", "cuda"):
        with pytest.raises(BackendError, match=r"both onnxruntime 1\.20\.0 and onnxruntime-gpu 1\.23\.0 .*uninstall"):
            open_backend(ModelFile.open(tiny_model), device)


@pytest.mark.parametrize(("device", "extra"), [("cpu", "cpu"), ("auto", "cpu"), ("cuda", "gpu")])
def test_no_distribution(tiny_model, monkeypatch, device, extra):
    pretend(monkeypatch)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=re.escape(install_line(extra))):
        open_backend(ModelFile.open(tiny_model), device)


def test_the_gpu_distribution_alone_is_fine(monkeypatch):
    pretend(monkeypatch, onnxruntime_gpu="1.23.0")
    assert onnx.import_onnxruntime("gpu") is onnxruntime


def test_two_inputs_are_refused(tmp_path):
    path = write_model(tmp_path / "two.onnx", inputs=2)
    with pytest.raises(BackendError, match=r"two\.onnx: expected one input, found images, more"):
        open_backend(ModelFile.open(path), "cpu")


def test_a_failed_batch_says_what_was_given(tiny_model):
    backend = open_backend(ModelFile.open(tiny_model), "cpu")
    for batch in (np.zeros((1, 3, 16, 8), np.float32), np.zeros((16, 8, 3), np.uint8)):
        with pytest.raises(BackendError, match=f"onnxruntime cpu failed on a batch of shape .* {batch.dtype}: "):
            backend.run(batch)


def test_loading_prints_nothing(tiny_model, tmp_path, capfd):
    """Standard output belongs to --json; ONNX Runtime would try again, and say so there."""
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_model.read_bytes().replace(b"images", b"im\xffges"))
    with pytest.raises(BackendError):
        Embedder.load(path).embed([sample_image()], "rgb")
    assert capfd.readouterr().out == ""


def test_it_has_a_thread_for_each_core_of_this_process(tiny_model, monkeypatch):
    """Left to itself it also binds threads to cores where the process may not run."""
    monkeypatch.setattr("reid_runtime.backends.onnx.cores", lambda: 3)
    for asked, expected in ((None, 3), (1, 1)):
        backend = open_backend(ModelFile.open(tiny_model), "cpu", Options(threads=asked))
        assert backend._session.get_session_options().intra_op_num_threads == expected
