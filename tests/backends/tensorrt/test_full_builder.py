"""What is asked of the full TensorRT's builder, which needs a GPU: tried on a fake that keeps its rules."""

import threading
import time
import types

import pytest

from reid_runtime import BackendError
from reid_runtime.backends.cuda.driver import NoGpuError
from reid_runtime.backends.tensorrt import build as build_module
from reid_runtime.backends.tensorrt.build import BuildRequest, build
from reid_runtime.backends.tensorrt.engine import BuildOptions
from reid_runtime.backends.tensorrt.profiles import Batches, profiles_for
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import LongestSide

from .fake_builder import BrokenRuleError, fake_tensorrt
from .stub_builder import GPU

PROFILES = profiles_for(LongestSide(16), Batches())


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    monkeypatch.setattr(build_module, "find_gpu", lambda: GPU)


@pytest.fixture
def request_for(tiny_model):
    def make(*, options=None, wanted=None):
        return BuildRequest(
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
    used = []
    monkeypatch.setattr(build_module, "current_context", lambda: (threading.get_ident(), 7))
    monkeypatch.setattr(build_module, "use_context", lambda context: used.append((threading.get_ident(), context)))
    trt = fake_tensorrt()
    build(trt, request_for())
    assert used == [(trt.threads[0], (threading.get_ident(), 7))]
    assert trt.threads[0] != threading.get_ident()


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_while_the_thread_starts_leaves_no_build_behind(request_for, monkeypatch, begun):
    """On a busy machine the builder may be at work before `start` has returned."""
    trt, threads, began, over = fake_tensorrt(), [], threading.Event(), threading.Event()
    make = trt.Builder

    def slow(log):
        began.set()
        time.sleep(0.1)
        over.set()
        return make(log)

    class Interrupted(threading.Thread):
        def start(self):
            threads.append(self)
            if begun:
                super().start()
                began.wait()
            raise KeyboardInterrupt

    trt.Builder = slow
    monkeypatch.setattr(threading, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(trt, request_for())
    assert over.is_set() == begun  # what was begun has ended by then
    if not begun:
        threading.Thread.__base__.start(threads[0])
    threads[0].join()
    assert began.is_set() == begun


def test_a_failure_of_any_call_is_an_error_of_ours_that_names_the_file(request_for):
    trt = fake_tensorrt()
    request = request_for(options=BuildOptions(level=5, workspace_mib=2))
    build(trt, request, timings=b"known")
    calls = trt.faults.calls
    assert {"create_network", "parse", "set_shape", "set_timing_cache", "build_serialized_network"} < set(calls)
    for number, call in enumerate(calls):
        trt.faults.arm(number)
        with pytest.raises(BackendError, match=rf"^tiny\.onnx: TensorRT 11\.4\.0\.106 failed: {call}: injected"):
            build(trt, request, timings=b"known")


# The fake's rules, each with a caller that breaks it


@pytest.fixture
def caller():
    """A caller who has done everything right so far: a typed and parsed network, a configuration with a profile."""
    trt = fake_tensorrt()
    builder = trt.Builder(None)
    network = builder.create_network(1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    trt.OnnxParser(network, None).parse(b"")
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder))
    monitor = _Monitor()
    config.progress_monitor = monitor
    return types.SimpleNamespace(trt=trt, builder=builder, network=network, config=config, monitor=monitor)


class _Monitor:
    def phase_start(self, *_):
        pass

    def step_complete(self, *_):
        return True

    phase_finish = phase_start


def _profile(builder):
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, 16, 8, 3), (1, 16, 8, 3), (1, 16, 8, 3))
    return profile


def test_a_right_caller(caller):
    assert caller.builder.build_serialized_network(caller.network, caller.config) == b"plan"


def test_a_network_that_is_not_strongly_typed(caller):
    network = caller.builder.create_network(0)
    with pytest.raises(BrokenRuleError, match="not strongly typed"):
        caller.builder.build_serialized_network(network, caller.config)


def test_no_profile(caller):
    with pytest.raises(BrokenRuleError, match="no optimization profile"):
        caller.builder.build_serialized_network(caller.network, caller.builder.create_builder_config())


@pytest.mark.parametrize("which", ["get_input", "get_output"])
def test_a_tensor_before_the_graph_is_parsed(caller, which):
    network = caller.builder.create_network(2)
    with pytest.raises(BrokenRuleError, match="a network that has none yet"):
        getattr(network, which)(0)


def test_timings_of_another_gpu(caller):
    timings = caller.config.create_timing_cache(b"another GPU's")
    with pytest.raises(BrokenRuleError, match="timings of another GPU are allowed"):
        caller.config.set_timing_cache(timings, ignore_mismatch=True)
    assert not caller.config.set_timing_cache(timings, ignore_mismatch=False)


def test_timings_that_are_none(caller):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        caller.config.set_timing_cache(caller.config.create_timing_cache(b"damaged"), ignore_mismatch=False)


def test_a_monitor_that_is_gone_before_the_build(caller):
    del caller.monitor
    with pytest.raises(ReferenceError):
        caller.builder.build_serialized_network(caller.network, caller.config)
