"""python -m benchmarks.planted: does `benchmarks.compare` find a slowdown that is there, and none where there is none?

Series of windows as `benchmarks.stages` measures them, in turn: the first is what all others are compared with, one is
the same once more, and in each of the others one stage's own function is made to take 15 % longer. A stage that is not
found, another that is named, and an alarm over what did not change are failures. So the statistics are tried, on the
stages alone and within minutes; how a machine differs tomorrow is not. The full measurement takes about ten
minutes, and a machine that has nothing else to do: where it has, the intervals are wider than what is planted.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.compare import as_percent, changes, slower_stages
from benchmarks.inputs import write_files
from benchmarks.results import Report, Row, environment, text_table
from benchmarks.stages import CROPS, PART, STAGES, joined, window, window_apart
from benchmarks.subjects import Setup, SubjectError, load, subject_options
from benchmarks.timing import Interval
from reid_runtime import jobs as storage
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.images import decode as images
from reid_runtime.io.atomic import ensure_writable

BEFORE, UNCHANGED = "before", "unchanged"


@dataclass(frozen=True)
class Answer:
    """What compare says of one series."""

    planted: str
    """A stage, or UNCHANGED."""
    ratio: Interval
    """Of that stage's time; of an unchanged series' stage that seems to have changed most."""
    named: tuple[str, ...]
    """The stages that compare calls slower."""

    @property
    def verdict(self) -> str:
        """found or no alarm, and what else it may be."""
        expected = () if self.planted == UNCHANGED else (self.planted,)
        if self.named == expected:
            return "found" if expected else "no alarm"
        return "missed" if not self.named else "misnamed" if expected else "false alarm"

    @property
    def right(self) -> bool:
        """Whether compare said what is so."""
        return self.verdict in ("found", "no alarm")


def plant(embedder: Embedder, stage: str, by: float) -> None:
    """Make the function that a stage calls take longer by this share, in this process and for good."""
    owner: Any
    owner, name = {
        "decode": (images, "load_image"),
        "resize": (Embedder, "_resized"),
        "copy": (Embedder, "_infer"),
        "inference": (embedder.backend, "run"),
        "write": (storage, "write_embeddings"),
    }[stage]
    setattr(owner, name, _slower(getattr(owner, name), by))


def _slower(call: Callable[..., Any], by: float) -> Callable[..., Any]:
    def slower(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        found = call(*arguments, **named)
        until = started + (1 + by) * (time.perf_counter() - started)
        while time.perf_counter() < until:
            pass
        return found

    return slower


def measure_planted(setup: Setup, planted: list[str], by: float) -> dict[str, Report]:
    """The series, by what is planted in them: BEFORE, UNCHANGED and the stages."""
    if (len(setup.models), len(setup.devices)) != (1, 1):
        raise SubjectError(
            f"expected one --model on one --device, found {len(setup.models)} on {len(setup.devices)}: run each apart"
        )
    parts: dict[str, list[list[Row]]] = {name: [] for name in (BEFORE, UNCHANGED, *planted)}
    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name), setup.evidence.crops, CROPS)
        for _ in range(setup.budget.windows):
            for series, rows in parts.items():
                command = ["benchmarks.planted", "--by", str(by)]
                command += ["--stage", series] if series in STAGES else []
                rows.append(window_apart(setup.models[0], setup.devices[0], Path(name), setup, command))
    about = environment() | setup.about()
    return {series: Report(PART, about, tuple(joined(rows))) for series, rows in parts.items()}


def answers(series: dict[str, Report]) -> list[Answer]:
    """What compare says of each series beside the first."""
    told = []
    for planted, report in series.items():
        if planted == BEFORE:
            continue
        found = changes(series[BEFORE], report)
        farthest = max(
            (each for each in found if planted in (UNCHANGED, each.row.case)),
            key=lambda each: abs(math.log(each.ratio.value)),
        )
        told.append(Answer(planted, farthest.ratio, tuple(each.row.case for each in slower_stages(found))))
    return told


def as_table(told: list[Answer]) -> str:
    """The answers for people."""
    lines = [[each.planted, as_percent(each.ratio), ", ".join(each.named) or "–", each.verdict] for each in told]
    return text_table(["planted in", "found", "named", "verdict"], lines)


@click.command()
@subject_options
@click.option(
    "--stage", "planted", type=click.Choice(STAGES), multiple=True, help="May be repeated.  [each of them in turn]"
)
@click.option(
    "--by", type=click.FloatRange(0, min_open=True), default=0.15, show_default=True, help="The share that is planted."
)
@click.option("--force", is_flag=True, help="Overwrite the files of -o.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="A folder for each series' report."
)
@click.option("--child", is_flag=True, hidden=True)
def main(setup: Setup, planted: tuple[str, ...], by: float, force: bool, output: Path | None, child: bool) -> None:
    """Plant slowdowns and see whether compare finds them: exit 1 where it does not, or finds one that is not there."""
    if child:
        embedder = load(setup.models[0], setup.devices[0], threads=1)
        for stage in planted:
            plant(embedder, stage, by)
        click.echo(json.dumps([asdict(row) for row in window(embedder, setup.files, setup.budget)]))
        return
    wanted = list(dict.fromkeys(planted or STAGES))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name in (BEFORE, UNCHANGED, *wanted):
            ensure_writable(output / f"{name}.json", force)
    series = measure_planted(setup, wanted, by)
    if output is not None:
        for name, report in series.items():
            report.write(output / f"{name}.json")
    told = answers(series)
    click.echo(as_table(told))
    if not all(each.right for each in told):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
