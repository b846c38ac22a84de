"""python -m benchmarks.derived_calibration CALIBRATION VECTORS...: does a calibration hold for derived models too?

The INT8 files of a model, and what bfloat16 makes of it, keep its contract id, and so its calibration. Here the error
rates that its thresholds have on their vectors are held to its 95 % intervals, on the same crops. Exit 1 where one is
outside: such an artefact is to be calibrated of its own (`reid-runtime calibrate`).
"""

from pathlib import Path

import click

from reid_runtime.cli import run
from reid_runtime.evaluation.calibrate import precision_of
from reid_runtime.evaluation.calibration_samples import samples_of_labels
from reid_runtime.jobs import read_embeddings
from reid_runtime.matching import Calibration, read_calibration
from reid_runtime.matching.calibrate import own_comparisons
from reid_runtime.matching.comparisons import bin_at
from reid_runtime.matching.samples import Samples


def inside(calibration: Calibration, samples: Samples) -> list[tuple[str, float, tuple[float, float], bool]]:
    """(what, its rate on the samples, the calibration's interval, whether it is inside) for each operating point."""
    tally = own_comparisons(samples.bounded()).tally()
    estimates = []
    for point in calibration.operating_points:
        edge = bin_at(point.threshold)
        fmr = float(tally.non_mated[edge:].sum() / tally.non_mated.sum())
        fnmr = float(tally.mated[:edge].sum() / tally.mated.sum())
        for name, rate, span in (("FMR", fmr, point.fmr_interval), ("FNMR", fnmr, point.fnmr_interval)):
            what = f"{name} at the threshold of FMR {100 * point.fmr:g} %"
            estimates.append((what, rate, span, span[0] <= rate <= span[1]))
    return estimates


@click.command()
@click.argument("calibration", type=click.Path(exists=True, path_type=Path))
@click.argument("vectors", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.pass_context
def main(ctx: click.Context, calibration: Path, vectors: tuple[Path, ...]) -> None:
    """Hold the rates of VECTORS, of the crops that CALIBRATION was measured on, to its intervals."""
    read, held = read_calibration(calibration), True
    for path in vectors:
        rows = read_embeddings(path)
        read.require_space(rows.contract_id, str(path))
        click.echo(f"{path.name}: {precision_of(rows)}, {rows.backend}, {rows.artefact_id[:19]}")
        for what, rate, (low, high), is_inside in inside(read, samples_of_labels(rows)[0]):
            word = "inside" if is_inside else "OUTSIDE"
            click.echo(f"  {what:<40} {100 * rate:>9.4g} %   {word} {100 * low:.4g} to {100 * high:.4g} %")
            held = held and is_inside
    ctx.exit(0 if held else 1)


if __name__ == "__main__":
    run(main)
