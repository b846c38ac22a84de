"""python -m export.record_scores: measure a model on a labelled folder, and write the scores into its contract."""

from dataclasses import replace
from pathlib import Path

import click

from export.graph import write_contract
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.evaluation import PROTOCOL, evaluate
from reid_runtime.model_file.contract import Score
from reid_runtime.scoring.layouts import read_market


def record_scores(path: Path, folder: Path, dataset: str) -> Score:
    """Score the file through the runtime; its contract then carries the result, its graph stays byte for byte."""
    embedder = Embedder.load(path)
    summary = evaluate(embedder, read_market(folder)).scores.summary()
    score = Score(
        dataset=dataset,
        protocol=PROTOCOL,
        rank_1=round(summary.rank_1, 6),
        map_finite_sum=round(summary.map_finite_sum, 6),
        map_trapezoid=round(summary.map_trapezoid, 6),
    )
    others = tuple(old for old in embedder.contract.scores if old.dataset != dataset)
    write_contract(path, replace(embedder.contract, scores=(*others, score)))
    return score


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--called", "dataset", required=True, help="The data set's name in the contract: Market-1501.")
def main(model: Path, folder: Path, dataset: str) -> None:
    """Score MODEL on FOLDER (Market-1501's layout) through the runtime, and record the scores in its contract."""
    score = record_scores(model, folder, dataset)
    click.echo(
        f"{model} on {dataset}: rank-1 {score.rank_1:.1%}, mAP (finite-sum) {score.map_finite_sum:.1%}, "
        f"mAP (trapezoid) {score.map_trapezoid:.1%}"
    )


if __name__ == "__main__":
    run(main)
