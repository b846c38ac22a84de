"""Arrays of other libraries: their address and strides, and whose work is waited for."""

import sys

import numpy as np
import pytest

from reid_runtime.backends.cuda.arrays import _read, device_array
from reid_runtime.errors import BackendError
from reid_runtime.images.boxes import is_on_gpu

from .fake import FakeCuda, Work


class Interface:
    def __init__(self, **described):
        self.__cuda_array_interface__ = {
            "shape": (2, 3), "typestr": "|u1", "data": (4096, False), "version": 3, **described
        }  # fmt: skip


class Dlpack:
    """The capsule of a host array, which has the layout of a GPU's, under the name of a GPU's; `fields` are changed."""

    def __init__(self, array, kind=2, error=None, **fields):
        self.array, self.kind, self.error, self.fields, self.streams = array, kind, error, fields, []

    def __dlpack_device__(self):
        return self.kind, 0

    def __dlpack__(self, *, stream):
        if self.error is not None:
            raise self.error
        self.streams.append(stream)
        capsule = self.array.__dlpack__()
        for name, value in self.fields.items():
            setattr(_read(capsule).contents, name, value)
        return capsule


@pytest.fixture
def cuda():
    cuda = FakeCuda()
    with cuda.current():
        yield cuda


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.zeros(3), False),
        ([1, 2], False),
        (None, False),
        (Interface(), True),
        (Dlpack(np.zeros(3)), True),
        (Dlpack(np.zeros(3), kind=1), False),
    ],
)
def test_what_is_on_the_gpu(value, expected):
    assert is_on_gpu(value) is expected


def test_torch_on_the_cpu_is_not_on_the_gpu():
    torch = pytest.importorskip("torch")
    assert not is_on_gpu(torch.zeros(3))


@pytest.mark.parametrize(
    ("stream", "expected"), [({}, None), ({"stream": None}, None), ({"stream": 7}, 7), ({"version": 2}, 1)]
)
def test_interface_stream_is_followed(cuda, monkeypatch, stream, expected):
    followed = []
    monkeypatch.setattr(cuda, "follow", lambda stream, leader: followed.append((stream, leader)))
    array = device_array(Interface(**stream), cuda, 5)
    assert followed == ([] if expected is None else [(5, expected)])
    assert (array.address, array.shape, array.strides, array.dtype) == (4096, (2, 3), (3, 1), np.uint8)
    assert array.contiguous


def test_strides_of_the_interface(cuda):
    array = device_array(Interface(typestr="<f4", strides=(24, 8)), cuda, 5)
    assert (array.strides, array.dtype) == ((24, 8), np.float32)
    assert not array.contiguous


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64, np.float16])
def test_a_dlpack_capsule(cuda, dtype):
    full = np.arange(4 * 5 * 3).reshape(4, 5, 3).astype(dtype)
    for given in (full, full[1:3, ::2], full.transpose(2, 0, 1)):
        producer = Dlpack(given)
        array = device_array(producer, cuda, 77)
        assert producer.streams == [77]
        assert (array.address, array.shape, array.strides) == (given.ctypes.data, given.shape, given.strides)
        assert array.dtype == dtype
        assert array.contiguous == given.flags.c_contiguous


def test_the_offset_of_a_capsule(cuda):
    """numpy and torch leave it at 0; others do not."""
    given = np.zeros(5)
    assert device_array(Dlpack(given, offset=16), cuda, 77).address == given.ctypes.data + 16


def test_an_array_of_another_gpu(cuda):
    with pytest.raises(BackendError, match="expected an array on GPU 0, found one on GPU 1: choose the GPU with CUDA"):
        device_array(Dlpack(np.zeros(5), device=1), cuda, 77)


def test_memory_lives_as_long_as_the_array(cuda):
    given = np.zeros(5)
    producer = Dlpack(given)
    before = sys.getrefcount(given)
    array = device_array(producer, cuda, 77)
    assert sys.getrefcount(given) > before  # its capsule is not given back, nor is the producer
    del producer
    assert sys.getrefcount(given) >= before
    before -= 1
    del array
    assert sys.getrefcount(given) == before


def test_a_capsule_of_torch(cuda):
    torch = pytest.importorskip("torch")
    given = torch.arange(24, dtype=torch.uint8).reshape(2, 4, 3)[:, 1:]
    array = device_array(Dlpack(given), cuda, 77)
    assert (array.address, array.shape, array.strides) == (given.data_ptr(), (2, 3, 3), (12, 3, 1))


@pytest.mark.parametrize("dtype", [np.complex64, np.bool_])
def test_other_numbers_are_refused(cuda, dtype):
    with pytest.raises(BackendError, match="expected an array of plain numbers"):
        device_array(Dlpack(np.zeros(3, dtype)), cuda, 5)


def test_producer_refuses(cuda):
    error = RuntimeError("can't export tensors that require gradient")
    with pytest.raises(BackendError, match="does not hand itself out: can't export tensors that require gradient"):
        device_array(Dlpack(np.zeros(3), error=error), cuda, 5)


def test_a_follower_comes_after(cuda):
    leader, stream = cuda.create_stream(), cuda.create_stream()
    order = []
    cuda.queue(leader, Work(lambda: order.append("leader")))
    device_array(Interface(stream=leader), cuda, stream)
    cuda.queue(stream, Work(lambda: order.append("follower")))
    cuda.synchronize(stream)
    assert order == ["leader", "follower"]
