"""python -m benchmarks.soak -o FOLDER: whether memory stays flat over hundreds of thousands of pictures of many sizes.

Each case is the job behind `reid-runtime embed PICTURES -o OUT/`, with its decoding, parts and manifest, in a process
of its own, over links to files of generated crops. A stand-in for the model takes most of them, so that the rest of
the engine room is what is soaked, and the default model a tenth. In one case the disk is slower than all else, and in
one a picture of 60 million pixels comes half way.

Resident memory is read every few milliseconds. What counts is its slope behind the first fifth, by the median of the
slopes between all pairs of points (Theil, 1950; Sen, 1968), on which a spike has no hold and a step has. A case fails
where that is more than SLOPE bytes a picture and, over the pictures of the case, more than NOISE.
"""

import json
import os
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.measurements import Report, Row, environment, text_table
from reid_runtime.backends import Backend
from reid_runtime.backends.base import CPU_BATCH_PIXELS
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.model_input import ModelInput
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.folder import LocalFolder
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.jobs.sources import find_sources

SLOPE = 128.0
"""Bytes a picture: were one vector of the default model kept of every eight, it would be this."""
NOISE = 8 << 20
"""Bytes that allocators come and go by."""
WARM_UP = 0.2
"""The share of a case's pictures in which engines and allocators take what they keep."""

_EVERY = 0.02
_POINTS = 250
_FILES = 240
"""Files with pixels of their own; the other names are links to them."""
_HUGE = (8000, 7500)
_STATM = Path("/proc/self/statm")


class SoakError(ReidRuntimeError):
    """Memory grew, or it cannot be told whether it did."""


@dataclass(frozen=True)
class Case:
    """One job, and what is hard about it."""

    name: str
    pictures: int
    stand_in: bool = True
    pause: float = 0
    """Seconds that the disk takes for a part, beside the time it needs."""
    huge: bool = False


@dataclass(frozen=True)
class Curve:
    """Resident memory over the pictures of a case."""

    case: Case
    done: tuple[int, ...]
    """Pictures, at each point."""
    low: tuple[int, ...]
    high: tuple[int, ...]
    """Bytes: the least and the most until the next point."""
    seconds: float

    @property
    def slope(self) -> float:
        """Bytes a picture; raises SoakError where there are too few points to tell."""
        points = np.array([self.done, self.low], np.float64)[:, np.array(self.done) >= WARM_UP * self.case.pictures]
        first, second = np.triu_indices(points.shape[1], 1)
        if not len(first):
            raise SoakError(f"{self.case.name}: {self.case.pictures} pictures are too few to see a slope; ask for more")
        run, rise = points[:, second] - points[:, first]
        return float(np.median(rise / run))

    @property
    def grows(self) -> bool:
        """Whether memory would not last: the verdict."""
        return self.slope > SLOPE and self.slope * self.case.pictures > NOISE


@dataclass(frozen=True)
class StandIn:
    """A backend that gives every picture the same vector, at once."""

    dimension: int
    name: str = "stand-in"
    device: str = "cpu"
    max_batch_pixels: int = CPU_BATCH_PIXELS

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """(N, D) float32 of unit length."""
        return np.full((len(images), self.dimension), self.dimension**-0.5, np.float32)


class Counted:
    """A backend that knows how many pictures it has taken."""

    def __init__(self, backend: Backend) -> None:
        self.device = backend.device
        self.name, self.max_batch_pixels = backend.name, backend.max_batch_pixels
        self.done = 0
        self._backend = backend

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """As the backend itself."""
        vectors = self._backend.run(images)
        self.done += len(images)
        return vectors


@dataclass(frozen=True)
class SlowFolder(LocalFolder):
    """A folder on a disk that takes its time."""

    pause: float = 0

    def write(self, name: str, content: bytes) -> None:
        """Later."""
        time.sleep(self.pause)
        super().write(name, content)


class Watch(threading.Thread):
    """Reads this process's memory while it works; holds no more after an hour than at first."""

    def __init__(self, backend: Counted, pictures: int) -> None:
        super().__init__(daemon=True)
        self._backend, self._ended = backend, threading.Event()
        self._step = max(1, -(-pictures // _POINTS))
        self._range = np.zeros((pictures // self._step + 1, 2), np.int64)

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """The thread."""
        while not self._ended.wait(_EVERY):
            place, held = self._backend.done // self._step, resident()
            low, high = self._range[place]
            self._range[place] = min(low or held, held), max(high, held)

    def curve(self, case: Case, seconds: float) -> Curve:
        """What was read, where anything was."""
        places = np.flatnonzero(self._range[:, 0])
        low, high = self._range[places].T.tolist()
        return Curve(case, tuple((places * self._step).tolist()), tuple(low), tuple(high), seconds)


def resident() -> int:
    """Bytes of memory that this process holds; raises SoakError where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError as error:
        raise SoakError(f"resident memory is read from {_STATM}, which only Linux has: {error}") from error


def soak(case: Case, pictures: Path) -> Curve:
    """One case, in this process, over a folder that `write_pictures` filled."""
    model = Embedder.load()
    backend = Counted(StandIn(model.dimension) if case.stand_in else model.backend)
    embedder = Embedder(backend, model.contract, model.path)
    with tempfile.TemporaryDirectory() as name:
        sources = find_sources([str(pictures)])
        started = time.perf_counter()
        with Watch(backend, case.pictures) as watch:
            embed_folder(embedder, sources, SlowFolder(name, pause=case.pause), on_error="raise")
        if backend.done != case.pictures:
            raise SoakError(f"{case.name}: expected {case.pictures} pictures to be embedded, found {backend.done}")
        return watch.curve(case, time.perf_counter() - started)


def write_pictures(folder: Path, case: Case) -> None:
    """A case's pictures: JPEG, PNG, WebP and BMP of many sizes, as few files under many names."""
    random = np.random.default_rng(0)
    formats = islice(cycle(["jpg"] * 5 + ["png", "webp", "bmp"]), min(_FILES, case.pictures))
    names = []
    for number, suffix in enumerate(formats):
        height = int(random.integers(24, 200))
        size = max(8, int(height * random.uniform(0.25, 0.8))), height
        names.append(f"{number:07}.{suffix}")
        _drawn(size, random).save(folder / names[-1])
    for number in range(len(names), case.pictures):
        first = names[number % len(names)]
        os.link(folder / first, folder / f"{number:07}{Path(first).suffix}")
    if case.huge:
        middle = next(folder.glob(f"{case.pictures // 2:07}.*"))
        middle.unlink()
        _drawn(_HUGE, random).save(middle.with_suffix(".jpg"))


def _drawn(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Patches of colour that run into each other, about as dear to decode as a photograph."""
    patches = random.integers(0, 256, (16, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def measure(case: Case) -> Curve:
    """One case, in a process of its own: what another one left behind is not counted."""
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        write_pictures(Path(name), case)
        return process.submit(soak, case, Path(name)).result()


def cases(pictures: int, model_pictures: int, pause: float) -> list[Case]:
    """The cases of these counts; the two hard ones are a quarter as long, for what they show comes early."""
    every = [
        Case("stand-in for the model", pictures),
        Case(f"a disk that takes {pause:g} s for a part", pictures // 4, pause=pause),
        Case("one picture of 60 million pixels", pictures // 4, huge=True),
        Case("default model", model_pictures, stand_in=False),
    ]
    return [case for case in every if case.pictures]


def report(curves: list[Curve]) -> dict[str, Any]:
    """The one schema of results, and beside its rows the curves."""
    rows = [
        Row(
            curve.case.name,
            {"pictures": curve.case.pictures},
            (curve.seconds,),
            curve.case.pictures,
            {"slope": curve.slope, "low": min(curve.low), "high": max(curve.high), "grows": float(curve.grows)},
            "soak",
        )
        for curve in curves
    ]
    limits = f"fails above {SLOPE:g} bytes a picture and {NOISE >> 20} MiB over a case, behind its first {WARM_UP:.0%}"
    return asdict(Report("soak", environment(), tuple(rows), (limits,))) | {"curves": [asdict(each) for each in curves]}


def plot(curves: list[Curve], path: Path) -> None:
    """A panel a case: resident memory over pictures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), squeeze=False)[:, 0]
    for axes, curve in zip(panels, curves, strict=True):
        low, high = (np.array(values) / (1 << 20) for values in (curve.low, curve.high))
        axes.fill_between(curve.done, low, high, step="post", alpha=0.35, label="least and most")
        axes.step(curve.done, low, where="post")
        axes.axvline(WARM_UP * curve.case.pictures, color="grey", linestyle=":", label="end of the warm-up")
        axes.set_ylim(0, 1.1 * high.max())
        axes.set_title(f"{curve.case.name}: {curve.slope:+.1f} bytes a picture", loc="left", fontsize=10)
        axes.set_ylabel("MiB resident")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    panels[0].legend(loc="lower right", fontsize=8)
    panels[-1].set_xlabel("pictures")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def as_table(curves: list[Curve]) -> str:
    """The curves for people."""
    lines = [
        [
            curve.case.name,
            f"{curve.case.pictures:,}",
            f"{curve.case.pictures / curve.seconds:,.0f}",
            f"{min(curve.low) >> 20}",
            f"{max(curve.high) >> 20}",
            f"{curve.slope:+.1f}",
            "grows" if curve.grows else "flat",
        ]
        for curve in curves
    ]
    return text_table(["", "pictures", "a second", "MiB at least", "MiB at most", "bytes a picture", ""], lines)


@click.command()
@click.option("-o", "--output", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
              help="A folder, for soak.json and soak.png.")  # fmt: skip
@click.option("--pictures", type=click.IntRange(0), default=200_000, show_default=True, help="For the stand-in.")
@click.option("--model-pictures", type=click.IntRange(0), default=20_000, show_default=True, help="For the model.")
@click.option("--pause", type=float, default=4, show_default=True, help="Seconds of the slow disk for a part.")
@click.option("--force", is_flag=True, help="Overwrite what is in the folder.")
def main(output: Path, pictures: int, model_pictures: int, pause: float, force: bool) -> None:
    """Embed very many pictures, and fail where memory grows."""
    figures, picture = output / "soak.json", output / "soak.png"
    for path in (figures, picture):
        ensure_writable(path, force)
    resident()
    curves = []
    for case in cases(pictures, model_pictures, pause):
        click.echo(f"{case.name}: {case.pictures:,} pictures", err=True)
        curves.append(measure(case))
    click.echo(as_table(curves))
    with atomic_write(figures) as beside:
        beside.write_text(json.dumps(report(curves), indent=1) + "\n", encoding="utf-8")
    plot(curves, picture)
    growing = [f"{curve.case.name} by {curve.slope:.0f} bytes a picture" for curve in curves if curve.grows]
    if growing:
        raise SoakError(f"memory grows: {'; '.join(growing)}; expected at most {SLOPE:g}")


if __name__ == "__main__":
    run(main)
