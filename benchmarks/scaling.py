"""python -m benchmarks.scaling: what a larger input costs: area, batch, crops of a frame, folder, gallery, threads.

The cost of n is taken to grow as n to some exponent, which is the slope of a line through the logarithms; each round
of the paired timer gives one. Where even its interval's lower end lies above 1.05 the growth is worse than linear. The
engine is clocked inside the same calls, so that a step that is steeper says whether it or the rest grew, and how many
batches of how many pixels the engine had on either side.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from benchmarks.cases import Setup, Subject, load, subject_options
from benchmarks.inputs import frame_with_boxes, one_size, write_files
from benchmarks.measurements import Found, Row, hand_over, in_turn, output_option, shown
from benchmarks.scoring import plant
from benchmarks.throughput import embed_to_file
from benchmarks.timing import Interval, median_interval
from reid_runtime.backends.base import Backend
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.images.model_input import ModelInput, to_model_input
from reid_runtime.images.resize import FixedSize, resize
from reid_runtime.scoring.ranking import score

PART = "growth"
AREA, BATCH, FRAME, FOLDER, GALLERY, THREADS = (
    "image area", "batch", "crops of a frame", "files of a folder", "gallery", "threads",
)  # fmt: skip
LINEAR = 1.05
"""An exponent above this is worse than linear."""
_QUERIES = 200


@dataclass
class _Clocked:
    """A backend that notes how long each call of it took, and on how many pixels."""

    backend: Backend
    seconds: list[float] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name, self.device = self.backend.name, self.backend.device
        self.max_batch_pixels = self.backend.max_batch_pixels

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """As the backend does it."""
        started = time.perf_counter()
        vectors = self.backend.run(images)
        self.seconds.append(time.perf_counter() - started)
        self.pixels.append(images.size // 3)
        return vectors


@dataclass
class _Point:
    """What is timed at one value of an axis, and the engine in it, of which each call takes some."""

    call: Callable[[], object]
    engine: _Clocked | None = None
    spent: list[float] = field(default_factory=list)
    batches: tuple[int, ...] = ()
    """Pixels of each batch of the last call."""

    def __call__(self) -> None:
        if self.engine is not None:
            self.engine.seconds.clear()
            self.engine.pixels.clear()
        self.call()
        if self.engine is not None:
            self.spent.append(sum(self.engine.seconds))
            self.batches = tuple(self.engine.pixels)

    def facts(self, seconds: Sequence[float]) -> dict[str, float]:
        """Of calls that took these seconds: the engine's share, its batches, and their pixels in all."""
        if self.engine is None:
            return {}
        share = sum(self.spent[-len(seconds) :]) / sum(seconds)
        return {"engine_share": share, "batches": len(self.batches), "pixels": sum(self.batches)}


Calls = dict[int, _Point]


def measure_growth(setup: Setup, subject: Subject) -> Found:
    """Every axis, of one subject."""
    found = Found()
    with tempfile.TemporaryDirectory() as name:
        axes: dict[str, Callable[[], Calls]] = {
            AREA: lambda: _areas(setup, subject),
            BATCH: lambda: _batches(setup, subject),
            FRAME: lambda: _frames(setup, subject),
            FOLDER: lambda: _folders(setup, subject, Path(name)),
            GALLERY: lambda: _galleries(setup),
            THREADS: lambda: _threads(setup, subject),
        }
        for axis, make in axes.items():
            found.rows += _along(axis, make(), setup, subject)
    return found


def _along(axis: str, calls: Calls, setup: Setup, subject: Subject) -> list[Row]:
    """One row a value; `value` is what the case's name says."""
    model = "scoring" if axis == GALLERY else subject.case
    if len(calls) < 2:
        return []
    points = {str(value): point for value, point in calls.items()}
    known: Mapping[str, float] = {} if axis == GALLERY else subject.facts
    # Folders are of many seconds: half the rounds.
    rounds = -(-setup.budget.rounds // 2) if axis == FOLDER else None
    # A value of threads takes what it takes, the yardstick all.
    setting = {"axis": axis, "model": model}
    rows = in_turn(PART, points, setting, 1, setup.budget, rounds=rounds, threads=setup.threads)
    return [
        replace(row, items=int(row.case), facts={**known, **points[row.case].facts(row.seconds)})
        if row.case in points
        else row
        for row in rows
    ]


def _clocked(embedder: Embedder) -> tuple[Embedder, _Clocked]:
    engine = _Clocked(embedder.backend)
    return Embedder(engine, embedder.contract, embedder.path), engine


def _engine_alone(embedder: Embedder, pixels: ModelInput) -> _Point:
    engine = _Clocked(embedder.backend)
    return _Point(partial(engine.run, pixels), engine)


def _steps(setup: Setup, least: int, most: int) -> list[int]:
    """Powers of four on a trial, of two else, from `least` to `most`, or a fourth of it on a trial."""
    step, end = (2, most) if setup.budget.scale > 1 else (4, most // 4)
    values = [least]
    while values[-1] * step <= end:
        values.append(values[-1] * step)
    return values


def _areas(setup: Setup, subject: Subject) -> Calls:
    crop, contract = setup.evidence.crops[0], subject.embedder.contract
    calls: Calls = {}
    if isinstance(contract.resize, FixedSize):
        return calls  # such a model takes one size
    for height in (64, 128, 256, 512) if setup.budget.scale > 1 else (64, 128, 256):
        shape = (height, height // 2)
        pixels = to_model_input(resize(crop, shape)[None], contract.input)
        calls[shape[0] * shape[1]] = _engine_alone(subject.embedder, pixels)
    return calls


def _batches(setup: Setup, subject: Subject) -> Calls:
    if subject.embedder.backend.max_batch_pixels == 1:
        return {}
    calls: Calls = {}
    for count in _steps(setup, 1, 64):
        pixels = to_model_input(np.stack(one_size(setup.evidence.crops, count)), subject.embedder.contract.input)
        calls[count] = _engine_alone(subject.embedder, pixels)
    return calls


def _frames(setup: Setup, subject: Subject) -> Calls:
    counts = _steps(setup, 4, 64)
    frame, boxes = frame_with_boxes(setup.evidence.crops, counts[-1])
    embedder, engine = _clocked(subject.embedder)
    return {count: _Point(partial(embedder.embed_boxes, frame, boxes[:count], "rgb"), engine) for count in counts}


def _folders(setup: Setup, subject: Subject, folder: Path) -> Calls:
    counts = _steps(setup, 64, 1024 * setup.budget.scale)[::2]
    files = write_files(folder, setup.evidence.crops, counts[-1])
    embedder, engine = _clocked(subject.embedder)
    table = folder / "embeddings.npz"
    return {count: _Point(partial(embed_to_file, embedder, files[:count], table), engine) for count in counts}


def _galleries(setup: Setup) -> Calls:
    calls: Calls = {}
    for count in _steps(setup, 1000, 16_000 * setup.budget.scale):
        data = plant(_QUERIES, count, dimension=256)
        calls[count] = _Point(partial(score, data.query_vectors, data.query, data.gallery_vectors, data.gallery))
    return calls


def _threads(setup: Setup, subject: Subject) -> Calls:
    calls: Calls = {}
    for count in sorted({1, *(value for value in (2, 4, 8, 16, 32) if value < setup.threads), setup.threads}):
        embedder = load(subject.embedder.path, subject.device, count)
        count_of_batch = 1 if embedder.backend.max_batch_pixels == 1 else 8
        pixels = to_model_input(np.stack(one_size(setup.evidence.crops, count_of_batch)), embedder.contract.input)
        calls[count] = _engine_alone(embedder, pixels)
    return calls


def exponent(rows: Sequence[Row]) -> Interval:
    """The exponent of the cost's growth over rows of one axis, two or more, and its interval over the rounds."""
    values = np.log([row.items for row in rows])
    centred = values - values.mean()
    seconds = np.log([row.seconds for row in rows])
    slopes = (centred @ seconds) / (centred @ centred)
    return median_interval([float(slope) for slope in slopes])


def axes_of(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each axis and model, in the order of their values."""
    axes: dict[tuple[str, str], list[Row]] = {}
    for row in shown(rows):
        if row.part == PART:
            axes.setdefault((row.setting["axis"], row.setting["model"]), []).append(row)
    return {key: sorted(some, key=lambda row: row.items) for key, some in axes.items()}


def told(axis: str, rows: Sequence[Row]) -> str:
    """What the growth along an axis is, in a sentence; where it is worse than linear, between which two values."""
    found = exponent(rows)
    said = f"exponent {found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    if axis == THREADS:
        gain = rows[0].middle / rows[-1].middle
        return f"{said}; {rows[-1].items} threads are {gain:.2f} times as fast as {rows[0].items}"
    if found.low <= LINEAR:
        return f"{said}: not worse than linear"
    steps = [(_exponent_of(before, after), before, after) for before, after in pairwise(rows)]
    steeper = [step for step in steps if step[0].low > LINEAR]
    if not steeper:
        return f"{said}: worse than linear, by no single step of it for certain"
    return f"{said}: worse than linear, {'; '.join(_why(*step) for step in steeper)}"


def _exponent_of(before: Row, after: Row, times: float = 1) -> Interval:
    """That of the step from one value to the next, where the cost of the second is taken as so many times of it."""
    return exponent([before, replace(after, seconds=tuple(times * value for value in after.seconds))])


def _why(found: Interval, before: Row, after: Row) -> str:
    """A step that is steeper than linear: whether in the engine or in the rest, and what the engine had to do."""
    said = f"from {before.items:,} to {after.items:,} {found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    first, second = (row.facts.get("engine_share") for row in (before, after))
    if first is None or second is None:
        return said
    # All else in a call is next to nothing where the engine alone was called.
    parts = [("the engine's part", first, second), ("the rest", 1 - first, 1 - second)]
    grown = [
        f"{name} {_exponent_of(before, after, now / was).value:.2f}" for name, was, now in parts if min(was, now) > 0.01
    ]
    work = [f"{row.facts['batches']:.0f} of {row.facts['pixels']:,.0f} pixels in all" for row in (before, after)]
    return f"{said}: {', '.join(grown)}; batches: {work[0]}, then {work[1]}"


def as_table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = []
    for (axis, model), some in axes_of(rows).items():
        values = ", ".join(f"{row.items:,}: {1e3 * row.middle:.1f}" for row in some)
        lines += [f"{axis} ({model}), ms: {values}", f"  {told(axis, some)}"]
    return "\n".join(lines)


@click.command()
@subject_options
@output_option
def main(setup: Setup, output: Path | None) -> None:
    """Measure how the cost grows along six axes, and fit an exponent to each."""
    subjects, notes = setup.subjects()
    found = Found(notes=notes)
    for subject in subjects:
        found.add(measure_growth(setup, subject))
    hand_over("growth", found, as_table(found.rows), output)


if __name__ == "__main__":
    run(main)
