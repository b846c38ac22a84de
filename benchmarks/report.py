"""python -m benchmarks.report -o FOLDER: every benchmark in one run, as JSON, Markdown and a plot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks import tables, targets
from benchmarks.cases import Setup, case_options
from benchmarks.environment import environment
from benchmarks.latency import measure_latency
from benchmarks.measurements import (
    Measurements,
    Part,
    Report,
    ResultError,
    Row,
    markdown_table,
    read_report,
    run_parts,
)
from benchmarks.parity import earlier_parity
from benchmarks.peers.compete import PeerOptions, measure_peers, peer_options
from benchmarks.roofline import measure_roofline
from benchmarks.scaling import measure_scaling
from benchmarks.stages import measure_stages
from benchmarks.throughput import measure_throughput
from reid_runtime.cli import run
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write, ensure_writable

FILES = ("report.json", "report.md", "pareto.png")
PARTS = ("roofline", "stages", "latency", "throughput", "peers", "scaling")


class PartsError(ReidRuntimeError):
    """The report is written, and parts of it are missing because they broke."""


_SAME = ("git", "processor", "cores", "packages", "artefacts", "threads", "budget", "evidence", "data")
"""What a report that is gone on with must share with the run."""


def measure(
    setup: Setup,
    peers: PeerOptions,
    parts: Sequence[str],
    announce: Callable[[str], None],
    keep: Callable[[Report], None] = lambda _: None,
    earlier: Report | None = None,
) -> Report:
    """Some parts, one after the other; one that breaks is noted and named in the environment's `failed`.

    keep: Gets the report as it is after each part.
    earlier: What was kept of such a run, whose parts are not measured again.
    """
    here = environment()  # as it was when this began: the source may change meanwhile
    announce("parity")
    cases, notes = setup.cases()
    measured = Measurements(notes=notes)
    if setup.evidence.task is None:
        measured.notes.append("change in mAP: no data set was named with --data")
    every: dict[str, Callable[[], Measurements]] = {
        "roofline": lambda: measure_roofline(setup.threads, setup.budget),
        "stages": lambda: measure_stages(setup, cases),
        "latency": lambda: measure_latency(setup, cases),
        "throughput": lambda: measure_throughput(setup, cases),
        "peers": lambda: measure_peers(setup, cases, peers),
        "scaling": lambda: measure_scaling(setup, cases[0]),
    }
    about = here | setup.about()
    finished: list[str] = []
    if earlier is not None:
        _check_same(earlier.environment, about)
        finished = [part for part in earlier.environment["parts"] if part not in earlier.environment.get("failed", ())]
        measured = Measurements(list(earlier.rows), list(dict.fromkeys([*earlier.notes, *notes])))
    report = Report("report", about, (), ())
    for name in (part for part in PARTS if part in parts and part not in finished):
        measured.add(run_parts({name: every[name]}, announce))
        finished.append(name)
        said = about | {"parts": finished} | ({"failed": measured.failed} if measured.failed else {})
        report = Report("report", said, tuple(measured.rows), tuple(measured.notes))
        keep(report)
    return report if report.rows or earlier is None else earlier


def _check_same(earlier: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    for key in _SAME:
        if earlier.get(key) != about.get(key):
            raise ResultError(
                f"the report in the folder is of another run: its {key} is {earlier.get(key)}, now {about.get(key)}: "
                "choose another folder, or --force"
            )


def summary(rows: Sequence[Row]) -> str:
    """Six rows for a README: the fastest of each way to run the reference's weights, in its own precision."""
    compared = [row for row in rows if row.part == Part.PEERS and row.parity.cosine is not None]
    precision = next((row.precision for row in compared if row.parity.is_reference), "")
    ways: dict[tuple[str, str], Row] = {}
    for row in sorted(compared, key=lambda row: row.median):
        if row.precision == precision or not precision:
            ways.setdefault((row.peer, "" if row.peer else row.engine + row.name), row)
    change = tables.mean_ap("map_finite_sum")
    head = ["", "how", "precision", "images/s", "speed", "worst cosine", "change in mAP, points"]
    lines = [
        [row.peer or "reid-runtime", row.name if row.peer else " ".join(filter(None, (row.engine, row.name))),
         row.precision, f"{row.rate:.1f}", tables.speed(row, rows), tables.cosine(row, rows), change(row, rows)]
        for row in list(ways.values())[:6]
    ]  # fmt: skip
    if all(row.parity.map_finite_sum_change is None for row in ways.values()):  # no data set was named
        head, lines = head[:-1], [line[:-1] for line in lines]
    return markdown_table(head, lines)


def pareto_front(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other one beats in time and mAP at once, the fastest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.median, -_score(row))):
        if not front or _score(row) > _score(front[-1]):
            front.append(row)
    return front


def _score(row: Row) -> float:
    return row.parity.map_finite_sum or 0.0


def plot(report: Report, path: Path) -> None:
    """mAP over the time of a crop, a PNG; nothing where a report has not both."""
    rows = [row for row in report.rows if row.part == Part.SINGLE_STREAM and row.parity.map_finite_sum is not None]
    if not rows or "data" not in report.environment:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for row in rows:  # a legend, not names at the points: models are near each other
        axes.plot(1e3 * row.median, 100 * _score(row), "o", label=row.label)
    points = [(1e3 * row.median, 100 * _score(row)) for row in pareto_front(rows)]
    axes.step(*zip(*points, strict=True), where="post", color="grey", alpha=0.5)
    axes.legend(fontsize=8, loc="lower right")
    axes.set_xlabel("milliseconds a crop, one at a time")
    axes.set_ylabel(f"mAP (finite-sum) on {report.environment['data']['name']}, %")
    axes.set_xlim(left=0)
    with atomic_write(path) as tmp_path:
        figure.savefig(tmp_path, format="png", dpi=110)


@click.command()
@case_options
@peer_options
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="A folder.")
@click.option(
    "--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS,
    help="Only this one; may be repeated.  [all of them]",
)  # fmt: skip
@click.option(
    "--parity", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A report.json, a trial's too, whose parity is taken over for the same artefacts on the same engines.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite a report that is in the folder.")
@click.option(
    "--resume", is_flag=True, help="Go on with the report that is in the folder: each part is kept when done."
)
def main(
    setup: Setup,
    peers: PeerOptions,
    output: Path,
    parts: tuple[str, ...],
    parity: Path | None,
    force: bool,
    resume: bool,
) -> None:
    """Measure everything, write a report into a folder, and print six rows for a README.

    Vectors are compared with --reference, or else with --checkpoint, by torch. Exit 1 where a part broke: the report
    then has the others.

    Takes the machine for itself; with --quick a minute or two, else about five minutes an artefact and device on two
    cores. A data set is scored first, by every peer as well, which may be done beforehand, on a machine that has
    other work: a trial with --data, whose report.json --parity then takes over.
    """
    output.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        ensure_writable(output / name, force or resume)
    earlier = read_report(output / FILES[0]) if resume and (output / FILES[0]).exists() else None
    setup = replace(setup, reference=setup.reference or peers.checkpoint)
    taken_over: dict[str, Any] = {}
    if parity is not None:
        scored = read_report(parity)
        setup = replace(setup, earlier=earlier_parity(scored, environment() | setup.about()))
        taken_over = {"parity_from": {key: scored.environment.get(key) for key in ("time", "git")}}

    def keep(report: Report) -> None:
        replace(report, environment={**report.environment, **taken_over}).write(output / FILES[0])

    report = measure(setup, peers, parts, lambda name: click.echo(f"measuring: {name}", err=True), keep, earlier)
    report = replace(report, environment={**report.environment, **taken_over})
    with atomic_write(output / FILES[1]) as tmp_path:
        tmp_path.write_text(tables.page("Benchmarks", report, targets.tables(report.rows)), encoding="utf-8")
    plot(report, output / FILES[2])
    click.echo(f"{summary(report.rows)}\n\nwrote {output / FILES[0]} and {output / FILES[1]}")
    for note in report.notes:
        click.echo(f"not measured: {note}", err=True)
    judged = [row.stable for row in report.rows if row.part != Part.ROOFLINE]  # a limit is its best sample
    if not all(judged):
        click.echo(f"{judged.count(False)} of {len(judged)} series are not stable: does the machine do more?", err=True)
    if failed := report.environment.get("failed"):
        raise PartsError(f"{', '.join(failed)} broke, as the notes above say; the report has the other parts")


if __name__ == "__main__":
    run(main)
