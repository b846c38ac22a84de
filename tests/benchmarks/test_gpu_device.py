"""The measurements below the models, on the fake GPU: what they would run on a real one, and that nothing is left."""

import numpy as np
import pytest

from benchmarks import gpu_device
from benchmarks.gpu_device import OwnArray, benches, boxes_in, by_pillow, measure_copies, measure_device, measure_pixels
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import InputFormat

from ..backends.cuda.fake import FakeCuda


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(gpu_device, "COPIES", (1000,))
    monkeypatch.setattr(gpu_device, "FRAME", (90, 120))
    monkeypatch.setattr(gpu_device, "PERSONS", (((40, 16), (25, 10)),))
    monkeypatch.setattr(gpu_device, "BOXES", (1, 3))
    cuda = FakeCuda()
    yield cuda
    assert cuda.leaks() == {}


def test_copies_are_compared(cuda):
    rows = measure_copies(cuda, 3)
    assert [(row.case, row.items, len(row.seconds)) for row in rows] == [
        ("to the device, fake GPU", 1000, 3),
        ("from the device, fake GPU", 1000, 3),
    ]
    assert all(row.facts == {"equal": 1.0} for row in rows)


def test_pixels_are_compared(cuda):
    rows = measure_pixels(cuda, 2)
    assert {row.case for row in rows} == {"pixel kernel, fake GPU", "Pillow on the CPU"}
    assert {row.setting["batch"] for row in rows} == {1, 3}
    assert all(row.facts["grey_levels"] <= 1 for row in rows)


def test_a_wrong_kernel_is_seen(cuda, monkeypatch):
    monkeypatch.setattr(gpu_device, "launch_crops", lambda *_: None)
    assert max(row.facts["grey_levels"] for row in measure_pixels(cuda, 1)) > 1


def test_a_provider_that_fails_does_not_stop_the_other(cuda, monkeypatch):
    class Failing(FakeCuda):
        name = "failing"

        def upload(self, *arguments):
            raise BackendError("CUDA's cuMemcpyHtoDAsync failed: an illegal memory access")

    failing = Failing()
    monkeypatch.setattr(gpu_device, "providers", lambda: ([failing, cuda], ["no pycuda"]))
    found = measure_device(1)
    assert len(found.rows) == 2 + 4
    assert [note.partition(":")[0] for note in found.notes] == ["no pycuda", "copies, failing", "pixels, failing"]
    assert failing.leaks() == {}


def test_crops_in_another_models_format(cuda):
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    corners = boxes_in((90, 120), (40, 16), 2)
    wanted = InputFormat(layout="NCHW", dtype="float32", scale=1 / 255)
    with benches(cuda) as bench:
        run, fetch = bench.crops(OwnArray(bench.put(frame), frame, bench.stream), "rgb", corners, (25, 10), wanted)
        run()
        found = fetch()
    assert found.shape == (2, 3, 25, 10)
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1) * 255, by_pillow(frame, corners, (25, 10)), atol=1.01)
