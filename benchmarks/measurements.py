"""The one schema of results: what was measured, on what, every sample kept."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial, wraps
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.timing import STEADY, Budget, Samples, paired, percentile, ratio_interval, unsteadiness, yardstick
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write, ensure_writable

Command = TypeVar("Command", bound=Callable[..., Any])

ABOUT = "benchmarks.about"
"""Where a command's context keeps the function that tells what its run was asked for."""
YARDSTICK = "yardstick"
"""The case of each paired part that is always the same work: another speed of it is the machine's."""
_PACKAGES = (
    *("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "openvino", "torch"),
    *("tensorrt", "tensorrt-rtx", "cuda-bindings", "nvidia-cuda-nvrtc", "pycuda", "cupy-cuda12x", "cupy-cuda13x"),
)


class ResultError(ReidRuntimeError):
    """A file that is no report of these benchmarks."""


@dataclass(frozen=True)
class Row:
    """One measured case."""

    case: str
    """What was run: model, engine, device, precision."""
    setting: Mapping[str, Any]
    """What was varied: height, width, batch, threads, ... Rows with one setting were measured in turn."""
    seconds: tuple[float, ...]
    """Every counted sample."""
    items: int
    """Images, queries or whatever one sample works on."""
    facts: Mapping[str, float]
    """What else was measured beside the time: cosine to the reference, peak memory, ..."""
    part: str = ""
    """The benchmark it is of, where a report holds several."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What two reports share of one and the same case."""
        return self.part, self.case, json.dumps(self.setting, sort_keys=True)

    @property
    def middle(self) -> float:
        """Median seconds of a sample."""
        return percentile(self.seconds, 0.5)

    @property
    def rate(self) -> float:
        """Items a second, at the median."""
        return self.items / self.middle

    @property
    def steady(self) -> bool:
        """Whether three windows of the series lie within 10 %; a series of fewer than three samples is not."""
        return len(self.seconds) >= 3 and unsteadiness(self.seconds) <= STEADY


@dataclass(frozen=True)
class Report:
    """A benchmark's rows and the place they were measured in."""

    benchmark: str
    environment: Mapping[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What was not measured, and why."""

    def write(self, path: Path) -> None:
        """Write the report as JSON, a row a line, whole or not at all."""
        values = asdict(self)
        rows = ",\n".join(json.dumps(row) for row in values.pop("rows"))
        about = json.dumps(values, indent=1).removesuffix("\n}")
        with atomic_write(path) as beside:
            beside.write_text(f'{about},\n "rows": [\n{rows}\n ]\n}}\n', encoding="utf-8")


def read_report(path: Path) -> Report:
    """A report as `write` left it; raises ResultError with what was expected."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**(row | {"seconds": tuple(row["seconds"])})) for row in values["rows"])
        return Report(values["benchmark"], values["environment"], rows, tuple(values.get("notes", ())))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ResultError(
            f"{path}: expected the JSON of a report, as -o writes it, found {type(error).__name__}: {error}"
        ) from error


@dataclass
class Found:
    """What a part measured so far, and what it could not."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """The parts that broke; a note says why."""

    def add(self, other: "Found") -> None:
        """Take in what another part found."""
        self.rows += other.rows
        self.notes += other.notes
        self.failed += other.failed


def whatever_runs(parts: Mapping[str, Callable[[], Found]], say: Callable[[str], None] = lambda _: None) -> Found:
    """All parts, each named to `say` first; where one breaks, that is what is found of it, and the others go on."""
    found = Found()
    for name, part in parts.items():
        say(name)
        try:
            found.add(part())
        except Exception as error:  # of torch, an engine, a compiler, the disk: on another's machine any of them
            found.notes.append(f"{name}: {type(error).__name__}: {error}")
            found.failed.append(name)
    return found


def in_turn(
    part: str,
    calls: Mapping[str, Callable[[], object]],
    setting: Mapping[str, Any],
    items: int,
    budget: Budget,
    *,
    against: str | None = None,
    facts: Mapping[str, Mapping[str, float]] | None = None,
    rounds: int | None = None,
    threads: int = 1,
) -> list[Row]:
    """The rows of cases that are timed in turn with each other and with the yardstick, on as many threads as theirs.

    against: the case that the others' speed is given as a multiple of, with its interval, in their facts `times`,
    `times_low` and `times_high`. facts: more of them, by case.
    """
    samples = paired({**calls, YARDSTICK: partial(yardstick, threads)}, rounds or budget.rounds, budget.warmup)
    return rows_of(part, samples, setting, items, against=against, facts=facts)


def rows_of(
    part: str,
    samples: Samples,
    setting: Mapping[str, Any],
    items: int,
    *,
    against: str | None = None,
    facts: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Row]:
    """As `in_turn`, of samples that are there already."""
    shared = dict(setting) | ({} if against is None else {"against": against})
    rows = []
    for case, seconds in samples.items():
        own = dict((facts or {}).get(case, {}))
        if against is not None and case not in (against, YARDSTICK):
            times = ratio_interval(samples[against], seconds)
            own |= {"times": times.value, "times_low": times.low, "times_high": times.high}
        rows.append(Row(case, shared, tuple(seconds), items, own, part))
    return rows


def turns(row: Row) -> tuple[float, ...]:
    """The seconds of whole turns, where a row's `turn` says how many of its samples are one over all inputs.

    The yardstick is taken once a turn already.
    """
    turn = 1 if row.case == YARDSTICK else int(row.setting.get("turn", 1))
    return tuple(sum(row.seconds[start : start + turn]) for start in range(0, len(row.seconds) - turn + 1, turn))


def shown(rows: Iterable[Row]) -> list[Row]:
    """The rows that people read: all but the yardstick's."""
    return [row for row in rows if row.case != YARDSTICK]


def text_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns for a terminal: the first to the left, the others to the right."""
    widths = [max(len(line[place]) for line in (head, *lines)) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(line[1:], widths[1:], strict=True))]
        )
        for line in (head, *lines)
    )


def output_option(command: Command) -> Command:
    """-o, the file that a report goes to, and --force: whether it can be written is found out before all else."""

    @wraps(command)
    def checked(*, force: bool, output: Path | None, **given: Any) -> Any:
        if output is not None:
            ensure_writable(output, force)
        return command(output=output, **given)

    wrapped: Any = checked
    for option in (
        click.option("--force", is_flag=True, help="Overwrite the file of -o."),
        click.option(
            "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON."
        ),
    ):
        wrapped = option(wrapped)
    made: Command = wrapped
    return made


def hand_over(benchmark: str, found: Found, table: str, output: Path | None) -> None:
    """How each command ends: its table, what it could not measure, and the report where a file was named."""
    click.echo(table)
    for note in found.notes:
        click.echo(f"not measured: {note}", err=True)
    if output is not None:
        context = click.get_current_context(silent=True)
        about = {} if context is None or ABOUT not in context.meta else context.meta[ABOUT]()
        Report(benchmark, environment() | about, tuple(found.rows), tuple(found.notes)).write(output)


def environment() -> dict[str, Any]:
    """The machine, the packages, the state of the source and the command, as far as they can be told."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions,
        "gpus": _gpus(),
        "git": _git(),
        "command": shlex.join([Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]]),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _gpus() -> list[str]:
    """Name and driver of each NVIDIA GPU, as the driver's own tool tells them."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return told.stdout.strip().splitlines()


def _git() -> str | None:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
