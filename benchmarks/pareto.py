"""python -m benchmarks.pareto MODEL...: what each model scores, beside what it costs, as a table and a plot."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.cases import load, pin
from benchmarks.measurements import Report, Row, environment, in_turn, read_report, shown
from benchmarks.timing import FULL
from reid_runtime.backends import DEVICES
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.evaluation import EvalSet, eval_set_of, evaluate
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.model_file.formats import format_of
from reid_runtime.scoring.layouts.registry import read_layout
from training.data.training_set import AS_TARGETS

PART = "trade-off"
CROP = (128, 64)
"""Height and width of the timed crop: Market-1501's own."""
FILES = ("tradeoff.json", "tradeoff.md", "tradeoff.png")
_TAUGHT_BY = re.compile(AS_TARGETS.format("(.+?)"))
_SCORES = {"rank_1": "rank-1", "map_finite_sum": "mAP finite-sum", "map_trapezoid": "mAP trapezoid"}


def measure(
    models: Sequence[Embedder],
    against: Embedder,
    tasks: Sequence[EvalSet],
    known: Mapping[tuple[str, str], Mapping[str, float]],
) -> tuple[Row, ...]:
    """A row a model, the one `against` which the others are timed first.

    `known` are scores that need no measuring again, by artefact id and data set: the same file gives the same.
    """
    everyone = {embedder.path.stem: embedder for embedder in (against, *models)}
    facts = {name: _facts(embedder, tasks, known) for name, embedder in everyone.items()}
    crop = np.random.default_rng(0).integers(0, 256, (*CROP, 3), dtype=np.uint8)
    calls = {name: partial(embedder.embed, [crop], "rgb") for name, embedder in everyone.items()}
    setting = {"height": CROP[0], "width": CROP[1], "batch": 1}
    rows = in_turn(PART, calls, setting, 1, FULL, against=against.path.stem, facts=facts, rounds=FULL.queries // 2)
    return tuple(
        replace(row, setting={**row.setting, **_about(everyone[row.case])}) if row.case in everyone else row
        for row in rows
    )


def _facts(
    embedder: Embedder, tasks: Sequence[EvalSet], known: Mapping[tuple[str, str], Mapping[str, float]]
) -> dict[str, float]:
    files = {embedder.path, format_of(embedder.path).weights(embedder.path)}  # an OpenVINO model is two
    facts = {"megabytes": sum(file.stat().st_size for file in files) / 1e6}
    for task in tasks:
        found = known.get((embedder.artefact_id, task.dataset))
        if found is None:
            click.echo(f"{embedder.path.name} on {task.dataset}", err=True)
            summary = evaluate(embedder, task).scores.summary()
            found = {name: getattr(summary, name) for name in _SCORES}
        facts |= {_key(task.dataset, name): found[name] for name in _SCORES}
    return facts


def _about(embedder: Embedder) -> dict[str, str]:
    contract = embedder.contract
    graph = contract.graph
    taught_by = [name for seen in contract.trained_on for name in _TAUGHT_BY.findall(seen.terms)]
    return {
        "artefact_id": embedder.artefact_id,
        "device": embedder.backend.name,
        "network": graph.partition(": ")[0] if ": " in graph else "–",
        "teacher": ", ".join(dict.fromkeys(taught_by)) or "–",
        "input": str(contract.resize),
        "dimension": str(contract.dimension),
        "precision": contract.precision.kind,
    }


def _key(dataset: str, measure: str) -> str:
    return f"{dataset}: {measure}"


def datasets_of(rows: Sequence[Row]) -> list[str]:
    """The data sets on which the rows have scores, in the order in which they were given."""
    names = (
        key.removesuffix(_key("", "rank_1")) for row in rows for key in row.facts if key.endswith(_key("", "rank_1"))
    )
    return list(dict.fromkeys(names))


def known_scores(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """The scores in an earlier report, by artefact id and data set; none where there is no report."""
    if not path.exists():
        return {}
    rows = shown(read_report(path).rows)
    return {
        (row.setting["artefact_id"], dataset): {name: row.facts[_key(dataset, name)] for name in _SCORES}
        for row in rows
        for dataset in datasets_of([row])
    }


def table(report: Report) -> str:
    """Markdown: the best on the first data set first."""
    rows = shown(report.rows)
    datasets = datasets_of(rows)
    first = _key(datasets[0], "map_finite_sum")
    against = rows[0].setting["against"]
    head = ["model", "network", "teacher", "input", "length", "precision", "MB", "ms a crop", f"time, {against} = 1"]
    head += [f"{name} {measure}" for name in datasets for measure in _SCORES.values()]
    lines = [head, ["---"] * len(head)]
    for row in sorted(rows, key=lambda row: -row.facts[first]):
        cells = [row.case, *(row.setting[name] for name in ("network", "teacher", "input", "dimension"))]
        # An INT8 artefact's says how it was calibrated, too.
        cells.append(row.setting["precision"].partition(" (")[0])
        cells += [f"{row.facts['megabytes']:.1f}", f"{1e3 * row.middle:.2f}", _time(row)]
        cells += [f"{100 * row.facts[_key(name, measure)]:.1f}" for name in datasets for measure in _SCORES]
        lines.append(cells)
    about = report.environment
    says = (
        "Network and teacher are what a contract names. "
        f"Scores in percent, single query, measured through each file on {rows[0].setting['device']}. Time: one crop "
        f"of {CROP[0]}×{CROP[1]} pixels in memory to its vector, all models in turn over {len(rows[0].seconds)} "
        f"rounds, as a share of {against}'s, with the 95 % interval of the median; {about['processor']}, "
        f"{about['threads']} cores."
    )
    drawn = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{says}\n\n{drawn}\n\n![mAP on {datasets[0]} over time]({FILES[2]})\n"


def _time(row: Row) -> str:
    if "times" not in row.facts:
        return "1"
    value, low, high = (1 / row.facts[name] for name in ("times", "times_high", "times_low"))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def plot(report: Report, path: Path) -> None:
    """mAP on the first data set over the time of a crop; a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = shown(report.rows)
    dataset = datasets_of(rows)[0]
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, row in enumerate(sorted(rows, key=lambda row: row.middle)):
        milliseconds, score = 1e3 * row.middle, 100 * row.facts[_key(dataset, "map_finite_sum")]
        reference = row.case == row.setting["against"]
        # A legend, not names at the points: candidates are near each other.
        axes.plot(milliseconds, score, "D" if reference else "o", color=f"C{place % 10}", label=row.case, alpha=0.8)
    axes.legend(fontsize=8, loc="lower right")
    axes.set_xlabel("milliseconds a crop, one at a time")
    axes.set_ylabel(f"mAP (finite-sum) on {dataset}, %")
    axes.set_xlim(0, 1.25e3 * max(row.middle for row in rows))
    axes.margins(y=0.12)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with atomic_write(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--against",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model whose time is 1.",
)
@click.option(
    "--data",
    "folders",
    required=True,
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A data set in any layout that `evaluate` reads; may be repeated. The first orders the table.",
)
@click.option("--device", type=click.Choice(DEVICES), default="openvino", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Cores, for everyone alike; all without this.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="A folder.")
@click.option("--force", is_flag=True, help="Overwrite a report in the folder; scores of the same files are kept.")
def main(
    models: tuple[Path, ...],
    against: Path,
    folders: tuple[Path, ...],
    device: str,
    threads: int | None,
    output: Path,
    force: bool,
) -> None:
    """Score MODELS on data sets and time one crop, each in turn: tradeoff.json, tradeoff.md and tradeoff.png."""
    output.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        ensure_writable(output / name, force)
    cores = pin(threads)
    layouts = [read_layout(folder) for folder in folders]
    tasks = [eval_set_of(splits, None, known) for known, splits in layouts]
    loaded = [load(path, device, cores) for path in models]
    rows = measure(loaded, load(against, device, cores), tasks, known_scores(output / FILES[0]))
    report = Report(PART, environment() | {"threads": cores}, rows)
    with atomic_write(output / FILES[0]) as beside:
        report.write(beside)
    with atomic_write(output / FILES[1]) as beside:
        beside.write_text(table(report), encoding="utf-8")
    plot(report, output / FILES[2])
    click.echo(table(report))


if __name__ == "__main__":
    run(main)
