"""python -m benchmarks.clusters VECTORS: how good are groups without labels, on people whom the calibration never saw?

The people of a file of `evaluate --save` are split in two, again and again: one half is calibrated on, unless a
calibration is given, and crops of the other are grouped by `cluster`. Beside it stand the groups of scikit-learn's
average linkage at the threshold that is best with labels, which nobody has. Pairwise F1, and B-cubed (Bagga and
Baldwin, 1998); unsure crops count alone; `inside`: in how many splits the number of people is in the interval.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from reid_runtime.cli import run
from reid_runtime.evaluation.calibrate import calibrate_rows
from reid_runtime.jobs import Embeddings, read_embeddings
from reid_runtime.jobs.cluster import cluster
from reid_runtime.matching import Calibration, read_calibration

Labels = npt.NDArray[Any]
_THRESHOLDS = np.arange(0.3, 0.9, 0.01)


@dataclass(frozen=True)
class Agreement:
    """How well groups are the people."""

    f1: float
    """Of pairs."""
    b_cubed: float


def agreement(groups: Labels, people: Labels) -> Agreement:
    """Groups against people, one label a crop each."""
    ours, theirs = (np.unique(each, return_inverse=True)[1].reshape(-1) for each in (groups, people))
    both = np.unique(ours * (int(theirs.max()) + 1) + theirs, return_inverse=True)[1].reshape(-1)
    together, of_ours, of_theirs = (np.bincount(each)[each] for each in (both, ours, theirs))
    pairs = [float((each - 1).sum()) for each in (together, of_ours, of_theirs)]
    precision, recall = float((together / of_ours).mean()), float((together / of_theirs).mean())
    return Agreement(2 * pairs[0] / max(pairs[1] + pairs[2], 1), 2 * precision * recall / (precision + recall))


def best_with_labels(rows: Embeddings, people: Labels) -> Agreement:
    """Average linkage at the threshold that is best for each of the two numbers."""
    from sklearn.cluster import AgglomerativeClustering

    distances = np.clip(1 - rows.embedding @ rows.embedding.T, 0, 2)
    agreements = []
    for threshold in _THRESHOLDS:
        model = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=1 - threshold)
        agreements.append(agreement(model.fit_predict(distances), people))
    return Agreement(max(each.f1 for each in agreements), max(each.b_cubed for each in agreements))


def measure(rows: Embeddings, crops: int, seed: int, calibration: Calibration | None = None) -> dict[str, float]:
    """One split: what `cluster` makes of crops of one half, and what is best with labels.

    Without a calibration the other half gives one.
    """
    generator = np.random.default_rng(seed)
    people = np.array([] if rows.identity is None else rows.identity)
    names = generator.permutation(np.unique(people))
    calibrated = np.isin(people, names[: len(names) // 2])
    calibration = calibration or calibrate_rows(rows.take(np.flatnonzero(calibrated)), "other people")
    chosen = generator.permutation(np.flatnonzero(~calibrated))[:crops]
    pile, whose = replace(rows.take(chosen), identity=None), people[chosen]
    clusters = cluster(pile, calibration)
    groups = clusters.grouping.groups
    ours = agreement(np.where(groups < 0, len(groups) + np.arange(len(groups)), groups), whose)
    best = best_with_labels(pile, whose)
    least, most, count = clusters.grouping.least, clusters.grouping.most, len(np.unique(whose))
    return {
        "crops": len(chosen), "people": count, "found": clusters.grouping.people, "least": least, "most": most,
        "inside": float(least <= count <= most), "unsure": clusters.unsure / len(chosen),
        "threshold": clusters.grouping.threshold.value, "f1": ours.f1, "f1_best": best.f1,
        "b_cubed": ours.b_cubed, "b_cubed_best": best.b_cubed,
    }  # fmt: skip


@click.command("clusters")
@click.argument("vectors", type=click.Path(path_type=Path))
@click.option("--crops", default=2000, show_default=True)
@click.option("--splits", default=4, show_default=True)
@click.option("--calibration", type=click.Path(path_type=Path), help="In place of one of half of the people.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON.")
def main(vectors: Path, crops: int, splits: int, calibration: Path | None, output: Path | None) -> None:
    """Group crops of unknown people, and hold the groups to the labels in VECTORS."""
    rows = read_embeddings(vectors)
    _, first = np.unique(rows.id, return_index=True)
    rows = rows.take(first.astype(np.int64))
    rows = rows.take(np.flatnonzero((rows.error == "") & (rows.identity != "")))
    stated = None if calibration is None else read_calibration(calibration)
    measured = []
    for seed in range(splits):
        measured.append(measure(rows, crops, seed, stated))
        click.echo(json.dumps({name: round(value, 3) for name, value in measured[-1].items()}))
    means = {name: round(mean(each[name] for each in measured), 3) for name in measured[0]}
    click.echo(f"mean: {json.dumps(means)}")
    if output is not None:
        output.write_text(json.dumps({"splits": measured, "mean": means}, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
