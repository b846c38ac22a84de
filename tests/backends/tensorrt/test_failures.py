"""Every call fails once: the error is ours in TensorRT's or CUDA's words, nothing leaks, the next call works."""

import gc

import numpy as np
import pytest

from reid_runtime.errors import BackendError

from ...models import CONTRACT
from ...pictures import picture
from ..cuda.host import library
from .on_fakes import ByInterface, images, near

pytest.importorskip("onnxruntime")


def scenario(place, graphs, batches, given, corners):
    backend = place.backend(cuda_graphs=graphs)
    try:
        for batch in batches:
            backend.run(batch)
        backend.run(given)
        backend.run_crops(given.frame, "rgb", corners, (16, 8), CONTRACT.input)
    except BaseException:
        place.cuda.faults.failing = None
        near(backend.run(batches[0]), place.trt.embed(batches[0]))
        raise
    finally:
        place.cuda.faults.failing = None
        place.closing = len(place.cuda.faults.calls)
        backend.close()


@pytest.mark.parametrize("graphs", [0, 2])
def test_at_every_call(place, graphs):
    library()
    batches = [images(9), images(9), images(2, 40, 24), images(9, 16, 16)]
    given = ByInterface(place.cuda, images(5), offset=64)
    given.frame = ByInterface(place.cuda, picture(60, 50))
    held = place.cuda.leaks()
    arguments = (place, graphs, batches, given, np.array([(0, 0, 20, 30)] * 6))
    place.cuda.faults.arm(None)
    scenario(*arguments)
    calls = place.cuda.faults.calls[: place.closing]
    assert {"deserialize_cuda_engine", "execute_async_v3", "cuMemHostAlloc", "cuLaunchKernel"} < set(calls)
    for number, call in enumerate(calls):
        place.cuda.faults.arm(number)
        with pytest.raises(BackendError, match="injected") as told:
            scenario(*arguments)
        assert not any(context() for context in place.trt.contexts), call  # though the error is still here
        del told
        gc.collect()
        assert place.cuda.leaks() == held, call
        assert place.cuda.violations == [], call
    given.frame.free()
    given.free()


def test_of_giving_back(place):
    """A release that fails is told, and the others are done all the same."""
    place.backend(cuda_graphs=2).close()
    place.cuda.faults.arm(None)
    backend = place.backend(cuda_graphs=2)
    backend.run(images(9))
    before = len(place.cuda.faults.calls)
    backend.close()
    releases = place.cuda.faults.calls[before:]
    assert "cuMemFree" in releases
    for number in range(1, len(releases)):
        backend = place.backend(cuda_graphs=2)
        backend.run(images(9))
        place.cuda.faults.arm(number)
        with pytest.raises(BackendError, match="injected"):
            backend.close()
        place.cuda.faults.arm(None)
        place.check()
