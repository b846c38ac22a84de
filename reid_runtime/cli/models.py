"""reid-runtime models: the models that the package carries."""

import json
from collections.abc import Sequence
from typing import Any

import click

from reid_runtime.cli.terminal import examples, table
from reid_runtime.io.text import in_one_line
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import PACKAGED, Packaged


@click.command(
    "models",
    epilog=examples(
        "reid-runtime models",
        "reid-runtime embed examples/crops --model small -o by-small.npz",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per model, in a list.")
def command(as_json: bool) -> None:
    """List the models that the package carries: size, cost, scores and terms.

    A name goes wherever a model's file does: `reid-runtime embed FOLDER --model small`. The first is the default.
    """
    models = [_facts(model) for model in PACKAGED.values()]
    if as_json:
        click.echo(json.dumps(models, indent=2, ensure_ascii=False))
        return
    terms = table([("terms", text) for text in dict.fromkeys(text for model in models for text in model["terms"])])
    click.echo("\n".join(map(in_one_line, [*_sizes(models), "", *_scores(models), "", *terms])))


def _sizes(models: Sequence[dict[str, Any]]) -> list[str]:
    rows = [("model", "", "MB", "GFLOPs", "numbers", "contract")] + [
        (
            model["name"], model["purpose"], f"{model['megabytes']:.1f}", f"{model['gflops']:g}",
            str(model["dimension"]), model["contract_id"],
        )
        for model in models
    ]  # fmt: skip
    return [*table(rows, "<<>>>"), "GFLOPs: of an image of 256x128 pixels"]


def _scores(models: Sequence[dict[str, Any]]) -> list[str]:
    """Rank-1 and mAP, a column a data set, and how each was scored."""
    protocols = {score["dataset"]: score["protocol"] for model in models for score in model["scores"]}
    rows = [("rank-1 / mAP, %", *protocols)]
    for model in models:
        scores = {score["dataset"]: score for score in model["scores"]}
        rows.append((model["name"], *(_percent(scores.get(name)) for name in protocols)))
    by_protocol: dict[str, list[str]] = {}
    for name, protocol in protocols.items():
        by_protocol.setdefault(protocol, []).append(name)
    notes = [(f"{', '.join(names)}:", protocol) for protocol, names in by_protocol.items()]
    return [*table(rows), "mAP: by the finite sum", *table(notes)]


def _percent(score: dict[str, Any] | None) -> str:
    return "" if score is None else f"{100 * score['rank_1']:.1f} / {100 * score['map_finite_sum']:.1f}"


def _facts(model: Packaged) -> dict[str, Any]:
    file = ModelFile.open(model.path)
    contract = file.contract
    return {
        "name": model.name,
        "purpose": model.purpose,
        "file": str(file.path),
        "megabytes": file.path.stat().st_size / 1e6,
        "gflops": model.gflops,
        "dimension": contract.dimension,
        "resize": str(contract.resize),
        "contract_id": contract.contract_id,
        "artefact_id": file.artefact_id,
        "scores": [
            {
                "dataset": score.dataset,
                "protocol": score.protocol,
                "rank_1": score.rank_1,
                "map_finite_sum": score.map_finite_sum,
                "map_trapezoid": score.map_trapezoid,
            }
            for score in contract.scores
        ],
        "terms": [seen.terms for seen in contract.trained_on],
    }
