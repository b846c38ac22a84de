"""python -m benchmarks.report -o FOLDER: every benchmark in one run, as JSON and as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.cases import Setup, identity, known_parity, subject_options
from benchmarks.latency import measure_latency
from benchmarks.measurements import Found, Report, environment, read_report, shown, whatever_runs
from benchmarks.peers.__main__ import peer_options
from benchmarks.peers.measuring import PeerChoice, measure_peers
from benchmarks.roofline import PART as LIMITS
from benchmarks.roofline import measure_limits
from benchmarks.scaling import measure_growth
from benchmarks.stages import measure_stages
from benchmarks.tables import tables
from benchmarks.throughput import measure_throughput
from reid_runtime.cli import run
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write, ensure_writable

FILES = ("report.json", "report.md")
PARTS = ("limits", "stages", "latency", "throughput", "peers", "growth")


class PartsError(ReidRuntimeError):
    """The report is written, and parts of it are missing because they broke."""


def measure(
    setup: Setup,
    choice: PeerChoice,
    wanted: Sequence[str] = PARTS,
    say: Callable[[str], None] = lambda _: None,
    parity_from: Mapping[str, Any] | None = None,
) -> Report:
    """The wanted parts, one after the other; one that breaks is noted and named in the environment's `failed`.

    parity_from: what is told of the report whose parity `setup.known` is.
    """
    here = environment()  # as it was when this began: the source may change meanwhile
    say("parity")
    subjects, notes = setup.subjects()
    found = Found(notes=notes)
    if setup.evidence.task is None:
        found.notes.append(
            "change in mAP: no data set was named; of weights that were not trained it would say nothing"
        )
    parts: dict[str, Callable[[], Found]] = {
        "limits": lambda: measure_limits(setup.threads, setup.budget),
        "stages": lambda: measure_stages(setup, subjects),
        "latency": lambda: measure_latency(setup, subjects),
        "throughput": lambda: measure_throughput(setup, subjects),
        "peers": lambda: measure_peers(setup, subjects, choice),
        "growth": lambda: measure_growth(setup, subjects[0]),
    }
    found.add(whatever_runs({name: part for name, part in parts.items() if name in wanted}, say))
    about = here | setup.about()
    about["parity"] = {identity(subject.embedder): dict(subject.parity) for subject in subjects}
    if parity_from is not None:
        about["parity_from"] = dict(parity_from)
    if found.failed:
        about["failed"] = found.failed
    return Report("report", about, tuple(found.rows), tuple(found.notes))


def write(report: Report, folder: Path) -> None:
    """Both files; the samples first, from which the other can be drawn again."""
    report.write(folder / "report.json")
    with atomic_write(folder / "report.md") as beside:
        beside.write_text(markdown(report), encoding="utf-8")


def markdown(report: Report) -> str:
    """The tables, the facts and what was not measured."""
    lines = ["# Benchmarks", ""]
    lines += [f"- {name}: {value}" for name, value in _facts(report.environment).items()]
    for each in tables(report):
        lines += ["", f"## {each.title}", "", each.says, "", each.markdown()]
    if report.notes:
        lines += ["", "## Not measured", "", *(f"- {' '.join(note.split())}" for note in report.notes)]
    return "\n".join(lines) + "\n"


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    data, reference, parity = (environment.get(name) for name in ("data", "reference", "parity_from"))
    facts = {
        "Processor": f"{environment['processor']}, {environment.get('threads', environment['cores'])} cores used",
        "System": f"{environment['system']}, Python {environment['python']}",
        "Packages": packages,
        "GPU": ", ".join(environment["gpus"]),
        "Source": environment["git"] or "",
        "When": environment["time"],
        "Budget": environment.get("budget", ""),
        "Crops": environment.get("crops", ""),
        "Data set": f"{data['name']}: {data['queries']:,} queries, {data['gallery']:,} in the gallery" if data else "",
        "Reference": f"{reference['name']} ({reference['artefact_id']})" if reference else "",
        "Artefacts": ", ".join(f"{name} ({digest})" for name, digest in environment.get("artefacts", {}).items()),
        "Parity": f"taken over from the run of {parity['time']}, source {parity['git']}" if parity else "",
        "Command": environment.get("command", ""),
        "Broke": ", ".join(environment.get("failed", ())),
    }
    return {name: value for name, value in facts.items() if value}


def unsteady(report: Report) -> str | None:
    """How many of the series that tables judge are not steady; a limit is its best sample, whatever the others are."""
    judged = [row for row in shown(report.rows) if row.part != LIMITS]
    count = sum(not row.steady for row in judged)
    if not count:
        return None
    return f"{count} of {len(judged)} series are not steady, as other work on this machine would make them"


@click.command()
@subject_options
@peer_options
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="A folder.")
@click.option(
    "--from", "measured", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Only draw this JSON."
)
@click.option(
    "--part", "wanted", type=click.Choice(PARTS), multiple=True, default=PARTS,
    help="Only this one; may be repeated.  [all of them]",
)  # fmt: skip
@click.option(
    "--parity", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A report.json, a trial's too, whose parity is taken over for the same artefacts on the same engines.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite a report that is in the folder.")
def main(
    setup: Setup,
    checkpoint: Path | None,
    peer_models: Path | None,
    external: tuple[str, ...],
    output: Path,
    measured: Path | None,
    wanted: tuple[str, ...],
    parity: Path | None,
    force: bool,
) -> None:
    """Measure everything and write report.json and report.md into a folder.

    Vectors are held to --reference, or else to --checkpoint, by torch. Exit 1 where a part broke: the report then has
    the others.

    Takes the machine for itself; with --quick a minute or two, else about five minutes an artefact and device on two
    cores. A data set is scored first, by every peer as well, which may be done beforehand, on a machine that has
    other work: a trial with --data, whose report.json --parity then takes over.
    """
    output.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        ensure_writable(output / name, force)
    if measured is None:
        if setup.reference is None:
            setup = replace(setup, reference=checkpoint)
        parity_from = None
        if parity is not None:
            earlier = read_report(parity)
            setup = replace(setup, known=known_parity(earlier, setup))
            parity_from = {key: earlier.environment.get(key) for key in ("time", "git")}
        choice = PeerChoice(checkpoint, peer_models, external)
        report = measure(setup, choice, wanted, lambda name: click.echo(f"measuring: {name}", err=True), parity_from)
    else:
        report = read_report(measured)
    write(report, output)
    click.echo(f"wrote {', '.join(str(output / name) for name in FILES)}")
    for note in report.notes:
        click.echo(f"not measured: {note}", err=True)
    if (told := unsteady(report)) is not None:
        click.echo(told, err=True)
    if measured is None and (failed := report.environment.get("failed")):
        raise PartsError(f"{', '.join(failed)} broke, as the notes above say; the report has the other parts")


if __name__ == "__main__":
    run(main)
