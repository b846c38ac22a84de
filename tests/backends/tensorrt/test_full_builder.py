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

from .fake_builder import BrokenRuleError, BuilderFlag, DataType, MemoryPoolType, ParserError, fake_tensorrt
from .stub_builder import GPU

PROFILES = profiles_for(LongestSide(16), Batches())


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    monkeypatch.setattr(build_module, "find_gpu", lambda: GPU)


@pytest.fixture
def request_for(tiny_model):
    def make(form=InputFormat(), **options):  # noqa: B008  # a value
        return BuildRequest("tiny.onnx", tiny_model.read_bytes(), form, PROFILES, BuildOptions(**options))

    return make


def test_profiles_have_channels(request_for):
    trt = fake_tensorrt()
    built = build(trt, request_for())
    assert (built.blob, built.profiles) == (b"plan", PROFILES)
    assert trt.config.profiles[0] == ("images", (1, 16, 1, 3), (*PROFILES[0].optimum, 3), (*PROFILES[0].maximum, 3))
    assert len(trt.config.profiles) == len(PROFILES)


def test_planes_have_channels_in_front(request_for):
    trt = fake_tensorrt(shape=(-1, 3, -1, -1))
    build(trt, request_for(InputFormat(layout="NCHW")))
    assert trt.config.profiles[0][1] == (1, 3, 16, 1)


def test_tf32_is_off_by_default(request_for):
    for tf32, cleared in ((False, [BuilderFlag.TF32]), (True, [])):
        trt = fake_tensorrt()
        build(trt, request_for(tf32=tf32))
        assert trt.config.cleared == cleared


def test_options_default_to_tensorrts(request_for):
    trt = fake_tensorrt()
    build(trt, request_for())
    assert (trt.config.pools, trt.config.builder_optimization_level) == ({}, None)
    build(trt, request_for(level=5, workspace_mib=2))
    assert (trt.config.pools, trt.config.builder_optimization_level) == ({MemoryPoolType.WORKSPACE: 2 << 20}, 5)


@pytest.mark.parametrize(
    ("timings", "after"), [(b"", b"+"), (b"known", b"known+"), (b"another GPU's", b"+"), (b"damaged", b"+")]
)
def test_timings(request_for, timings, after):
    assert build(fake_tensorrt(), request_for(), timings=timings).timings == after


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"broken": True}, "factory function returned nullptr"),
        ({"refuses_profiles": True}, "TensorRT refuses the profile"),
        ({"errors": [ParserError()]}, r"cannot take this graph: node 'Sharpen sharp' \(Sharpen\): no such operator$"),
        ({"gives_plan": False}, "cannot build an engine: TensorRT gave no reason"),
        ({"output": DataType.HALF}, "expected vectors of float32, its graph gives half"),
        ({"shape": (-1, -1, 3)}, "its contract says uint8 NHWC, its graph takes uint8"),
        ({"shape": (-1, -1, -1, 4)}, "its contract says uint8 NHWC, its graph takes uint8"),
    ],
)
def test_refusal_names_the_file(request_for, change, text):
    with pytest.raises(BackendError, match=text) as caught:
        build(fake_tensorrt(**change), request_for())
    assert str(caught.value).startswith("tiny.onnx: ")


def test_other_dtype_than_the_contracts(request_for):
    with pytest.raises(BackendError, match="its contract says float32 NHWC, its graph takes uint8"):
        build(fake_tensorrt(), request_for(InputFormat(dtype="float32")))


def test_no_builder_without_a_gpu(request_for, monkeypatch):
    def none():
        raise NoGpuError("no NVIDIA driver here")

    monkeypatch.setattr(build_module, "find_gpu", none)
    trt = fake_tensorrt()
    with pytest.raises(NoGpuError):
        build(trt, request_for())
    assert trt.threads == []


def test_thread_uses_the_callers_gpu(request_for, monkeypatch):
    used = []
    monkeypatch.setattr(build_module, "current_context", lambda: (threading.get_ident(), 7))
    monkeypatch.setattr(build_module, "use_context", lambda context: used.append((threading.get_ident(), context)))
    trt = fake_tensorrt()
    build(trt, request_for())
    assert used == [(trt.threads[0], (threading.get_ident(), 7))]
    assert trt.threads[0] != threading.get_ident()


@pytest.mark.parametrize("begun", [False, True])
def test_interrupt_while_the_thread_starts(request_for, monkeypatch, begun):
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


def test_failure_of_any_call_names_the_file(request_for):
    trt = fake_tensorrt()
    request = request_for(level=5, workspace_mib=2)
    build(trt, request, timings=b"known")
    calls = trt.faults.calls
    assert {"create_network", "parse", "set_shape", "set_timing_cache", "build_serialized_network"} < set(calls)
    for number, call in enumerate(calls):
        trt.faults.arm(number)
        with pytest.raises(BackendError, match=rf"^tiny\.onnx: TensorRT 11\.4\.0\.106 failed: {call}: injected"):
            build(trt, request, timings=b"known")


# The fake's rules, each with a caller that breaks it


class _Monitor:
    def phase_start(self, *_):
        pass

    def step_complete(self, *_):
        return True

    phase_finish = phase_start


@pytest.fixture
def caller():
    """A caller who has done everything right so far: a typed and parsed network, a configuration with a profile."""
    trt = fake_tensorrt()
    builder, monitor = trt.Builder(None), _Monitor()
    network = builder.create_network(1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    trt.OnnxParser(network, None).parse(b"")
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, 16, 8, 3), (1, 16, 8, 3), (1, 16, 8, 3))
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    config.progress_monitor = monitor
    return types.SimpleNamespace(trt=trt, builder=builder, network=network, config=config, monitor=monitor)


def test_a_right_caller(caller):
    assert caller.builder.build_serialized_network(caller.network, caller.config) == b"plan"


def _timings(config, content, ignore_mismatch):
    return config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=ignore_mismatch)


BROKEN = {
    "not strongly typed": (
        lambda c: c.builder.build_serialized_network(c.builder.create_network(0), c.config),
        BrokenRuleError,
        "not strongly typed",
    ),
    "no profile": (
        lambda c: c.builder.build_serialized_network(c.network, c.builder.create_builder_config()),
        BrokenRuleError,
        "no optimization profile",
    ),
    "input before parsing": (lambda c: c.builder.create_network(2).get_input(0), BrokenRuleError, "has none yet"),
    "output before parsing": (lambda c: c.builder.create_network(2).get_output(0), BrokenRuleError, "has none yet"),
    "foreign timings": (
        lambda c: _timings(c.config, b"another GPU's", True),
        BrokenRuleError,
        "timings of another GPU",
    ),
    "damaged timings": (lambda c: _timings(c.config, b"damaged", False), TypeError, "incompatible function arguments"),
    "monitor gone": (
        lambda c: (delattr(c, "monitor"), c.builder.build_serialized_network(c.network, c.config)),
        ReferenceError,
        "no longer exists",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_rule_is_broken(caller, case):
    call, error, message = BROKEN[case]
    with pytest.raises(error, match=message):
        call(caller)


def test_foreign_timings_are_not_set(caller):
    assert not _timings(caller.config, b"another GPU's", False)
