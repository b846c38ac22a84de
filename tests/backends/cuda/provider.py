"""`python -m tests.backends.cuda.provider NAME`: everything that `Cuda` promises, through one provider.

In a process of its own, for which library is the driver is settled when a process first looks for it. The same lines
run on a real GPU.
"""

import sys
import threading

import numpy as np
import pytest

from reid_runtime.backends.cuda import bindings, open_cuda
from reid_runtime.backends.cuda.arrays import DeviceArray
from reid_runtime.backends.cuda.crops import compile_crops, launch_crops
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import resize


def travel(cuda):
    """Bytes go up, across and down, over two streams that an event orders."""
    values = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)
    here, back = cuda.allocate_pinned(1000), cuda.allocate_pinned(1000)
    first, second = cuda.allocate(1000), cuda.allocate(1000)
    up, down = cuda.create_stream(), cuda.create_stream()
    event = cuda.create_event()
    assert first % 256 == second % 256 == 0
    here[:] = values
    cuda.upload(first, here, up)
    cuda.record(event, up)
    cuda.wait(down, event)
    cuda.copy(second, first, 1000, down)
    cuda.download(back, second, down)
    cuda.synchronize(down)
    assert np.array_equal(back, values)
    back[:] = 0
    cuda.upload(first, here, up)
    cuda.follow(down, up)
    cuda.follow(down, 1)  # the legacy default stream, which is nobody's here
    cuda.download(back, first, down)
    cuda.record(event, down)
    cuda.synchronize_event(event)
    assert np.array_equal(back, values)
    for address in (first, second):
        cuda.free(address)
    for memory in (here, back):
        cuda.free_pinned(memory)
    for stream in (up, down):
        cuda.destroy_stream(stream)
    cuda.destroy_event(event)


def capture(cuda):
    """A graph of one copy, launched twice; or the refusal of a provider that has none."""
    stream, first, second = cuda.create_stream(), cuda.allocate(256), cuda.allocate(256)
    try:
        if not cuda.captures_graphs:
            _refused(lambda: cuda.begin_capture(stream), "no CUDA graphs")
            return
        cuda.begin_capture(stream)
        cuda.copy(second, first, 256, stream)
        graph = cuda.end_capture(stream)
        cuda.launch_graph(graph, stream)
        cuda.launch_graph(graph, stream)
        cuda.synchronize(stream)
        cuda.destroy_graph(graph)
        cuda.begin_capture(stream)
        cuda.abort_capture(stream)
        cuda.synchronize(stream)
    finally:
        cuda.free(first)
        cuda.free(second)
        cuda.destroy_stream(stream)


def crops(cuda):
    """The pixel kernel, compiled and launched by the provider, against Pillow."""
    frame = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    corners = np.array([(3, 5, 60, 80), (0, 0, 120, 90), (119, 89, 120, 90)], np.int32)
    shape = (40, 24)
    stream = cuda.create_stream()
    given, boxes, output = cuda.allocate(frame.nbytes), cuda.allocate(corners.nbytes), cuda.allocate(3 * 40 * 24 * 3)
    staged, placed, fetched = (cuda.allocate_pinned(size) for size in (frame.nbytes, corners.nbytes, 3 * 40 * 24 * 3))
    staged[:], placed[:] = frame.reshape(-1), corners.view(np.uint8).reshape(-1)
    cuda.upload(given, staged, stream)
    cuda.upload(boxes, placed, stream)
    kernel = compile_crops(cuda)
    assert compile_crops(cuda) == kernel
    array = DeviceArray(given, frame.shape, frame.strides, frame.dtype, None)
    launch_crops(cuda, kernel, stream, array, "rgb", corners, boxes, shape, InputFormat(), output)
    cuda.download(fetched, output, stream)
    cuda.synchronize(stream)
    result = fetched.reshape(3, *shape, 3)
    for crop, (x1, y1, x2, y2) in zip(result, corners, strict=True):
        expected = resize(np.ascontiguousarray(frame[y1:y2, x1:x2]), shape)
        assert np.array_equal(crop, expected)
    for address in (given, boxes, output):
        cuda.free(address)
    for memory in (staged, placed, fetched):
        cuda.free_pinned(memory)
    cuda.destroy_stream(stream)


def failures(cuda):
    """CUDA's own words, and the compiler's."""
    _refused(lambda: cuda.allocate(1 << 60), "memory|pretended")
    _refused(lambda: cuda.compile('extern "C" __global__ void broken() { nothing_such(); }', "broken"), "nothing_such")


def _uncompiled(source, architecture):
    assert architecture == 86
    if "nothing_such" in source:
        raise BackendError("nothing_such")
    return b"\x7fELF"


def _refused(call, words):
    with pytest.raises(BackendError, match=words):
        call()


def elsewhere(cuda):
    """Another thread has no context until it asks for one, and none after."""
    result = []

    def work():
        with cuda.current():
            cuda.free(cuda.allocate(16))
        try:
            cuda.allocate(16)
        except BackendError:
            result.append("refused")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert result == ["refused"]


def main(name, without_nvrtc=False):
    """without_nvrtc: over a driver library that runs no code, and of which NVRTC asks more than it has."""
    if without_nvrtc:
        bindings.compile_kernel = _uncompiled
    cuda = open_cuda(name)
    assert open_cuda(name) is cuda
    elsewhere(cuda)
    with cuda.current():
        elsewhere(cuda)
        travel(cuda)
        capture(cuda)
        crops(cuda)
        failures(cuda)
    print(cuda.name)
    return cuda


if __name__ == "__main__":
    main(sys.argv[1])
