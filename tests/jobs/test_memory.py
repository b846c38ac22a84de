"""Resident memory stays flat while very many images are embedded, and a leak is seen as one.

`REID_SOAK=200000 pytest tests/jobs/test_memory.py` soaks as many images as are named.
"""

import os
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_runtime.backends.base import CPU_BATCH_PIXELS
from reid_runtime.batching import WINDOW
from reid_runtime.embedder import Embedder
from reid_runtime.jobs.embed_folder import embed_folder

stats = pytest.importorskip("scipy.stats")
STATM = Path("/proc/self/statm")
pytestmark = pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")

SLOPE, NOISE = 128.0, 8 << 20
"""Bytes an image, were one vector of 256 numbers kept of every eight; bytes that allocators come and go by."""


@dataclass
class StandIn:
    """A backend that answers at once; it leaks so many bytes an image."""

    dimension: int
    leak: int = 0
    kept: tuple = ()
    name: str = "stand-in"
    device: str = "cpu"
    max_batch_pixels: int = CPU_BATCH_PIXELS

    def run(self, images):
        self.kept += (np.ones((len(images), self.leak), np.uint8),)
        return np.full((len(images), self.dimension), self.dimension**-0.5, np.float32)


def write_images(folder, count):
    """Files of many sizes and formats under many names."""
    folder.mkdir()
    random = np.random.default_rng(0)
    first = []
    for number, suffix in zip(range(min(120, count)), cycle(["jpg"] * 5 + ["png", "webp", "bmp"]), strict=False):
        height, width = int(random.integers(24, 200)), int(random.integers(12, 100))
        first.append(folder / f"{number:07}.{suffix}")
        patches = random.integers(0, 256, (16, 8, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC).save(first[-1])
    for number in range(len(first), count):
        source = first[number % len(first)]
        os.link(source, folder / f"{number:07}{source.suffix}")
    return folder


def grows(points):
    """Whether memory would not last, by the slope behind the first fifth (Theil, 1950; Sen, 1968)."""
    done, resident = (np.array(values) for values in zip(*points, strict=True))
    behind = done >= 0.2 * done[-1]
    slope = stats.theilslopes(resident[behind], done[behind])[0]
    return slope > SLOPE and slope * done[-1] > NOISE


def soaked(tiny, images, output, leak=0):
    embedder = Embedder(StandIn(tiny.dimension, leak), tiny.contract, tiny.path)
    points, done, step = [], 0, max(1, len(list(images.iterdir())) // 250)

    def progress(count):
        nonlocal done
        done += count
        if done // step > len(points):
            points.append((done, int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")))

    assert embed_folder(embedder, images, f"{output}/", on_error="raise", progress=progress).embedded == done
    return points


def test_real_job_is_flat_and_one_that_leaks_is_not(tiny, tmp_path):
    pytest.importorskip("pyarrow")
    count = int(os.environ.get("REID_SOAK", 6 * WINDOW))
    images = write_images(tmp_path / "images", count)
    soaked(tiny, write_images(tmp_path / "few", 4 * WINDOW), tmp_path / "warm")  # until all that is kept is full
    assert not grows(soaked(tiny, images, tmp_path / "sound"))
    assert grows(soaked(tiny, images, tmp_path / "leaking", leak=50_000))


@pytest.mark.parametrize(("added", "expected"), [("nothing", False), ("spike", False), ("step", True), ("leak", True)])
def test_spike_is_no_growth_and_a_step_is(added, expected):
    done = np.arange(0, 100_000, 1000)
    resident = 200 * (1 << 20) + np.random.default_rng(0).integers(-1 << 20, 1 << 20, len(done))
    resident[:15] += 900 << 20  # the warm-up
    resident += {"nothing": 0, "spike": 0, "step": (done >= 50_000) * (900 << 20), "leak": 500 * done}[added]
    resident[95:] += (900 << 20) * (added == "spike")
    assert bool(grows(list(zip(done, resident, strict=True)))) == expected
