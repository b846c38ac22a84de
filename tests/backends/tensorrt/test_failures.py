"""Every call fails once: the error is ours in TensorRT's or CUDA's words, nothing leaks, the next call works."""

import gc

import numpy as np
import pytest

from reid_runtime.errors import BackendError

from ...models import CONTRACT
from ...sample_images import sample_image
from ..cuda.host import library
from .fake_machine import ByInterface, images, near

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
