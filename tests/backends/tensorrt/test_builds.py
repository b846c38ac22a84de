"""Real builds by TensorRT-RTX, which needs no GPU for them: every kind of artefact, every GPU, all profiles."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install tensorrt-rtx==1.7.1.116")
onnx = pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxruntime")

import tensorrt_rtx as trt

from export.calibration import collect_ranges
from export.quantise import TENSORRT, GraphIndex, quantise, ranged_tensors
from export.to_fp16 import half_graph
from reid_runtime import BackendError
from reid_runtime.backends.tensorrt import cache as cache_module
from reid_runtime.backends.tensorrt.build import BuildRequest, build
from reid_runtime.backends.tensorrt.cache import EngineCache, plan_build
from reid_runtime.backends.tensorrt.engine import BuildOptions
from reid_runtime.backends.tensorrt.profiles import Batches, Profile, profiles_for
from reid_runtime.backends.tensorrt.progress import no_progress
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import resize
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import METADATA_KEY
from reid_runtime.model_file.packaged import default_model, selftest_images
from reid_runtime.model_file.precision import Precision

from .graphs import write_network

CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")


@pytest.fixture(autouse=True)
def rtx(monkeypatch):
    """TensorRT-RTX even where the full TensorRT is installed beside it."""
    monkeypatch.setattr(cache_module, "import_tensorrt", lambda: trt)


FOR_8_6 = BuildOptions(compute_capabilities=("8.6",))


def request_of(path, *, options=FOR_8_6, profiles=None):
    file = ModelFile.open(path)
    profiles = profiles_for(file.contract.resize, Batches(), None) if profiles is None else profiles
    return plan_build(trt, file, profiles, options)[0]


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_every_kind_for_every_gpu(tmp_path, kind):
    path = write_network(tmp_path / "model.onnx", kind)
    seen = set()
    for capability in CAPABILITIES:
        request = request_of(path, options=BuildOptions(compute_capabilities=(capability,)))
        assert len(request.profiles) == 4
        built = build(trt, request)
        assert built.profiles == request.profiles
        seen.add(built.blob)
    assert len(seen) == len(CAPABILITIES)


def test_precision_is_the_files(tmp_path):
    """Weights of half the size make a smaller engine, with no flag given: a million of them."""
    sizes = {}
    for kind in ("float32", "float16"):
        path = write_network(tmp_path / f"{kind}.onnx", kind, channels=512)
        sizes[kind] = len(build(trt, request_of(path)).blob)
    assert sizes["float32"] - sizes["float16"] > 1_000_000


def test_default_model_with_progress():
    request = request_of(default_model())
    seen = []
    built = build(trt, request, lambda part, phase: seen.append(part))
    assert len(built.blob) > 10_000_000
    assert len(seen) > 50
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_derived_models(tmp_path, kind):
    model, contract = onnx.load(str(default_model())), ModelFile.open(default_model()).contract
    if kind == "float16":
        model = half_graph(model, 2)
    else:
        crops = [resize(load_image(crop), (256, 112)) for crop in selftest_images()]
        layers = GraphIndex(model).layers(TENSORRT)
        model = quantise(model, TENSORRT, collect_ranges(model, ranged_tensors(model, TENSORRT), crops), 95, layers)
    path = tmp_path / "model.onnx"
    onnx.helper.set_model_props(model, {METADATA_KEY: replace(contract, precision=Precision(kind)).to_json()})
    onnx.save(model, str(path))
    request = request_of(path, options=BuildOptions(compute_capabilities=CAPABILITIES))
    assert len(request.profiles) == 4
    built = build(trt, request)
    assert built.profiles == request.profiles


def test_cache(tmp_path, monkeypatch):
    path = write_network(tmp_path / "model.onnx")
    engine = EngineCache(tmp_path / "cache").get_or_build(ModelFile.open(path))
    monkeypatch.setattr(cache_module, "build", None)
    assert EngineCache(tmp_path / "cache").get_or_build(ModelFile.open(path)) == engine
    assert (engine.origin.package, engine.origin.gpu) == ("tensorrt_rtx", None)


def test_unknown_operator(tmp_path):
    path = write_network(tmp_path / "model.onnx", first="Foreign")
    with pytest.raises(
        BackendError, match=r"TensorRT-RTX .* cannot take this graph: node 'Sharpen sharp' \(Sharpen\): "
    ):
        build(trt, request_of(path))


def test_transpose_before_cast(tmp_path):
    path = write_network(tmp_path / "model.onnx", first="Transpose")
    with pytest.raises(BackendError, match=r"node 'Transpose turned' \(Transpose\): .*UInt8"):
        build(trt, request_of(path))


def test_the_int8_kind_for_cpus_is_refused(tmp_path):
    path = write_network(tmp_path / "model.onnx", "int8-cpu")
    with pytest.raises(BackendError, match="this INT8 file is of the kind for CPUs"):
        build(trt, request_of(path))


def test_profile_without_pixels(tmp_path):
    path = write_network(tmp_path / "model.onnx", padding=0)
    with pytest.raises(BackendError, match=r"cannot build an engine: .*[Dd]imension"):
        build(trt, request_of(path, profiles=(Profile((1, 64, 1), (4, 64, 1), (4, 64, 1)),)))


def test_profile_outside_the_graph(tmp_path):
    path = write_network(tmp_path / "model.onnx", shape=("batch", 64, 32, 3))
    with pytest.raises(
        BackendError, match=r"its graph takes height 64 and no other|its graph takes width 32 and no other"
    ):
        build(trt, request_of(path))


def test_a_fixed_batch_is_the_profiles_batch(tmp_path):
    path = write_network(tmp_path / "model.onnx", shape=(1, "height", "width", 3))
    built = build(trt, request_of(path))
    assert {axis[0] for profile in built.profiles for axis in (profile.minimum, profile.maximum)} == {1}


@pytest.mark.parametrize(("capability", "message"), [("9.0", "it does for .*8.6"), ("SM86", "does not build for")])
def test_unknown_gpu(tmp_path, capability, message):
    path = write_network(tmp_path / "model.onnx")
    with pytest.raises(BackendError, match=message):
        build(trt, request_of(path, options=BuildOptions(compute_capabilities=(capability,))))


def test_other_layout_than_the_contracts(tmp_path):
    path = write_network(tmp_path / "model.onnx", shape=("batch", 3, "height", "width"))
    with pytest.raises(BackendError, match=r"its contract says uint8 NHWC, its graph takes .*UINT8 \(-1, 3, -1, -1\)"):
        build(trt, request_of(path))


STOPPED = """if True:
    import os, signal, time
    from reid_runtime.model_file.packaged import default_model
    from tests.backends.tensorrt.test_builds import build, request_of, trt

    seen = []

    def press(part, phase):
        seen.append(part)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # however busy the machine is, the signal comes before half of a hundred steps

    # Started in the background by a shell, a process ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        build(trt, request_of(default_model()), press)
    except KeyboardInterrupt:
        count = len(seen)
        time.sleep(0.3)
        print("stopped" if len(seen) == count and seen[-1] < 0.5 else seen)
"""


def test_ctrl_c_stops_the_build():
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], capture_output=True, text=True, check=False, cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.stdout.strip().endswith("stopped"), done.stderr  # the builder itself has come to an end


def test_exception_of_a_progress_callback(tmp_path):
    def fail(part, phase):
        raise ValueError("no terminal")

    with pytest.raises(ValueError, match="no terminal"):
        build(trt, request_of(write_network(tmp_path / "model.onnx")), fail)


def test_bytes_that_are_no_model_are_refused():
    contract = ModelFile.open(default_model()).contract
    request = BuildRequest(
        "model.onnx", b"\x3a\x00", contract.input, profiles_for(contract.resize, Batches()), BuildOptions()
    )
    with pytest.raises(BackendError, match=r"model\.onnx"):
        build(trt, request, no_progress)
