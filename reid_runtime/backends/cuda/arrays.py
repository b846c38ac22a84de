"""Arrays on the GPU of other libraries (torch, CuPy, JAX, PyCUDA), read without a copy, in the order of their streams.

DLPack comes first where an object speaks both: its producer makes our stream wait for the work that fills the array
(https://dmlc.github.io/dlpack/latest/python_spec.html). Through the CUDA array interface, version 3, we wait for the
stream that it names (https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html).
"""

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.backends.cuda.base import Cuda
from reid_runtime.errors import BackendError

_DLPACK_KINDS = {0: "i", 1: "u", 2: "f"}
_LEGACY_DEFAULT_STREAM = 1


class _DLTensor(ctypes.Structure):
    """The part of DLPack's DLManagedTensor that describes the array; `dlpack.h` of its ABI 0, which all producers give
    who are not asked for another."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("dimensions", ctypes.c_int32),
        ("kind", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class DeviceArray:
    """Memory of the GPU that another library owns."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In bytes, one for each axis."""
    dtype: np.dtype[Any]
    owner: Any
    """Keeps the memory alive."""

    @property
    def contiguous(self) -> bool:
        """Whether the items lie one behind the other, the last axis fastest."""
        return self.strides == _packed(self.shape, self.dtype.itemsize)


def device_array(value: Any, cuda: Cuda, stream: int) -> DeviceArray:
    """The array as it lies on the GPU, without a copy; what `stream` gets from here on sees it filled.

    Raises BackendError for an array of another GPU, or one whose producer will not hand it out.
    """
    if hasattr(value, "__dlpack_device__"):
        return _from_dlpack(value, stream)
    described = value.__cuda_array_interface__
    # Before version 3 nobody named a stream: the default one was meant. None says that no waiting is needed.
    leader = described.get("stream", _LEGACY_DEFAULT_STREAM if described["version"] < 3 else None)
    if leader is not None:
        cuda.follow(stream, leader)
    shape, dtype = tuple(described["shape"]), np.dtype(described["typestr"])
    strides = described.get("strides") or _packed(shape, dtype.itemsize)
    return DeviceArray(described["data"][0] or 0, shape, tuple(strides), dtype, value)


def _from_dlpack(value: Any, stream: int) -> DeviceArray:
    try:
        capsule = value.__dlpack__(stream=stream)
    except Exception as error:  # each library has its own: torch refuses what needs gradients, ...
        raise BackendError(f"a GPU array of {type(value).__module__} does not hand itself out: {error}") from error
    tensor = _read(capsule).contents
    if tensor.device != 0:
        raise BackendError(
            f"expected an array on GPU 0, found one on GPU {tensor.device}: choose the GPU with CUDA_VISIBLE_DEVICES"
        )
    if tensor.kind not in _DLPACK_KINDS or tensor.lanes != 1 or tensor.bits not in (8, 16, 32, 64):
        raise BackendError(f"expected an array of plain numbers, found DLPack's kind {tensor.kind}")
    dtype = np.dtype(f"{_DLPACK_KINDS[tensor.kind]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[: tensor.dimensions])
    strides = (
        tuple(dtype.itemsize * step for step in tensor.strides[: tensor.dimensions])
        if tensor.strides
        else _packed(shape, dtype.itemsize)
    )
    # The capsule is not consumed: it gives the memory back when it is dropped.
    return DeviceArray((tensor.data or 0) + tensor.offset, shape, strides, dtype, (capsule, value))


def _read(capsule: Any) -> "ctypes._Pointer[_DLTensor]":
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return ctypes.cast(address(capsule, b"dltensor"), ctypes.POINTER(_DLTensor))


def _packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
