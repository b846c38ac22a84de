"""The pixel kernel gives Pillow's pixels: its very source, compiled for the host. And it compiles for GPUs."""

import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_runtime.backends.cuda.arrays import DeviceArray
from reid_runtime.backends.cuda.crops import SOURCE, check_frame
from reid_runtime.errors import BackendError, ImageError
from reid_runtime.images.model_input import InputFormat, to_model_input
from reid_runtime.images.resize import FixedSize, LongestSide, resize

from ...models import FOREIGN
from .host import crops_on_host

GPUS = (75, 80, 86, 89, 90, 120)


def frame_of(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_pillow(frame, corners, shape):
    return np.stack([resize(np.ascontiguousarray(frame[y1:y2, x1:x2]), shape) for x1, y1, x2, y2 in corners])


def check(frame, corners, shape):
    """The kernel's crops are Pillow's, to the last bit."""
    assert np.array_equal(crops_on_host(frame, corners, shape, InputFormat()), by_pillow(frame, corners, shape))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_crop_at_any_size(data):
    height, width = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    frame = frame_of(height, width, data.draw(st.integers(0, 99)))
    corners = []
    for _ in range(data.draw(st.integers(1, 4))):
        x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        corners.append((x1, y1, data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))))
    shape = data.draw(st.tuples(st.integers(1, 48), st.integers(1, 48)))
    check(frame, corners, shape)


@pytest.mark.parametrize("rule", [LongestSide(64), LongestSide(256), FixedSize(64, 32), FixedSize(7, 300)])
def test_the_contracts_rules(rule):
    frame = frame_of(300, 400)
    for corners in ((0, 0, 400, 300), (10, 20, 11, 300), (5, 7, 400, 8), (399, 299, 400, 300), (30, 40, 131, 297)):
        shape = rule.shape(corners[3] - corners[1], corners[2] - corners[0])
        check(frame, [corners], shape)


def test_extremes_stay_within_bytes():
    """Checkerboards of 0 and 255: where rounding goes over an edge, it shows here."""
    frame = (np.indices((60, 50)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    for shape in ((200, 100), (59, 49), (3, 2), (60, 1)):
        corners = [(0, 0, 50, 60)]
        check(frame, corners, shape)


def test_great_shrink():
    frame = frame_of(9000, 8)
    corners = [(0, 0, 8, 9000)]
    check(frame, corners, (4, 4))
    with pytest.raises(ImageError, match="shrinks too much for the GPU"):
        crops_on_host(frame, corners, (1, 4), InputFormat())


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_frames_of_any_strides(order):
    """A view into a larger frame, and planes seen as an image, as torch has them."""
    corners, shape = [(3, 5, 40, 60), (0, 0, 50, 70)], (32, 20)
    full = frame_of(140, 160)
    planes = np.ascontiguousarray(frame_of(70, 50).transpose(2, 0, 1)).transpose(1, 2, 0)
    for frame in (full[10:80, 20:120:2], planes, full[79:9:-1, 20:70]):
        rgb = frame if order == "rgb" else frame[..., ::-1]
        result = crops_on_host(frame, corners, shape, InputFormat(), order)
        assert np.array_equal(result, by_pillow(rgb, corners, shape))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_input_format_of_another_model(order):
    frame, corners, shape = frame_of(90, 80), [(3, 5, 40, 60), (0, 0, 80, 90)], (32, 20)
    rgb = frame if order == "rgb" else frame[..., ::-1]
    expected = to_model_input(by_pillow(rgb, corners, shape), FOREIGN.input)
    assert np.array_equal(crops_on_host(frame, corners, shape, FOREIGN.input, order), expected)


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4), np.uint8), ((4, 4, 4), np.uint8), ((4, 4, 3), np.float32)])
def test_a_frame_of_another_kind_is_refused(shape, dtype):
    array = np.zeros(shape, dtype)
    with pytest.raises(ImageError, match=r"expected a frame \(height, width, 3\) of uint8, found"):
        check_frame(DeviceArray(0, array.shape, array.strides, array.dtype, None))


@pytest.fixture
def compile_kernel():
    """NVRTC; the test is skipped where it is missing."""
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    from reid_runtime.backends.cuda.bindings import compile_kernel

    try:
        compile_kernel(SOURCE.read_text(), 86)
    except BackendError as error:
        if "NVRTC, which is missing" not in str(error):
            raise
        pytest.skip(str(error))
    return compile_kernel


@pytest.mark.parametrize("architecture", GPUS)
def test_nvrtc(compile_kernel, architecture):
    assert compile_kernel(SOURCE.read_text(), architecture).startswith(b"\x7fELF")


def test_no_product_is_fused_with_a_sum(compile_kernel):
    """A GPU that NVRTC does not know gets PTX, in which one can read it."""
    code = compile_kernel(SOURCE.read_text(), 999)
    assert b".entry crops" in code
    assert b"mul.rn.f64" in code
    assert b"fma.rn" not in code


def test_nvrtc_error(compile_kernel):
    with pytest.raises(BackendError, match=r"cannot compile a kernel for sm_86: .*nothing_such"):
        compile_kernel('extern "C" __global__ void broken() { nothing_such(); }', 86)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc here")
@pytest.mark.parametrize("architecture", GPUS[1::2])
def test_nvcc_compiles_it(tmp_path, architecture):
    command = ["nvcc", "-cubin", "-Werror", "all-warnings", "-fmad=false", f"-arch=sm_{architecture}"]
    done = subprocess.run([*command, "-o", tmp_path / "crops", SOURCE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
