"""The pixel kernel compiled for the host: the very source that the GPU gets."""

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from reid_runtime.backends.cuda.arrays import DeviceArray
from reid_runtime.backends.cuda.crops import SOURCE, launch_crops

_FOLDER = tempfile.TemporaryDirectory()  # goes with the process


@cache
def library():
    """crops.cu as a shared library; the test is skipped where there is no C++ compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    path = Path(_FOLDER.name) / "crops.so"
    flags = ["-x", "c++", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Werror", "-I", str(SOURCE.parent)]
    subprocess.run([compiler, *flags, "-o", str(path), str(Path(__file__).with_name("host.h"))], check=True)
    return ctypes.CDLL(str(path))


class HostLaunch:
    """The one method of `Cuda` that launch_crops calls, on the host's memory."""

    def launch(self, kernel, grid, block, shared, stream, arguments):
        values = [np.asarray(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        three = ctypes.c_uint * 3
        library().crops_on_host(three(*grid), three(*block), ctypes.c_size_t(shared), addresses)


def crops_on_host(frame, corners, shape, form, channel_order="rgb"):
    """The kernel's output for a host frame of any strides, launched as the GPU's is."""
    corners = np.ascontiguousarray(corners, np.int32)
    height, width = shape
    planes = form.layout == "NCHW"
    output = np.zeros((len(corners), 3, height, width) if planes else (len(corners), height, width, 3), form.dtype)
    given = DeviceArray(frame.ctypes.data, frame.shape, frame.strides, frame.dtype, frame)
    launch_crops(
        HostLaunch(), 0, 0, given, channel_order, corners, corners.ctypes.data, shape, form, output.ctypes.data
    )
    return output
