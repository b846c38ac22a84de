"""python -m export.to_int8 --for cpu|tensorrt: layers in integers, as many as the vectors allow."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from export.calibration import LEAST, OVERFLOWING, VIEWS, Sample, collect_ranges, draw
from export.derive import Parent, derive
from export.gate import Command, ParityResult, gate_options, read_eval_inputs
from export.normalisation import normalise_at_once
from export.quantise import CPU, SCHEMES, GraphIndex, Scheme, quantise, ranged_tensors
from export.sensitivity import Choice, choose, report_paths, reports
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.evaluation import EvalSet
from reid_runtime.io.atomic import ensure_writable
from reid_runtime.io.text import in_one_line
from reid_runtime.model_file.precision import Precision


@dataclass(frozen=True)
class Calibration:
    """What the ranges are measured on, and how."""

    sample: Sample
    percentile: float = 99.0
    """Between which values a tensor stays for so many crops of a hundred becomes its range. With 95 an OSNet clips what
    odd crops hold (two of 1,200 kept a cosine of 0.98, with 99 none is below 0.99); 100, one crop decides:
    0.986 on unseen crops, where 95 gave 0.996 (a MobileNetV2)."""
    cosine: float = 0.996
    """What every view of the crops that were held back must keep, and every crop that the ranges clip most. Others lose
    more: of an OSNet with 0.993 here an example crop kept 0.9875, with 0.996 0.9910, and the gate asks for 0.99."""


def export_int8(
    parent: Parent,
    output: Path,
    scheme: Scheme,
    calibration: Calibration,
    advance: Callable[[], None] = lambda: None,
) -> tuple[ParityResult, Choice]:
    """Write `output`, and the report of the scan beside it, if the artefact passes its gate; else neither."""
    model, sample, percentile = parent.model, calibration.sample, calibration.percentile
    images, held_out = sample.resized(parent.reference.embedder.contract.resize)
    activations = collect_ranges(model, ranged_tensors(model, scheme), images)
    clipped = [images[row] for row in activations.overflowing(percentile, OVERFLOWING)]
    choice = choose(model, scheme, activations, percentile, held_out + clipped, calibration.cosine, advance)
    how = f"{scheme.description}, per channel; percentile {percentile:g} of {sample}"
    precision = Precision("int8", scheme.engine, how)
    graph = quantise(model, scheme, activations, percentile, choice.layers)
    if scheme is CPU:
        normalise_at_once(graph)
    with reports(output, choice, sample, percentile, len(held_out) // VIEWS, len(clipped)):
        return derive(parent, output, graph, precision), choice


@dataclass(frozen=True)
class CalibrationOptions:
    """What a command was told of the calibration."""

    folder: Path
    samples: int
    seed: int
    percentile: float

    def draw(self, task: EvalSet | None) -> Calibration:
        """The sample, none of it of the queries and gallery of `task`; raises CalibrationError."""
        return Calibration(draw(self.folder, self.samples, self.seed, task), self.percentile)


def calibration_options(command: Command) -> Command:
    """--calibrate, --samples, --seed and --percentile, which the command gets as `calibrate: Asked | None`."""

    @wraps(command)
    def gathered(calibrate: Path | None, samples: int, seed: int, percentile: float, **arguments: Any) -> Any:
        chosen = None if calibrate is None else CalibrationOptions(calibrate, samples, seed, percentile)
        return command(calibrate=chosen, **arguments)

    options = (
        click.option(
            "--percentile", type=click.FloatRange(50, 100), default=Calibration.percentile, show_default=True,
            help="Of the crops' extremes, which become a tensor's range; 100 is min-max.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of the draw."),
        click.option("--samples", type=click.IntRange(LEAST), default=2048, show_default=True, help="How many."),
        click.option(
            "--calibrate", type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Training crops that the ranges of INT8 are measured on: a folder, or a data set that has some.",
        ),
    )  # fmt: skip
    for option in options:
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click calls it by the options' names


@click.command()
@click.argument("model", type=ModelPath())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option(
    "--for",
    "engine",
    type=click.Choice(list(SCHEMES)),
    required=True,
    help="cpu: ONNX Runtime on x86. tensorrt: symmetric int8.",
)
@calibration_options
@gate_options
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def main(
    model: Path,
    output: Path,
    engine: str,
    calibrate: CalibrationOptions | None,
    crops: Path,
    data: Path | None,
    dataset: str | None,
    force: bool,
) -> None:
    """Derive an INT8 artefact of MODEL, a float32 export of ours.

    Each layer is tried alone on crops that were held back and on those that the ranges clip most; the layers that cost
    most stay in float until every one of these crops keeps cosine 0.996, and OUTPUT's .sensitivity.md says which. Then
    every other crop's vector must keep cosine 0.99 to MODEL's, and mAP must not fall by more than half a point; else
    exit 1 and no file.
    """
    if calibrate is None:
        raise click.UsageError("--calibrate names the training crops that INT8 is fitted to; there is no INT8 without")
    for path in (output, *report_paths(output)):
        ensure_writable(path, force)
    inputs = read_eval_inputs(crops, data, dataset)
    calibration = calibrate.draw(inputs.task)
    parent = Parent.read(model, inputs)
    scheme = SCHEMES[engine]
    layers = len(GraphIndex(parent.model).layers(scheme))
    with click.progressbar(length=layers, label="layers", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        parity, choice = export_int8(parent, output, scheme, calibration, lambda: bar.update(1))
    click.echo(in_one_line(f"wrote {output}: {output.stat().st_size / 1e6:.1f} MB; {parity}"))
    click.echo(f"{len(choice.layers)} of {layers} layers in integers; in float: {', '.join(choice.floats) or 'none'}")


if __name__ == "__main__":
    run(main)
