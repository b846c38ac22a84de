"""The rules of the fakes bite: for each a caller that breaks it. The backend with one step taken out: test_failures."""

import gc
import threading

import numpy as np
import pytest

from ..cuda.fake import FakeCuda, RuleBrokenError, Work
from .fake_machine import PROFILES
from .fake_tensorrt import BLOB, FakeTensorRT

SHAPE = (2, 16, 8, 3)
SIZE = 2 * 16 * 8 * 3


class Caller:
    """A caller of the bare fakes that has done everything right so far; each test does one thing wrong."""

    def __init__(self):
        self.cuda = FakeCuda()
        self.trt = FakeTensorRT(self.cuda, PROFILES, lambda batch: np.ones((len(batch), 8), np.float32))
        self.logged = []
        log = type("Log", (), {"log": lambda _, severity, message: self.logged.append(message)})()
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

    def enqueue(self, stream=None):
        return self.context.execute_async_v3(self.stream if stream is None else stream)

    def allocator(self, answer):
        class Output(self.trt.IOutputAllocator):
            def reallocate_output_async(self, *arguments):
                return answer(*arguments)

            def notify_shape(self, name, shape):
                self.shape = shape

        assert self.ready().context.set_output_allocator("embeddings", Output())

    def captured(self):
        """A graph of one copy."""
        self.cuda.begin_capture(self.stream)
        self.cuda.copy(self.output, self.input, 64, self.stream)
        return self.cuda.end_capture(self.stream)

    def pinned(self, size=SIZE):
        return self.cuda.allocate_pinned(size)


@pytest.fixture
def caller():
    return Caller()


def test_a_right_caller(caller):
    assert caller.ready().enqueue()
    caller.cuda.synchronize(caller.stream)
    assert (caller.cuda.array(caller.output, 64).view(np.float32) == 1).all()


REFUSED = {
    "no shape": (lambda c: c.addresses(), "has no shape"),
    "no input address": (lambda c: c.ready().context.set_tensor_address("images", 0), "not set for input"),
    "no output address": (lambda c: c.ready().context.set_tensor_address("embeddings", 0), "not set for output"),
    "profile after shape": (lambda c: c.ready().context.set_optimization_profile_async(0, c.stream), "has no shape"),
    "no run before capture": (lambda c: c.ready().cuda.begin_capture(c.stream), "not permitted when stream is capt"),
    "allocator gives null": (lambda c: c.allocator(lambda *_: 0), "not set for output"),
    "allocator raises": (lambda c: c.allocator(lambda *_: 1 / 0), "not set for output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_enqueue_is_refused(caller, case):
    """It gives False, and TensorRT logs why."""
    prepare, message = REFUSED[case]
    prepare(caller)
    assert not caller.enqueue()
    assert message in caller.logged[-1]


def test_foreign_engine(caller):
    assert caller.runtime.deserialize_cuda_engine(b"other") is None
    assert "magicTag" in caller.logged[-1]


@pytest.mark.parametrize("shape", [(5, 16, 8, 3), (1, 17, 8, 3), (1, 16, 3, 3), (16, 8, 3)])
def test_shape_outside_the_profile(caller, shape):
    assert not caller.context.set_input_shape("images", shape)
    assert "is outside of" in caller.logged[-1]


def test_unknown_profile_and_names(caller):
    with pytest.raises(RuntimeError, match="optimization profile"):
        caller.context.set_optimization_profile_async(9, caller.stream)
    assert not caller.context.set_input_shape("pictures", SHAPE)
    assert not caller.context.set_tensor_address("pictures", caller.input)
    assert not caller.context.set_output_allocator("images", caller.trt.IOutputAllocator())


def _switch_on_another_stream(c):
    c.context.set_optimization_profile_async(1, c.other)
    c.addresses()
    c.context.set_input_shape("images", SHAPE)
    c.enqueue()


def _two_streams(c):
    c.ready().enqueue()
    c.context.set_input_shape("images", SHAPE)
    c.enqueue(c.other)


def _allocate_too_little(c):
    small = c.cuda.allocate(4)
    c.allocator(lambda *_: small)
    c.enqueue()


def _misaligned_output(c):
    c.allocator(lambda *_: c.output + 32)
    c.enqueue()


def _input_too_small(c):
    c.ready().context.set_tensor_address("images", c.output)
    c.enqueue()


def _allocator_without_base(c):
    class Output(c.trt.IOutputAllocator):
        def __init__(self):
            pass

    c.context.set_output_allocator("embeddings", Output())


def _free_in_flight(name):
    return lambda c: (c.ready().enqueue(), c.cuda.free(getattr(c, name)))


def _context_of_a_live_graph(c):
    c.ready().enqueue()
    c.cuda.begin_capture(c.stream)
    c.enqueue()
    c.cuda.end_capture(c.stream)
    c.context.set_input_shape("images", SHAPE)


def _change_in_flight(c):
    staged = c.pinned()
    c.cuda.upload(c.input, staged, c.stream)
    staged[0] += 1
    c.cuda.synchronize(c.stream)


def _free_pinned_in_flight(c):
    staged = c.pinned()
    c.cuda.upload(c.input, staged, c.stream)
    c.cuda.free_pinned(staged)


def _in_capture(call):
    return lambda c: (c.cuda.begin_capture(c.stream), call(c))


def _destroy_a_running_graph(c):
    graph = c.captured()
    c.cuda.launch_graph(graph, c.stream)
    c.cuda.destroy_graph(graph)


def _launch(grid, block, shared):
    return lambda c: c.cuda.launch(1, grid, block, shared, c.stream, ())


BROKEN = {
    "profile on another stream": (_switch_on_another_stream, "before the switch of the profile"),
    "two streams": (_two_streams, "on two streams at once"),
    "default stream": (lambda c: c.ready().enqueue(0), "default stream"),
    "misaligned input": (lambda c: c.context.set_tensor_address("images", c.input + 64), "not aligned to 256"),
    "misaligned output": (_misaligned_output, "not aligned to 256"),
    "input too small": (_input_too_small, "not allocated"),
    "output too small": (_allocate_too_little, "not allocated"),
    "allocator without base": (_allocator_without_base, r"did not call IOutputAllocator\.__init__"),
    "input freed in flight": (_free_in_flight("input"), "freed while stream"),
    "output freed in flight": (_free_in_flight("output"), "freed while stream"),
    "context of a live graph": (_context_of_a_live_graph, "while a graph that was captured from it lives"),
    "no current context": (lambda c: FakeCuda().allocate(4), "without a current context"),
    "pinned changed in flight": (_change_in_flight, "changed before its upload was done"),
    "pinned freed in flight": (_free_pinned_in_flight, "pinned memory is freed while"),
    "not pinned": (lambda c: c.cuda.upload(c.input, np.zeros(SIZE, np.uint8), c.stream), "not pinned"),
    "freed twice": (lambda c: (c.cuda.free(c.input), c.cuda.free(c.input)), "was freed before"),
    "beyond an allocation": (lambda c: c.cuda.upload(c.input, c.pinned(SIZE + 1), c.stream), "not allocated"),
    "allocation in a capture": (_in_capture(lambda c: c.cuda.allocate(4)), "during a capture"),
    "waiting in a capture": (_in_capture(lambda c: c.cuda.synchronize(c.stream)), "during a capture"),
    "running graph destroyed": (_destroy_a_running_graph, "while it runs"),
    "copy on no stream": (lambda c: c.cuda.copy(c.output, c.input, 4, 7), "stream 7 does not exist"),
    "no stream": (lambda c: c.cuda.destroy_stream(7), "stream 7 does not exist"),
    "no event": (lambda c: c.cuda.destroy_event(7), "event 7 does not exist"),
    "no graph": (lambda c: c.cuda.destroy_graph(7), "graph 7 does not exist"),
    "no capture": (lambda c: c.cuda.end_capture(7), "stream 7 is not capturing"),
    "not its pinned memory": (lambda c: c.cuda.free_pinned(np.zeros(4, np.uint8)), "was not allocated, or was freed"),
    "grid too large": (_launch((1, 1, 65536), (32, 8, 1), 0), "over the limits"),
    "block too large": (_launch((1, 1, 1), (64, 32, 1), 0), "over the limits"),
    "shared memory too large": (_launch((1, 1, 1), (32, 8, 1), 48 * 1024 + 1), "over the limits"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_rule_is_broken(caller, case):
    call, message = BROKEN[case]
    with pytest.raises(RuleBrokenError, match=message):
        call(caller)


def test_two_threads_at_once(caller):
    caller.ready()
    errors = []

    def intrude():
        try:
            caller.context.set_input_shape("images", SHAPE)
        except RuleBrokenError as error:
            errors.append(str(error))

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert "two threads at once" in errors[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("context", "a context was destroyed while its inference was queued"),
        ("engine", "the engine was destroyed before its contexts"),
        ("runtime", "the runtime was destroyed before its engine"),
    ],
)
def test_destroyed_too_early(caller, name, message):
    if name == "context":
        caller.ready().enqueue()
    setattr(caller, name, None)
    gc.collect()
    assert caller.cuda.violations == [message]


def test_streams_are_unordered(caller):
    """The first is queued first and happens second."""
    order = []
    for stream in (caller.other, caller.stream):
        caller.cuda.queue(stream, Work(lambda stream=stream: order.append(stream)))
    caller.cuda.synchronize(caller.stream)
    caller.cuda.synchronize(caller.other)
    assert order == [caller.stream, caller.other]


def test_a_leak(caller):
    assert caller.cuda.leaks() == {"memory": 2, "streams": 2}
