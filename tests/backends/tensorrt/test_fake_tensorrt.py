"""The rules of the fakes bite: for each a caller that breaks it, and the real backend with one step taken out."""

import gc
import threading

import numpy as np
import pytest

from reid_runtime.backends.tensorrt import backend as backend_module
from reid_runtime.backends.tensorrt import runner as trt_runner

from ..cuda.fake import FakeCuda, RuleBrokenError, Work
from .fake_tensorrt import BLOB, FakeTensorRT
from .on_fakes import PROFILES, ByInterface, Place, images, near

SHAPE = (2, 16, 8, 3)
SIZE = 2 * 16 * 8 * 3


class Caller:
    """A caller of the bare fakes that has done everything right so far; each test does one thing wrong."""

    def __init__(self, monkeypatch):
        self.cuda = FakeCuda()
        self.trt = FakeTensorRT(self.cuda, PROFILES, lambda batch: np.ones((len(batch), 8), np.float32))
        self.said = []
        log = type("Log", (), {"log": lambda _, severity, message: self.said.append(message)})()
        self.current = self.cuda.current()
        self.current.__enter__()
        self.runtime = self.trt.Runtime(log)
        self.engine = self.runtime.deserialize_cuda_engine(BLOB)
        self.context = self.engine.create_execution_context()
        self.stream, self.other = self.cuda.create_stream(), self.cuda.create_stream()
        self.input, self.output = self.cuda.allocate(SIZE), self.cuda.allocate(4 * 2 * 8)

    def ready(self):
        assert self.context.set_optimization_profile_async(0, self.stream)
        self.cuda.synchronize(self.stream)
        self.addresses()
        assert self.context.set_input_shape("images", SHAPE)
        return self

    def addresses(self):
        assert self.context.set_tensor_address("images", self.input)
        assert self.context.set_tensor_address("embeddings", self.output)
        return self

    def refused(self, words):
        """The enqueue gives False and TensorRT says why."""
        assert not self.context.execute_async_v3(self.stream)
        assert words in self.said[-1]


@pytest.fixture
def caller(monkeypatch):
    return Caller(monkeypatch)


def test_a_right_caller(caller):
    assert caller.ready().context.execute_async_v3(caller.stream)
    caller.cuda.synchronize(caller.stream)
    assert (caller.cuda.array(caller.output, 64).view(np.float32) == 1).all()


def test_an_engine_of_another(caller):
    assert caller.runtime.deserialize_cuda_engine(b"other") is None
    assert "magicTag" in caller.said[-1]


def test_no_shape(caller):
    caller.addresses().refused("has no shape")


def test_no_input_address(caller):
    caller.ready().context.set_tensor_address("images", 0)
    caller.refused("not set for input")


def test_no_output_address_and_no_allocator(caller):
    caller.ready().context.set_tensor_address("embeddings", 0)
    caller.refused("not set for output")


@pytest.mark.parametrize("shape", [(5, 16, 8, 3), (1, 17, 8, 3), (1, 16, 3, 3), (16, 8, 3)])
def test_a_shape_outside_the_profile(caller, shape):
    assert not caller.context.set_input_shape("images", shape)
    assert "is outside of" in caller.said[-1]


def test_the_profile_after_the_shape(caller):
    caller.ready().context.set_optimization_profile_async(0, caller.stream)
    caller.refused("has no shape")


def test_a_profile_that_is_not_there(caller):
    with pytest.raises(RuntimeError, match="optimization profile"):
        caller.context.set_optimization_profile_async(9, caller.stream)


def test_names_that_are_not_there(caller):
    assert not caller.context.set_input_shape("pictures", SHAPE)
    assert not caller.context.set_tensor_address("pictures", caller.input)
    allocator = caller.trt.IOutputAllocator()
    assert not caller.context.set_output_allocator("images", allocator)


def test_a_switch_of_profile_on_another_stream(caller):
    caller.context.set_optimization_profile_async(1, caller.other)
    caller.addresses().context.set_input_shape("images", SHAPE)
    with pytest.raises(RuleBrokenError, match="before the switch of the profile"):
        caller.context.execute_async_v3(caller.stream)


def test_two_streams_at_once(caller):
    caller.ready().context.execute_async_v3(caller.stream)
    caller.context.set_input_shape("images", SHAPE)
    with pytest.raises(RuleBrokenError, match="on two streams at once"):
        caller.context.execute_async_v3(caller.other)


def test_the_default_stream(caller):
    with pytest.raises(RuleBrokenError, match="default stream"):
        caller.ready().context.execute_async_v3(0)


def test_two_threads_at_once(caller):
    caller.ready()
    met = []

    def intrude():
        try:
            caller.context.set_input_shape("images", SHAPE)
        except RuleBrokenError as error:
            met.append(str(error))

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert "two threads at once" in met[0]


def test_addresses_that_are_not_aligned(caller):
    with pytest.raises(RuleBrokenError, match="not aligned to 256"):
        caller.context.set_tensor_address("images", caller.input + 64)
    caller.ready().context.set_output_allocator("embeddings", _allocator(caller, lambda *_: caller.output + 32))
    with pytest.raises(RuleBrokenError, match="not aligned to 256"):
        caller.context.execute_async_v3(caller.stream)


def test_an_input_smaller_than_its_shape(caller):
    caller.ready().context.set_tensor_address("images", caller.output)
    with pytest.raises(RuleBrokenError, match="not allocated"):
        caller.context.execute_async_v3(caller.stream)


def _allocator(caller, answer):
    class Output(caller.trt.IOutputAllocator):
        def reallocate_output_async(self, *arguments):
            return answer(*arguments)

        def notify_shape(self, name, shape):
            self.shape = shape

    return Output()


@pytest.mark.parametrize("answer", [lambda *_: 0, lambda *_: 1 / 0], ids=["null", "raises"])
def test_an_allocator_that_gives_nothing(caller, answer):
    caller.ready().context.set_output_allocator("embeddings", _allocator(caller, answer))
    caller.refused("not set for output")


def test_an_allocator_that_gives_too_little(caller):
    small = caller.cuda.allocate(4)
    caller.ready().context.set_output_allocator("embeddings", _allocator(caller, lambda *_: small))
    with pytest.raises(RuleBrokenError, match="not allocated"):
        caller.context.execute_async_v3(caller.stream)


def test_an_allocator_without_its_base(caller):
    class Output(caller.trt.IOutputAllocator):
        def __init__(self):
            pass

    with pytest.raises(RuleBrokenError, match=r"did not call IOutputAllocator\.__init__"):
        caller.context.set_output_allocator("embeddings", Output())


@pytest.mark.parametrize("which", ["input", "output"])
def test_memory_freed_in_flight(caller, which):
    caller.ready().context.execute_async_v3(caller.stream)
    with pytest.raises(RuleBrokenError, match="freed while stream"):
        caller.cuda.free(getattr(caller, which))


def test_a_context_destroyed_in_flight(caller):
    caller.ready().context.execute_async_v3(caller.stream)
    caller.context = None
    gc.collect()
    assert caller.cuda.violations == ["a context was destroyed while its inference was queued"]


def test_the_order_of_destruction(caller):
    caller.engine = None
    gc.collect()
    assert caller.cuda.violations == ["the engine was destroyed before its contexts"]


def test_the_runtime_before_the_engine(caller):
    caller.runtime = None
    gc.collect()
    assert caller.cuda.violations == ["the runtime was destroyed before its engine"]


def test_a_capture_without_a_run_before(caller):
    caller.ready().cuda.begin_capture(caller.stream)
    caller.refused("not permitted when stream is capturing")


def test_a_context_used_while_its_graph_lives(caller):
    caller.ready().context.execute_async_v3(caller.stream)
    caller.cuda.begin_capture(caller.stream)
    caller.context.execute_async_v3(caller.stream)
    caller.cuda.end_capture(caller.stream)
    with pytest.raises(RuleBrokenError, match="while a graph that was captured from it lives"):
        caller.context.set_input_shape("images", SHAPE)


class TestTheGpu:
    """The rules of CUDA."""

    def test_no_current_context(self):
        with pytest.raises(RuleBrokenError, match="without a current context"):
            FakeCuda().allocate(4)

    def test_pinned_memory_changed_in_flight(self, caller):
        staged = caller.cuda.allocate_pinned(SIZE)
        caller.cuda.upload(caller.input, staged, caller.stream)
        staged[0] += 1
        with pytest.raises(RuleBrokenError, match="changed before its upload was done"):
            caller.cuda.synchronize(caller.stream)

    def test_pinned_memory_freed_in_flight(self, caller):
        staged = caller.cuda.allocate_pinned(SIZE)
        caller.cuda.upload(caller.input, staged, caller.stream)
        with pytest.raises(RuleBrokenError, match="pinned memory is freed while"):
            caller.cuda.free_pinned(staged)

    def test_memory_that_is_not_pinned(self, caller):
        with pytest.raises(RuleBrokenError, match="not pinned"):
            caller.cuda.upload(caller.input, np.zeros(SIZE, np.uint8), caller.stream)

    def test_freed_twice(self, caller):
        caller.cuda.free(caller.input)
        with pytest.raises(RuleBrokenError, match="was freed before"):
            caller.cuda.free(caller.input)

    def test_beyond_an_allocation(self, caller):
        staged = caller.cuda.allocate_pinned(SIZE + 1)
        with pytest.raises(RuleBrokenError, match="not allocated"):
            caller.cuda.upload(caller.input, staged, caller.stream)

    @pytest.mark.parametrize("call", [lambda c: c.cuda.allocate(4), lambda c: c.cuda.synchronize(c.stream)])
    def test_what_a_capture_forbids(self, caller, call):
        caller.cuda.begin_capture(caller.stream)
        with pytest.raises(RuleBrokenError, match="during a capture"):
            call(caller)

    def test_streams_that_nobody_orders_stay_unordered(self, caller):
        """The first is queued first and happens second."""
        order = []
        for stream in (caller.other, caller.stream):
            caller.cuda.queue(stream, Work(lambda stream=stream: order.append(stream)))
        caller.cuda.synchronize(caller.stream)
        caller.cuda.synchronize(caller.other)
        assert order == [caller.stream, caller.other]

    def test_a_graph_destroyed_while_it_runs(self, caller):
        caller.cuda.begin_capture(caller.stream)
        caller.cuda.copy(caller.output, caller.input, 64, caller.stream)
        graph = caller.cuda.end_capture(caller.stream)
        caller.cuda.launch_graph(graph, caller.stream)
        with pytest.raises(RuleBrokenError, match="while it runs"):
            caller.cuda.destroy_graph(graph)

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda cuda: cuda.copy(*(cuda.allocate(4) for _ in range(2)), 4, 7), "stream 7 does not exist"),
            (lambda cuda: cuda.destroy_stream(7), "stream 7 does not exist"),
            (lambda cuda: cuda.destroy_event(7), "event 7 does not exist"),
            (lambda cuda: cuda.destroy_graph(7), "graph 7 does not exist"),
            (lambda cuda: cuda.end_capture(7), "stream 7 is not capturing"),
            (lambda cuda: cuda.free_pinned(np.zeros(4, np.uint8)), "was not allocated, or was freed before"),
        ],
    )
    def test_what_is_not_there(self, caller, call, words):
        with pytest.raises(RuleBrokenError, match=words):
            call(caller.cuda)

    @pytest.mark.parametrize(
        ("grid", "block", "shared"),
        [((1, 1, 65536), (32, 8, 1), 0), ((1, 1, 1), (64, 32, 1), 0), ((1, 1, 1), (32, 8, 1), 48 * 1024 + 1)],
    )
    def test_a_launch_over_the_limits(self, caller, grid, block, shared):
        with pytest.raises(RuleBrokenError, match="over the limits"):
            caller.cuda.launch(1, grid, block, shared, caller.stream, ())

    def test_a_leak(self, caller):
        assert caller.cuda.leaks() == {"memory": 2, "streams": 2}


STEPS = {
    "the upload is not waited for": (FakeCuda, "wait", lambda *_: None),
    "a lane is used again at once": (FakeCuda, "synchronize_event", lambda *_: None),
    "the producer's stream is not followed": (FakeCuda, "follow", lambda *_: None),
    "the context is kept": (trt_runner.Execution, "release", lambda *_: None),
    "the end is not waited for": (FakeCuda, "synchronize", lambda *_: None),
    "what is not aligned is passed on": (backend_module, "ALIGNMENT", 1),
    "graphs are kept": (trt_runner.Runner, "_drop_graphs", lambda *_: None),
    "buffers never grow": (trt_runner.DeviceBuffer, "reserve", lambda self, size: self.address or _only(self)),
}


def _only(buffer):
    buffer.address = buffer._cuda.allocate(16 * 8 * 3)
    return buffer.address


@pytest.mark.parametrize("step", STEPS)
def test_the_backend_without_one_of_its_steps(monkeypatch, tiny_model, tiny, step):
    """Wrong vectors, a broken rule or a leak: every step is there for a reason that a test sees."""
    place = Place(monkeypatch, tiny_model)
    batches = [images(9, seed=1), images(9, 16, 16, seed=2), images(9, seed=3), images(2, 9, 5, seed=4)]
    where, name, instead = STEPS[step]

    backend = place.backend(cuda_graphs=1)

    def work():
        for batch in batches:
            near(backend.run(batch), tiny.backend.run(batch))
        for values in (batches[0], batches[2]):
            given = ByInterface(place.cuda, values, offset=64)
            near(backend.run(given), tiny.backend.run(values))
            given.free()
        backend.close()
        place.check()

    with monkeypatch.context() as patch:
        patch.setattr(where, name, instead)
        with pytest.raises((AssertionError, ValueError)):
            work()
    backend._release.detach()  # what was broken cannot be released by the rules
