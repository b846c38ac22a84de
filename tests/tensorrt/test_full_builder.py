"""What is asked of the full TensorRT's builder, which needs a GPU: tried on a fake that keeps its rules."""

import pytest

from reid_runtime import BackendError
from reid_runtime.contract import InputFormat
from reid_runtime.resize import LongestSide
from reid_runtime.tensorrt_engines import build as build_module
from reid_runtime.tensorrt_engines.build import Request, build
from reid_runtime.tensorrt_engines.engine import BuildOptions
from reid_runtime.tensorrt_engines.gpu import NoGpuError
from reid_runtime.tensorrt_engines.profiles import Batches, profiles_for

from .fake_builder import fake_tensorrt
from .stand_in import GPU

PROFILES = profiles_for(LongestSide(16), Batches())


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    monkeypatch.setattr(build_module, "find_gpu", lambda: GPU)


@pytest.fixture
def request_for(tiny_model):
    def make(*, options=None, wanted=None):
        return Request(
            "tiny.onnx", tiny_model.read_bytes(), wanted or InputFormat(), PROFILES, options or BuildOptions()
        )

    return make


def test_every_profile_goes_in_with_its_channels(request_for):
    trt = fake_tensorrt()
    built = build(trt, request_for())
    assert (built.blob, built.profiles) == (b"plan", PROFILES)
    assert trt.config.profiles[0] == ("images", (1, 16, 1, 3), (*PROFILES[0].optimum, 3), (*PROFILES[0].maximum, 3))
    assert len(trt.config.profiles) == len(PROFILES)


def test_planes_have_their_channels_in_front(request_for):
    trt = fake_tensorrt(shape=(-1, 3, -1, -1))
    build(trt, request_for(wanted=InputFormat(layout="NCHW")))
    assert trt.config.profiles[0][1] == (1, 3, 16, 1)


def test_tf32_is_off_unless_it_is_asked_for(request_for):
    for tf32, cleared in ((False, ["tf32"]), (True, [])):
        trt = fake_tensorrt()
        build(trt, request_for(options=BuildOptions(tf32=tf32)))
        assert trt.config.cleared == cleared


def test_what_is_not_asked_for_is_left_to_tensorrt(request_for):
    trt = fake_tensorrt()
    build(trt, request_for())
    assert (trt.config.pools, hasattr(trt.config, "builder_optimization_level")) == ({}, False)
    build(trt, request_for(options=BuildOptions(level=5, workspace_mib=2)))
    assert (trt.config.pools, trt.config.builder_optimization_level) == ({"workspace": 2 << 20}, 5)


@pytest.mark.parametrize(
    ("timings", "after"), [(b"", b"+"), (b"known", b"known+"), (b"another GPU's", b"+"), (b"damaged", b"+")]
)
def test_timings_serve_the_next_build_and_foreign_ones_are_dropped(request_for, timings, after):
    assert build(fake_tensorrt(), request_for(), timings=timings).timings == after


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"broken": True}, "factory function returned nullptr"),
        ({"refuses_profiles": True}, "TensorRT refuses the profile"),
        ({"gives_plan": False}, "cannot build an engine: TensorRT gave no reason"),
        ({"output": "half"}, "expected vectors of float32, its graph gives half"),
        ({"shape": (-1, -1, 3)}, "its contract says uint8 NHWC, its graph takes uint8"),
        ({"shape": (-1, -1, -1, 4)}, "its contract says uint8 NHWC, its graph takes uint8"),
    ],
)
def test_every_refusal_is_an_error_of_ours_that_names_the_file(request_for, change, said):
    with pytest.raises(BackendError, match=said) as caught:
        build(fake_tensorrt(**change), request_for())
    assert str(caught.value).startswith("tiny.onnx: ")


def test_another_type_of_pixels_than_the_contracts_is_told(request_for):
    with pytest.raises(BackendError, match="its contract says float32 NHWC, its graph takes uint8"):
        build(fake_tensorrt(), request_for(wanted=InputFormat(dtype="float32")))


def test_without_a_gpu_no_builder_is_made(request_for, monkeypatch):
    def none():
        raise NoGpuError("no NVIDIA driver here")

    monkeypatch.setattr(build_module, "find_gpu", none)
    trt = fake_tensorrt()
    with pytest.raises(NoGpuError):
        build(trt, request_for())
    assert trt.threads == []


def test_the_builders_thread_uses_the_callers_gpu(request_for, monkeypatch):
    import threading

    used = []
    monkeypatch.setattr(build_module, "current_context", lambda: (threading.get_ident(), 7))
    monkeypatch.setattr(build_module, "use_context", lambda context: used.append((threading.get_ident(), context)))
    trt = fake_tensorrt()
    build(trt, request_for())
    assert used == [(trt.threads[0], (threading.get_ident(), 7))]
    assert trt.threads[0] != threading.get_ident()
