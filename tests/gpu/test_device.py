"""On an NVIDIA GPU: device memory by each provider, the pixel kernel, and arrays of others in the order of streams."""

import numpy as np
import pytest

from reid_runtime.backends.cuda.arrays import device_array
from reid_runtime.images.boxes import is_on_gpu
from reid_runtime.images.model_input import InputFormat, to_model_input

from ..backends.cuda import provider
from ..models import FOREIGN
from .bench import OwnArray, benches, boxes_in, by_pillow

pytestmark = pytest.mark.gpu

FRAME = (1080, 1920)


def frame_of(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_everything_that_the_protocol_promises(cuda):
    provider.main("pycuda" if cuda.name.startswith("pycuda") else "cuda-bindings")


@pytest.mark.parametrize("seed", range(20))
def test_the_kernel_gives_the_cpus_pixels(cuda, seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 700, 2).tolist()
    frame = frame_of(height, width, seed)
    first = random.integers(0, [width, height], (9, 2))
    corners = np.concatenate([first, random.integers(first, [width, height], (9, 2)) + 1], axis=1).astype(np.int32)
    shape = tuple(random.integers(1, 300, 2).tolist())
    with benches(cuda) as bench:
        run, fetch = bench.crops(OwnArray(bench.put(frame), frame, bench.stream), "rgb", corners, shape, InputFormat())
        run()
        actual = fetch()
    assert np.array_equal(actual, by_pillow(frame, corners.tolist(), shape))


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_the_kernel_writes_another_models_input(cuda, colour):
    frame, corners, shape = frame_of(300, 200), boxes_in((300, 200), (90, 40), 5), (64, 32)
    rgb = frame if colour == "rgb" else frame[..., ::-1]
    with benches(cuda) as bench:
        given = OwnArray(bench.put(frame), frame, bench.stream)
        run, fetch = bench.crops(given, colour, corners, shape, FOREIGN.input)
        run()
        actual = fetch()
    np.testing.assert_allclose(
        actual, to_model_input(by_pillow(rgb, corners.tolist(), shape), FOREIGN.input), rtol=1e-6
    )


def test_a_great_shrink(cuda):
    frame, corners = frame_of(2000, 3000), np.array([(0, 0, 3000, 2000)], np.int32)
    with benches(cuda) as bench:
        run, fetch = bench.crops(OwnArray(bench.put(frame), frame, bench.stream), "rgb", corners, (7, 5), InputFormat())
        run()
        assert np.array_equal(fetch(), by_pillow(frame, corners.tolist(), (7, 5)))


@pytest.mark.parametrize("planes", [False, True])
def test_frames_of_another_library_are_read_where_they_lie(cuda, producer, planes):
    frame, corners, shape = frame_of(300, 200), boxes_in((300, 200), (90, 40), 5), (64, 32)
    if planes:  # as torch keeps pictures
        given = producer.put(np.ascontiguousarray(frame.transpose(2, 0, 1)))
        given = given.permute(1, 2, 0) if producer.name == "torch" else given.transpose(1, 2, 0)
    else:
        given = producer.put(frame)
    assert is_on_gpu(given)
    producer.settled()
    with benches(cuda) as bench:
        run, fetch = bench.crops(given, "rgb", corners, shape, InputFormat())
        run()
        assert np.array_equal(fetch(), by_pillow(frame, corners.tolist(), shape))
        array = device_array(given, cuda, bench.stream)
        assert array.address == (given.data_ptr() if producer.name == "torch" else given.data.ptr)
        assert array.strides == ((200, 1, 60000) if planes else (600, 3, 1))


class ByInterfaceAlone:
    """Hides DLPack."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    @property
    def __cuda_array_interface__(self):
        return self.array.__cuda_array_interface__


@pytest.mark.parametrize("protocol", ["dlpack", "interface"])
def test_the_producers_stream_is_waited_for(cuda, producer, protocol):
    """The frame is black until its producer's stream has come to the copy; nobody waits on the host."""
    if protocol == "interface" and producer.name == "torch":
        pytest.skip("torch names no stream in its interface")
    frame, corners, shape = frame_of(*FRAME), boxes_in(FRAME, (400, 160), 4), (256, 102)
    filled, given = producer.put(frame), producer.put(np.zeros_like(frame))
    producer.settled()
    with benches(cuda) as bench:
        value = given if protocol == "dlpack" else ByInterfaceAlone(given)
        run, fetch = bench.crops(value, "rgb", corners, shape, InputFormat())  # its allocations might wait as well
        with producer.stream():
            producer.slowly(given, filled)
            run()
        assert np.array_equal(fetch(), by_pillow(frame, corners.tolist(), shape))


def test_the_other_librarys_context_stays_as_it_was(cuda, producer):
    """Both work in the primary context, before, between and after."""
    values = np.arange(1000, dtype=np.uint8)
    before = producer.put(values)
    with benches(cuda) as bench:
        bench.put(frame_of(10, 10))
        between = producer.put(values)
        bench.cuda.synchronize(bench.stream)
    after = producer.put(values)
    for array in (before, between, after):
        actual = array.cpu().numpy() if producer.name == "torch" else array.get()
        assert np.array_equal(actual, values)
