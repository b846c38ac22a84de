"""One typed row for each measured case, every sample kept; reports of rows; and how a command ends with one."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import environment
from benchmarks.timing import STABLE, Interval, instability, paired, percentile, ratio_interval, reference_load
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write, ensure_writable

Call = Callable[[], object]
Key = tuple[str, ...]
Setting = Mapping[str, int | float | str]

_LOAD = "reference load"


class ResultError(ReidRuntimeError):
    """A file that is no report of these benchmarks, or two that cannot be compared."""


class Part(StrEnum):
    """The benchmarks that rows are of, in the order of a report."""

    SINGLE_STREAM = "SingleStream"
    MULTI_STREAM = "MultiStream"
    OFFLINE = "offline"
    MIXED = "mixed sizes"
    EIGHT = "batches of eight"
    COLD = "cold start"
    PEERS = "what people use instead"
    STAGES = "stages"
    ROOFLINE = "roofline"
    SCALING = "scaling"
    MODELS = "models"
    FRAMES = "frames"


@dataclass(frozen=True)
class Parity:
    """How near vectors come to their reference's, and how well they rank; None where that was not measured."""

    cosine: float | None = None  # the worst of all crops
    difference: float | None = None  # the largest, of one component
    is_reference: bool = False
    """Whether it is the reference itself, on the reference's engine: then nothing was compared."""
    map_finite_sum: float | None = None
    map_trapezoid: float | None = None
    map_finite_sum_change: Interval | None = None
    """From the reference's, with its interval over the queries."""
    map_trapezoid_change: Interval | None = None


@dataclass(frozen=True)
class Row:
    """One measured case. As a template, before it is timed, it has no seconds."""

    part: Part
    name: str = ""
    """What was run: a stage, a way of feeding an engine; empty where model and engine say it."""
    items: int = 1
    """Images, queries or whatever one sample works on."""
    seconds: tuple[float, ...] = ()
    """Every counted sample."""
    load: tuple[float, ...] = ()
    """Of the reference load in the same rounds; empty where it was not timed."""
    model: str = ""
    network: str = ""
    """The architecture that the model's contract names."""
    engine: str = ""
    precision: str = ""
    """In which a CPU computes it; empty for a GPU, where that follows from more than the file."""
    peer: str = ""
    """Whose way of running the model it is; empty for this runtime's."""
    setting: Setting = field(default_factory=dict)
    """What else was varied. Two rows are of one case where all of the above but the times are equal."""
    turn: int = 1
    """Samples that are one turn over inputs of many sizes; `load` has one a turn."""
    processes: int = 0
    """Processes that the samples come from, each with as many, one after the other; 0: all from one."""
    operations: float | None = None
    """Of a whole turn, two for each multiply-add."""
    parity: Parity = Parity()
    speed: Interval | None = None
    """As a multiple of the first row's of those that were timed in turn, by round."""

    @property
    def owner(self) -> Key:
        """What its parity is of: a model as somebody runs it."""
        return self.peer, self.name if self.peer else "", self.model, self.engine, self.precision

    @property
    def label(self) -> str:
        """How people read which case it is."""
        return ", ".join(filter(None, (self.peer, self.name, self.model, self.engine, self.precision)))

    @property
    def key(self) -> Key:
        """What two reports share of one and the same case."""
        setting = json.dumps(dict(self.setting), sort_keys=True)
        return self.part, self.name, str(self.items), self.model, self.engine, self.precision, self.peer, setting

    @property
    def median(self) -> float:
        """Median seconds of a sample."""
        return percentile(self.seconds, 0.5)

    @property
    def rate(self) -> float:
        """Items a second: of the whole stream where a sample is one query of a turn, else at the median."""
        return self.items / (self.median if self.turn == 1 else sum(self.seconds) / len(self.seconds))

    @property
    def turns(self) -> tuple[float, ...]:
        """The seconds of whole turns."""
        ends = range(self.turn, len(self.seconds) + 1, self.turn)
        return tuple(sum(self.seconds[end - self.turn : end]) for end in ends)

    @property
    def stable(self) -> bool:
        """Whether the thirds of the series lie within 10 %; a series of fewer than three samples is not."""
        return len(self.seconds) >= 3 and instability(self.seconds) <= STABLE

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Row":
        """A row as `asdict` gave it to JSON."""
        parity, speed = values.pop("parity"), values.pop("speed")
        for name in ("map_finite_sum_change", "map_trapezoid_change"):
            parity[name] = parity[name] and Interval(**parity[name])
        values |= {"part": Part(values["part"]), "seconds": tuple(values["seconds"]), "load": tuple(values["load"])}
        return cls(**values, parity=Parity(**parity), speed=speed and Interval(**speed))


@dataclass(frozen=True)
class Report:
    """A benchmark's rows, where they were measured, and what was not measured and why."""

    benchmark: str
    environment: Mapping[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the report as JSON, atomically."""
        with atomic_write(path) as tmp_path:
            tmp_path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def read_report(path: Path) -> Report:
    """A report as `write` left it; raises ResultError with what was expected."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(map(Row.from_json, values["rows"]))
        return Report(values["benchmark"], values["environment"], rows, tuple(values["notes"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ResultError(f"{path}: expected the JSON of a report, as -o writes it, found {error!r}") from error


@dataclass
class Measurements:
    """What a part measured so far, what it could not and why, and the parts that broke."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, other: "Measurements") -> None:
        """Take in what another part measured."""
        self.rows += other.rows
        self.notes += other.notes
        self.failed += other.failed


def run_parts(
    parts: Mapping[str, Callable[[], Measurements]], announce: Callable[[str], None] = lambda _: None
) -> Measurements:
    """All parts, each announced first; where one breaks, a note says so and the others go on."""
    measured = Measurements()
    for name, part in parts.items():
        announce(name)
        try:
            measured.add(part())
        except Exception as error:  # of torch, an engine, a compiler, the disk: on another machine any of them
            measured.notes.append(f"{name}: {type(error).__name__}: {error}")
            measured.failed.append(name)
    return measured


def in_turn(
    cases: Sequence[tuple[Row, Call]], rounds: int, warmup: int, threads: int = 1, base: int | None = None
) -> list[Row]:
    """The rows of templates whose calls are timed in turn with each other and with the reference load.

    base: which of them the others' speeds are multiples of.
    """
    calls: dict[str, Call] = {str(number): call for number, (_, call) in enumerate(cases)}
    samples = paired({**calls, _LOAD: partial(reference_load, threads)}, rounds, warmup)
    load = tuple(samples.pop(_LOAD))
    rows = [replace(row, seconds=tuple(samples[str(number)]), load=load) for number, (row, _) in enumerate(cases)]
    return rows if base is None else with_speeds(rows, rows[base])


def with_speeds(rows: Iterable[Row], base: Row) -> list[Row]:
    """Rows that were timed in turn, each with its speed as a multiple of the base's."""
    return [replace(row, speed=ratio_interval(base.seconds, row.seconds)) for row in rows]


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Markdown whose columns are aligned, so that a terminal shows it as well."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *lines)]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def output_option(command: Callable[..., object]) -> Callable[..., object]:
    """-o, the file that a report goes to, and --force; whether it can be written is checked before any work."""

    @wraps(command)
    def checked(*, force: bool, output: Path | None, **options: Any) -> Any:
        if output is not None:
            ensure_writable(output, force)
        return command(output=output, **options)

    path = click.Path(dir_okay=False, path_type=Path)
    force = click.option("--force", is_flag=True, help="Overwrite the file of -o.")
    decorated: Callable[..., object] = click.option("-o", "--output", type=path, help="The report, as JSON.")(
        force(checked)
    )
    return decorated


def emit(benchmark: str, about: Mapping[str, Any], measured: Measurements, text: str, output: Path | None) -> Report:
    """How each command ends: its tables, what it could not measure, and the report where a file was named.

    about: what its run was asked for.
    """
    click.echo(text)
    for note in measured.notes:
        click.echo(f"not measured: {note}", err=True)
    report = Report(benchmark, {**environment(), **about}, tuple(measured.rows), tuple(measured.notes))
    if output is not None:
        report.write(output)
    return report
