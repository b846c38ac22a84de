"""reid-runtime models: the models that the package carries."""

import json
from typing import Any

import click

from reid_runtime.cli import in_one_line
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import PACKAGED, Packaged


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per model, in a list.")
def command(as_json: bool) -> None:
    """List the models that the package carries: size, cost, scores and terms.

    A name goes wherever a model's file does: `reid-runtime embed FOLDER --model small`. The first is the default.
    """
    models = [_facts(model) for model in PACKAGED.values()]
    if as_json:
        click.echo(json.dumps(models, indent=2, ensure_ascii=False))
        return
    for model in models:
        title = f"{model['name']}: {model['purpose']}"
        size = f"{model['megabytes']:.1f} MB, {model['gflops']:g} GFLOPs at 256x128, {model['dimension']} numbers"
        click.echo(f"{title}; {size}, contract {model['contract_id']}")
        for score in model["scores"]:
            click.echo(
                f"  {score['dataset']:<14}rank-1 {score['rank_1']:6.1%}  mAP {score['map_finite_sum']:6.1%}  "
                f"{in_one_line(score['protocol'])}"
            )
    for terms in dict.fromkeys(terms for model in models for terms in model["terms"]):
        click.echo(f"terms: {in_one_line(terms)}")


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
