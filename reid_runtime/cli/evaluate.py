"""reid-runtime evaluate: a model's scores on a labelled folder, through the very bytes that are deployed."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from reid_runtime.cli.options import load_model, model_options
from reid_runtime.embedder import Embedder, Vectors
from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts import Crops, read_market
from reid_runtime.scoring.ranking import Scores, score
from reid_runtime.storage import Embeddings, check_writable, write_embeddings

PROTOCOL = "single query; same identity and camera ignored, junk ignored, distractors kept; ties in gallery order"


@click.command("evaluate")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with fractions.")
@click.option("--save", type=click.Path(path_type=Path), help="Keep the vectors with identity, camera and split (.npz, .parquet).")
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
    query, gallery = _without_junk(data.query), _without_junk(data.gallery)
    embedder = load_model(model, contract, device)
    vectors = _embed(embedder, query, gallery)
    scores = score(vectors[: len(query)], query, vectors[len(query) :], gallery)
    if save is not None:
        write_embeddings(save, _table(embedder, vectors, query, gallery), force)
    facts = {"dataset": folder.name, "protocol": PROTOCOL, "model": embedder.path.name}
    report = facts | {"contract_id": embedder.contract.contract_id} | dataclasses.asdict(scores.summary())
    report["reranked"] = False
    click.echo(json.dumps(report, indent=2) if as_json else _text(report, scores))


def _without_junk(crops: Crops) -> Crops:
    """Junk is ignored by every score, so it need not be embedded."""
    return crops.where(crops.identities >= 0)


def _embed(embedder: Embedder, query: Crops, gallery: Crops) -> Vectors:
    paths = [*query.paths, *gallery.paths]
    vectors = np.empty((len(paths), embedder.dimension), np.float32)
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=len(paths), label="embedding", file=sys.stderr, hidden=hidden) as bar:
        for result in embedder.stream(paths):
            if result.vector is None:
                raise DatasetError(f"{result.source}: {result.error}; a score that leaves pictures out means nothing")
            vectors[result.index] = result.vector
            bar.update(1)
    return vectors


def _table(embedder: Embedder, vectors: Vectors, query: Crops, gallery: Crops) -> Embeddings:
    rows = len(vectors)
    return Embeddings(
        id=np.array([*query.ids, *gallery.ids], dtype=np.str_),
        embedding=vectors,
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


def _text(report: dict[str, Any], scores: Scores) -> str:
    """The report for people: percent with one decimal."""
    lines = [f"{report['dataset']}: {report['protocol']}", f"model {report['model']}, contract {report['contract_id']}", ""]
    names = {
        "rank_1": "rank-1", "rank_5": "rank-5", "rank_10": "rank-10", "map_finite_sum": "mAP (finite-sum)",
        "map_trapezoid": "mAP (trapezoid)", "minp": "mINP",
    }  # fmt: skip
    lines += [f"{title:<18}{100 * report[key]:>6.1f} %" for key, title in names.items()]
    lines += ["", f"{report['valid_queries']} of {report['queries']} queries, {report['gallery']} gallery items"]
    if len(scores.without_answer):
        first = scores.identities[scores.without_answer[0]]
        lines.append(f"{len(scores.without_answer)} queries have no right answer and are not averaged, the first is identity {first}")
    return "\n".join(lines)
