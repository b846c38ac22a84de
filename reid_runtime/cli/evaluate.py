"""reid-runtime evaluate: a model's scores on a labelled folder, through the very bytes that are deployed."""

import json
import sys
from pathlib import Path

import click
import numpy as np

from reid_runtime.cli.options import load_model, model_options
from reid_runtime.embedder import Embedder
from reid_runtime.evaluation import Evaluation, evaluate
from reid_runtime.scoring.layouts import read_market
from reid_runtime.storage import Embeddings, check_writable, write_embeddings


@click.command("evaluate")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with fractions.")
@click.option(
    "--save", type=click.Path(path_type=Path), help="Keep the vectors with identity, camera and split (.npz, .parquet)."
)
@click.option("--force", is_flag=True, help="Overwrite the file of --save.")
@model_options
def command(
    folder: Path, as_json: bool, save: Path | None, force: bool, model: str | None, contract: str | None, device: str
) -> None:
    """Score a model on FOLDER, laid out as Market-1501: query/ and bounding_box_test/, names IDENTITY_cCAMERA....

    Prints CMC at ranks 1, 5 and 10, mAP by both definitions in use (finite-sum: the mean of the precision at each
    right answer; trapezoid: the area under the curve, as the original MATLAB code has it), and mINP.
    """
    if save is not None:
        check_writable(save, force)
    data = read_market(folder)
    embedder = load_model(model, contract, device)
    count = int((data.query.identities >= 0).sum() + (data.gallery.identities >= 0).sum())
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=count, label="embedding", file=sys.stderr, hidden=hidden) as bar:
        evaluation = evaluate(embedder, data, lambda: bar.update(1))
    if save is not None:
        write_embeddings(save, _table(embedder, evaluation), force)
    click.echo(json.dumps(evaluation.report(), indent=2) if as_json else _text(evaluation))


def _table(embedder: Embedder, evaluation: Evaluation) -> Embeddings:
    query, gallery, rows = evaluation.query, evaluation.gallery, len(evaluation.vectors)
    return Embeddings(
        id=np.array([*query.ids, *gallery.ids], dtype=np.str_),
        embedding=evaluation.vectors,
        width=np.zeros(rows, np.int32),
        height=np.zeros(rows, np.int32),
        error=np.full(rows, "", dtype=np.str_),
        contract=embedder.contract.to_json(),
        contract_id=embedder.contract.contract_id,
        artefact_id=embedder.artefact_id,
        identity=np.concatenate([query.identities, gallery.identities]),
        camera=np.concatenate([query.cameras, gallery.cameras]),
        split=np.array(["query"] * len(query) + ["gallery"] * len(gallery), dtype=np.str_),
    )


def _text(evaluation: Evaluation) -> str:
    """The report for people: percent with one decimal."""
    report, scores = evaluation.report(), evaluation.scores
    titles = {
        "rank_1": "rank-1",
        "rank_5": "rank-5",
        "rank_10": "rank-10",
        "map_finite_sum": "mAP (finite-sum)",
        "map_trapezoid": "mAP (trapezoid)",
        "minp": "mINP",
    }
    lines = [
        f"{report['dataset']}: {report['protocol']}",
        f"model {report['model']}, contract {report['contract_id']}",
        "",
        *(f"{title:<18}{100 * report[key]:>6.1f} %" for key, title in titles.items()),
        "",
        f"{report['valid_queries']} of {report['queries']} queries, {report['gallery']} gallery items",
    ]
    left_out = scores.without_answer
    if len(left_out):
        lines.append(
            f"{len(left_out)} queries have no right answer and are not averaged, "
            f"the first is identity {scores.identities[left_out[0]]}"
        )
    return "\n".join(lines)
