"""python -m export.pipeline: one command from a checkpoint to every artefact, each proved, with a table and a plot."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from export.derive import ExportError, Parent
from export.gate import EvalInputs, ParityResult, gate_options, in_points, read_eval_inputs
from export.quantise import SCHEMES, Scheme
from export.sensitivity import report_paths
from export.timing import paired
from export.to_fp16 import export_fp16
from export.to_int8 import Calibration, CalibrationOptions, calibration_options, export_int8
from export.to_onnx import export_checked
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.install import install_line
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.text import in_one_line
from reid_runtime.scoring.bootstrap import METRICS
from training.run.checkpoint import read_checkpoint

_MAPS = ("map_finite_sum", "map_trapezoid")
_BATCH = 8


@dataclass(frozen=True)
class Row:
    """One artefact."""

    file: str
    kind: str
    parity: ParityResult | None
    """None where it failed."""
    problem: str | None
    """Why it failed."""
    megabytes: float = 0.0
    speedup: float = 1.0
    """How many times as fast as the float32 file on this machine, paired."""
    milliseconds: float = 0.0
    """An image, in batches of 8 at the model's own size."""

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON; the changes of mAP are fractions."""
        facts: dict[str, Any] = {"file": self.file, "kind": self.kind, "problem": self.problem}
        if self.parity is None:
            return facts
        changes = self.parity.changes
        return facts | {
            "megabytes": round(self.megabytes, 3),
            "milliseconds": round(self.milliseconds, 3),
            "speedup": round(self.speedup, 3),
            "drift": self.parity.drift(),
            "score": None if self.parity.score is None else asdict(self.parity.score),
            "changes": None if changes is None else {name: asdict(changes[name]) for name in _MAPS},
        }


_INT8_ADVICE = (
    "; for INT8 pass more --samples, another --percentile, or --crops of your own; or take python -m "
    "export.to_int8_weights, which calibrates nothing"
)


@dataclass(frozen=True)
class PipelineResult:
    """What a run of the pipeline gave."""

    rows: tuple[Row, ...]
    crops: int
    dataset: str | None
    setting: str
    """Where and at what size the speed was measured."""


def make_artefacts(
    checkpoint: Path, folder: Path, name: str, inputs: EvalInputs, calibration: Calibration | None
) -> PipelineResult:
    """Every artefact that passes its gate, in `folder`; one that does not is a row with its problem.

    Raises what the float32 export raises: without it there is nothing to derive from.
    """
    root = folder / f"{name}.onnx"
    # Where there is a data set, torch need not rank it: the float32 file's own scores are what the others change.
    parity = export_checked(read_checkpoint(checkpoint), root, name, replace(inputs, task=None))
    click.echo(in_one_line(f"{root.name}: {parity}"), err=True)
    parent = Parent.read(root, inputs)
    rows = [Row(root.name, "float32", parity, None)]

    def step(kind: str, make: Callable[[Path], ParityResult]) -> None:
        path = folder / f"{name}-{kind}.onnx"
        try:
            passed = make(path)
        except ReidRuntimeError as error:
            for earlier in (path, *report_paths(path)):  # which would pass for this run's
                earlier.unlink(missing_ok=True)
            rows.append(Row(path.name, kind, None, str(error)))
        else:
            rows.append(Row(path.name, kind, passed, None))
        click.echo(in_one_line(f"{path.name}: {rows[-1].problem or rows[-1].parity}"), err=True)

    step("fp16", lambda path: export_fp16(parent, path))
    if calibration is not None:
        for engine, scheme in SCHEMES.items():
            step(f"int8-{engine}", partial(_int8, parent, scheme, calibration))
    shape = (_BATCH, *parent.reference.embedder.contract.resize.shape(256, 128), 3)
    setting = f"batches of {shape[0]}x{shape[1]}x{shape[2]}, ONNX Runtime, {os.cpu_count()} cores, {platform.machine()}"
    return PipelineResult(_timed(rows, folder, shape), len(inputs.crops), inputs.dataset, setting)


def _int8(parent: Parent, scheme: Scheme, calibration: Calibration, path: Path) -> ParityResult:
    return export_int8(parent, path, scheme, calibration)[0]


def _timed(rows: Sequence[Row], folder: Path, shape: tuple[int, ...], rounds: int = 7) -> tuple[Row, ...]:
    """The rows with size and speed, each artefact in turn, round after round."""
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    backends = {
        row.file: Embedder.load(folder / row.file, device="cpu").backend for row in rows if row.parity is not None
    }
    samples = paired(
        {file: partial(backend.run, images) for file, backend in backends.items()},
        rounds,
    )
    return tuple(
        row
        if row.parity is None
        else replace(
            row,
            megabytes=(folder / row.file).stat().st_size / 1e6,
            speedup=median(a / b for a, b in zip(samples[rows[0].file], samples[row.file], strict=True)),
            milliseconds=1000 * median(samples[row.file]) / shape[0],
        )
        for row in rows
    )


def write_table(path: Path, outcome: PipelineResult) -> None:
    """The table as Markdown, and beside it as JSON."""
    facts = {
        "crops": outcome.crops,
        "dataset": outcome.dataset,
        "speed": outcome.setting,
        "artefacts": [row.facts() for row in outcome.rows],
    }
    for target, text in ((path, _text(path, outcome)), (path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")):
        with atomic_write(target) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _text(path: Path, outcome: PipelineResult) -> str:
    measures = [] if outcome.dataset is None else [f"change in {METRICS[name]}, points" for name in _MAPS]
    heads = ["artefact", "MB", "worst cosine", "mean cosine", *measures, "ms an image", "speed"]
    lines = ["# Artefacts", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in outcome.rows:
        cells = [row.file]
        if row.parity is None:
            cells += ["none", *[""] * (len(heads) - 2)]
        else:
            changes, ranked = row.parity.changes, list[str]()
            ranked = (
                [] if outcome.dataset is None else ["" if changes is None else in_points(changes[n]) for n in _MAPS]
            )
            cells += [f"{row.megabytes:.1f}", f"{row.parity.crops.worst_cosine:.6f}", f"{row.parity.mean_cosine:.6f}"]
            cells += [*ranked, f"{row.milliseconds:.1f}", f"{row.speedup:.2f} x"]
        lines.append(f"| {' | '.join(cells)} |")
    ranked_on = (
        "" if outcome.dataset is None else f" mAP is on {outcome.dataset}, with the 95 % interval of its paired change."
    )
    lines += [
        "",
        f"Cosines are over {outcome.crops} crops: the float32 file's to torch, the others' to that file.{ranked_on}",
        f"Speed is how many times as fast as the float32 file, each in turn: {outcome.setting}.",
        "A file for TensorRT is made for another engine than the one that was timed.",
        "",
        *[f"No {row.file}: {row.problem}\n" for row in outcome.rows if row.problem],
        f"![worst cosine over speed]({path.with_suffix('.png').name})",
    ]
    return "\n".join(lines) + "\n"


def write_plot(path: Path, outcome: PipelineResult) -> None:
    """What each artefact loses and gains: one less its worst cosine, over its speed; a PNG."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    rows = [row for row in outcome.rows if row.parity is not None]
    for row in rows:
        assert row.parity is not None
        lost = max(1 - row.parity.crops.worst_cosine, 1e-8)
        axes.scatter(row.speedup, lost, s=20 + 12 * row.megabytes**0.5 * 10 / rows[0].megabytes ** 0.5, zorder=3)
        axes.annotate(
            f"{row.kind}\n{row.megabytes:.1f} MB", (row.speedup, lost), xytext=(9, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlim(0, 1.25 * max(row.speedup for row in rows) + 0.3)
    axes.margins(y=0.2)
    axes.grid(True, which="major", alpha=0.3)
    axes.set_xlabel("times as fast as float32, ONNX Runtime on this machine's CPU")
    axes.set_ylabel("1 - worst cosine over the crops")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    pyplot.close(figure)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ExportError(f"the plot needs matplotlib: {install_line('export')}") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="A folder.")
@click.option("--name", help="What the artefacts are called; the folder's name without this.")
@calibration_options
@gate_options
@click.option("--force", is_flag=True, help="Overwrite files of an earlier run.")
def main(
    checkpoint: Path,
    output: Path,
    name: str | None,
    calibrate: CalibrationOptions | None,
    crops: Path,
    data: Path | None,
    dataset: str | None,
    force: bool,
) -> None:
    """Make every artefact of CHECKPOINT in a folder: float32, half precision, and INT8 for both kinds of engine.

    Each is held to its gate; one that fails is not there, the table says why, and the exit code is 1. The table is
    artefacts.md, artefacts.json and artefacts.png.
    """
    _pyplot()
    output.mkdir(parents=True, exist_ok=True)
    name = name or output.resolve().name
    files = [output / f"{name}.onnx", output / f"{name}-fp16.onnx"]
    files += [output / f"artefacts.{ending}" for ending in ("md", "json", "png")]
    for engine in SCHEMES if calibrate is not None else ():
        integers = output / f"{name}-int8-{engine}.onnx"
        files += [integers, *report_paths(integers)]
    for file in files:
        ensure_writable(file, force)
    inputs = read_eval_inputs(crops, data, dataset)
    calibration = None if calibrate is None else calibrate.draw(inputs.task)
    outcome = make_artefacts(checkpoint, output, name, inputs, calibration)
    write_table(output / "artefacts.md", outcome)
    write_plot(output / "artefacts.png", outcome)
    click.echo(_text(output / "artefacts.md", outcome))
    failed = [row.file for row in outcome.rows if row.problem]
    if failed:
        raise ExportError(
            f"{', '.join(failed)} failed and are not there: see {output / 'artefacts.md'}"
            + (_INT8_ADVICE if any("-int8-" in file for file in failed) else "")
        )
    if calibration is None:
        click.echo("no INT8 artefacts: --calibrate names the training crops that they are fitted to", err=True)


if __name__ == "__main__":
    run(main)
