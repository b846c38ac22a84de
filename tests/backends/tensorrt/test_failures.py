"""Every call fails once: the error is ours in TensorRT's or CUDA's words, nothing leaks, the next call works.

And the backend with one step taken out breaks a rule of the fakes, leaks, or gives wrong vectors.
"""

import gc

import numpy as np
import pytest

from reid_runtime.backends.tensorrt import backend as backend_module
from reid_runtime.backends.tensorrt import runner as runner_module
from reid_runtime.errors import BackendError

from ...models import CONTRACT
from ...sample_images import sample_image
from ..cuda.fake import FakeCuda
from ..cuda.host import library
from .fake_machine import ByInterface, FakeMachine, images, near

pytest.importorskip("onnxruntime")


def scenario(machine, graphs, batches, given, corners):
    backend = machine.backend(cuda_graphs=graphs)
    try:
        for batch in batches:
            backend.run(batch)
        backend.run(given)
        backend.run_crops(given.frame, "rgb", corners, (16, 8), CONTRACT.input)
    except BaseException:
        machine.cuda.faults.failing = None
        near(backend.run(batches[0]), machine.trt.embed(batches[0]))
        raise
    finally:
        machine.cuda.faults.failing = None
        machine.closing = len(machine.cuda.faults.calls)
        backend.close()


@pytest.mark.parametrize("graphs", [0, 2])
def test_at_every_call(machine, graphs):
    library()
    batches = [images(9), images(9), images(2, 40, 24), images(9, 16, 16)]
    given = ByInterface(machine.cuda, images(5), offset=64)
    given.frame = ByInterface(machine.cuda, sample_image(60, 50))
    kept = machine.cuda.leaks()
    arguments = (machine, graphs, batches, given, np.array([(0, 0, 20, 30)] * 6))
    machine.cuda.faults.arm(None)
    scenario(*arguments)
    calls = machine.cuda.faults.calls[: machine.closing]
    assert {"deserialize_cuda_engine", "execute_async_v3", "cuMemHostAlloc", "cuLaunchKernel"} < set(calls)
    for number, call in enumerate(calls):
        machine.cuda.faults.arm(number)
        with pytest.raises(BackendError, match="injected") as caught:
            scenario(*arguments)
        assert not any(context() for context in machine.trt.contexts), call  # though the error is still here
        del caught
        gc.collect()
        assert machine.cuda.leaks() == kept, call
        assert machine.cuda.violations == [], call
    given.frame.free()
    given.free()


def test_of_giving_back(machine):
    """A release that fails is told, and the others are done all the same."""
    machine.backend(cuda_graphs=2).close()
    machine.cuda.faults.arm(None)
    backend = machine.backend(cuda_graphs=2)
    backend.run(images(9))
    before = len(machine.cuda.faults.calls)
    backend.close()
    releases = machine.cuda.faults.calls[before:]
    assert "cuMemFree" in releases
    for number in range(1, len(releases)):
        backend = machine.backend(cuda_graphs=2)
        backend.run(images(9))
        machine.cuda.faults.arm(number)
        with pytest.raises(BackendError, match="injected"):
            backend.close()
        machine.cuda.faults.arm(None)
        machine.nothing_is_left()


def _only(buffer):
    buffer.address = buffer._cuda.allocate(16 * 8 * 3)
    return buffer.address


STEPS = {
    "upload not waited for": (FakeCuda, "wait", lambda *_: None),
    "lane reused at once": (FakeCuda, "synchronize_event", lambda *_: None),
    "producer's stream not followed": (FakeCuda, "follow", lambda *_: None),
    "context kept": (runner_module.Execution, "release", lambda *_: None),
    "end not waited for": (FakeCuda, "synchronize", lambda *_: None),
    "misaligned address passed on": (backend_module, "ALIGNMENT", 1),
    "graphs kept": (runner_module.Runner, "_drop_graphs", lambda *_: None),
    "buffers never grow": (runner_module.DeviceBuffer, "reserve", lambda self, size: self.address or _only(self)),
}


@pytest.mark.parametrize("step", STEPS)
def test_backend_without_a_step(monkeypatch, tiny_model, tiny, step):
    """Wrong vectors, a broken rule or a leak: every step is there for a reason that a test sees."""
    machine = FakeMachine(monkeypatch, tiny_model)
    batches = [images(9, seed=1), images(9, 16, 16, seed=2), images(9, seed=3), images(2, 9, 5, seed=4)]
    where, name, instead = STEPS[step]
    backend = machine.backend(cuda_graphs=1)

    def work():
        for batch in batches:
            near(backend.run(batch), tiny.backend.run(batch))
        for values in (batches[0], batches[2]):
            given = ByInterface(machine.cuda, values, offset=64)
            near(backend.run(given), tiny.backend.run(values))
            given.free()
        backend.close()
        machine.check()

    with monkeypatch.context() as patch:
        patch.setattr(where, name, instead)
        with pytest.raises((AssertionError, ValueError)):
            work()
    backend._release.detach()  # what was broken cannot be released by the rules
