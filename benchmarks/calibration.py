"""python -m benchmarks.calibration VECTORS...: do calibrations keep their promises on people they have not seen?

The people of a file of `evaluate --save` are split in two, again and again. Thresholds are chosen on one half, and the
rates that they have on the other half are held to the 95 % prediction interval that the first half states.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from reid_runtime.cli import run
from reid_runtime.evaluation.calibration_samples import samples_of_labels
from reid_runtime.jobs import read_embeddings
from reid_runtime.matching.calibrate import own_comparisons
from reid_runtime.matching.comparisons import BINS, bin_at
from reid_runtime.matching.points import measure
from reid_runtime.matching.rates import Span
from reid_runtime.matching.samples import Samples
from reid_runtime.matching.searching import false_positive_curve, maxima, search_points

_SIZES = (10, 100)
"""People in a gallery, besides all there are but one."""
_FPIRS = (0.3, 0.1, 0.03, 0.01)


@dataclass(frozen=True)
class Promise:
    """A rate that one half promised, and what the other half showed."""

    what: str
    promised: float
    interval: Span
    realised: float

    @property
    def kept(self) -> bool:
        """Whether the realised rate is in the interval."""
        return self.interval[0] <= self.realised <= self.interval[1]


def split(samples: Samples, seed: int) -> tuple[Samples, Samples]:
    """Two halves of the people, drawn."""
    first = np.random.default_rng(seed).permutation(samples.count)[: samples.count // 2]
    chosen = np.isin(samples.people, first)
    return samples.take(np.flatnonzero(chosen)), samples.take(np.flatnonzero(~chosen))


def promises(samples: Samples, seed: int) -> list[Promise]:
    """What one half of the people promises, and the other shows."""
    calibrated, tested = split(samples, seed)
    kept = []
    counts = own_comparisons(tested).tally().non_mated
    for point in measure(own_comparisons(calibrated)).points:
        realised = float(counts[bin_at(point.threshold) :].sum() / counts.sum())
        kept.append(Promise(f"FMR {100 * point.fmr:g} %", point.fmr, point.fmr_prediction, realised))
    best = maxima(tested)
    most = min(calibrated.count, tested.count) - 1
    sizes = [*(size for size in _SIZES if size < most), most]
    curves = {size: np.minimum(false_positive_curve(best, size), 1.0) for size in sizes}
    for search in search_points(maxima(calibrated), sizes):
        if search.fpir in _FPIRS:
            people = "all" if search.gallery_people == most else search.gallery_people
            realised = float(curves[search.gallery_people][min(bin_at(search.threshold), BINS)])
            what = f"FPIR {100 * search.fpir:g} % of {people} people"
            kept.append(Promise(what, search.fpir, search.fpir_prediction, realised))
    return kept


@click.command()
@click.argument("vectors", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--splits", type=click.IntRange(1), default=20, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The results as JSON.")
def main(vectors: tuple[Path, ...], splits: int, output: Path | None) -> None:
    """Split the people of each of VECTORS, files of `evaluate --save`, and hold promised rates to realised ones.

    A row a rate: in how many splits it could be promised, in how many the realised rate lay in the prediction interval,
    the median realised rate, and the median width of the interval, its upper end by its lower one.
    """
    results = {}
    for path in vectors:
        samples = samples_of_labels(read_embeddings(path))[0].bounded()
        by_rate: dict[str, list[Promise]] = {}
        for seed in range(splits):
            for promise in promises(samples, seed):
                by_rate.setdefault(promise.what, []).append(promise)
        rows = [_row(what, made) for what, made in by_rate.items()]
        results[path.stem] = {"people": samples.count, "crops": len(samples.vectors), "splits": splits, "rates": rows}
        click.echo(f"{path.stem}: {samples.count} people, {splits} splits in halves")
        click.echo(f"  {'':<28} kept      realised   95 % prediction   width")
        for row in rows:
            (low, high), kept = row["median_prediction"], f"{row['kept']:>2} of {row['promised_in']:<2}"
            realised, width = f"{100 * row['median_realised']:>7.3g} %", f"x {row['median_width']:.2f}"
            click.echo(f"  {row['rate']:<28} {kept}  {realised}   {100 * low:.3g} to {100 * high:.3g} %   {width}")
        kept, made = (sum(row[name] for row in rows) for name in ("kept", "promised_in"))
        click.echo(f"  all: {kept} of {made} ({100 * kept / made:.1f} %)" if made else "  no half supports any rate")
    if output is not None:
        output.write_text(json.dumps(results, indent=1) + "\n")


def _row(what: str, made: list[Promise]) -> dict[str, Any]:
    return {
        "rate": what,
        "promised": made[0].promised,
        "promised_in": len(made),
        "kept": sum(promise.kept for promise in made),
        "median_realised": median(promise.realised for promise in made),
        "median_prediction": [median(promise.interval[end] for promise in made) for end in (0, 1)],
        "median_width": median(promise.interval[1] / promise.interval[0] for promise in made),
        "realised": [round(promise.realised, 6) for promise in made],
    }


if __name__ == "__main__":
    run(main)
