"""Batches side by side: only where they are worth it, with the bytes of a batch on all cores, and with its errors."""

import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from reid_runtime.backends.base import OnOneCore
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError
from reid_runtime.inference import Inference
from reid_runtime.io.stage_times import StageTimes

CROP = (256, 128)


@dataclass
class StandIn:
    """A backend whose vector is made of an image's mean; `shift` is added where it runs side by side."""

    dimension: int
    shift: float = 0.0
    fails: str = ""
    worth: int = 0
    name: str = "stand-in"
    device: str = "cpu"
    max_batch_pixels: int = 32 * 256 * 128
    batches: list = field(default_factory=list)
    threads: set = field(default_factory=set)

    @property
    def side_by_side(self):
        return OnOneCore(self.open, 4 * 256 * 128, self.worth)

    def open(self, threads):
        if self.fails:
            raise BackendError(self.fails)
        return lambda images: self.threads.add(threading.current_thread().name) or self.run(images, self.shift)

    def run(self, images, shift=0.0):
        self.batches.append(len(images))
        angles = images.reshape(len(images), -1).mean(axis=1, dtype=np.float64) + shift
        rows = np.zeros((len(images), self.dimension), np.float32)
        rows[:, 0], rows[:, 1] = np.sin(angles), np.cos(angles)
        return rows


def images_of(shapes):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


def inferred(inference, images, names=()):
    return inference.infer([image.shape[:2] for image in images], images.__getitem__, names)


def test_many_images_go_in_small_batches_on_threads_and_keep_their_rows(tiny):
    backend = StandIn(tiny.dimension)
    inference = Inference(backend, tiny.contract, 2, StageTimes())
    images = images_of([CROP, (256, 90), CROP, CROP, CROP, CROP, (256, 90)])
    rows = inferred(inference, images)
    assert sorted(backend.batches[2:]) == [2, 2, 3]  # the first two are the trial's
    assert len(backend.threads - {threading.current_thread().name}) in (1, 2)
    assert str(inference) == "stand-in, 2 batches side by side"
    assert np.array_equal(rows, np.concatenate([backend.run(image[None]) for image in images]))


@pytest.mark.parametrize(
    ("images", "threads", "worth"),
    [([CROP], 2, 0), ([CROP] * 8, 2, 9 * 256 * 128), ([(16, 8)] * 8, 2, 0)],
    ids=["one image", "not yet worth it", "a few pixels"],
)
def test_else_a_batch_has_all_cores(tiny, images, threads, worth):
    backend = StandIn(tiny.dimension, worth=worth)
    inferred(Inference(backend, tiny.contract, threads, StageTimes()), images_of(images))
    assert backend.batches == [len(images)]


def test_one_core_has_small_batches_and_no_second_engine(tiny):
    backend = StandIn(tiny.dimension)
    rows = inferred(Inference(backend, tiny.contract, 1, StageTimes()), images_of([CROP] * 10))
    assert (backend.batches, backend.threads) == ([4, 4, 2], set())
    assert np.array_equal(rows, backend.run(np.stack(images_of([CROP] * 10))))


def test_work_adds_up(tiny):
    backend = StandIn(tiny.dimension, worth=4 * 256 * 128)
    inference = Inference(backend, tiny.contract, 2, StageTimes())
    for _ in range(2):
        inferred(inference, images_of([CROP] * 2))
    assert backend.batches == [2, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("backend", "why"), [({"shift": 1e-7}, "other bytes"), ({"fails": "no memory"}, "no memory")], ids=["bytes", "open"]
)
def test_an_engine_that_cannot_keep_the_bytes_stays_on_all_cores(tiny, caplog, backend, why):
    backend = StandIn(tiny.dimension, **backend)
    inference = Inference(backend, tiny.contract, 2, StageTimes())
    images = images_of([CROP] * 8)
    rows = [inferred(inference, images) for _ in range(2)]
    assert np.array_equal(rows[0], backend.run(np.stack(images)))
    assert rows[0].tobytes() == rows[1].tobytes()
    assert backend.batches[-3:] == [8, 8, 8]
    assert why in caplog.text
    assert str(inference) == "stand-in"


def test_the_first_batch_that_fails_is_named(tiny):
    backend = StandIn(tiny.dimension)
    inference = Inference(backend, replace(tiny.contract, unit_output=True), 2, StageTimes())
    inferred(inference, images_of([CROP] * 2))
    run = inference._run
    inference._run = lambda batch: run(batch) * (np.nan if batch.shape[2] == 90 else 1)
    with pytest.raises(BackendError, match=r"^c, first of its batch of 2: the model gave NaN"):
        inferred(inference, images_of([CROP, CROP, (256, 90), CROP, (256, 90)]), "abcde")


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_the_same_bytes_bit_by_bit(device, monkeypatch):
    """Of real engines, on mixed sizes, in two orders."""
    if device != "cpu":
        pytest.importorskip("openvino")
    images = images_of([(128, 64), (100, 50), (80, 60)] * 3)
    rows = []
    for worth in (0, 1 << 40):
        for module in ("onnx", "openvino"):
            monkeypatch.setattr(f"reid_runtime.backends.{module}._WORTH", worth)
        embedder = Embedder.load("tiny", device=device, threads=2)
        rows += [embedder.embed(images, "rgb"), embedder.embed(images[::-1], "rgb")[::-1]]
        assert ("2 batches side by side" in repr(embedder)) == (worth == 0)
    assert len({each.tobytes() for each in rows}) == 1
