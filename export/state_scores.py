"""python -m export.state_scores: what `reid-runtime evaluate` measured goes into the contract of the model's file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import onnx

from export.derive import seal
from export.graph import write_graph
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.text import in_one_line
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import Score


class StateScoresError(ReidRuntimeError):
    """Scores that are not this file's."""


def state_scores(path: Path, measured: dict[str, Path], output: Path) -> tuple[Score, ...]:
    """Write the model to `output` with these scores in place of those in its contract.

    Args:
        path: An ONNX file of ours.
        measured: By a data set's name, the file that `reid-runtime evaluate --json` printed for this model on it.
        output: The file to write: the same graph and contract id, another artefact id.

    Returns:
        The scores, in their order.

    Raises:
        StateScoresError: For scores of another file, and what is no such JSON.
    """
    file = ModelFile.open(path)
    scores = tuple(_score(dataset, report, file.artefact_id) for dataset, report in measured.items())
    contract = replace(file.contract, scores=scores)
    with atomic_write(output) as temporary:
        seal(temporary, contract, write_graph(temporary, onnx.load(str(path)), contract))
    return scores


def _score(dataset: str, path: Path, artefact_id: str) -> Score:
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        scored, reranked = report["artefact_id"], report["reranked"]
        score = Score(dataset, report["protocol"], report["rank_1"], report["map_finite_sum"], report["map_trapezoid"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateScoresError(f"{path}: expected what reid-runtime evaluate --json prints: {error!r}") from error
    if scored != artefact_id or reranked:
        raise StateScoresError(
            f"{path} has {'re-ranked ' if reranked else ''}scores of the model file {scored}, expected plain ones of "
            f"{artefact_id}: evaluate this file"
        )
    return score


@click.command()
@click.argument("model", type=ModelPath())
@click.argument("scores", nargs=-1, required=True, metavar="DATASET=FILE...")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def main(model: Path, scores: tuple[str, ...], output: Path, force: bool) -> None:
    """Write MODEL with its scores stated in its contract: of each data set, what `evaluate --json` printed.

    \b
    reid-runtime evaluate market1501 --model model.onnx --json > market.json
    python -m export.state_scores model.onnx Market-1501=market.json -o scored.onnx
    """
    pairs = [text.partition("=") for text in scores]
    for text, (name, _, file) in zip(scores, pairs, strict=True):
        if not (name and file):
            raise click.UsageError(f"expected DATASET=FILE, found {text}")
    ensure_writable(output, force)
    for score in state_scores(model, {name: Path(file) for name, _, file in pairs}, output):
        click.echo(
            in_one_line(f"{score.dataset}: rank-1 {score.rank_1:.1%}, mAP {score.map_finite_sum:.1%}; {score.protocol}")
        )


if __name__ == "__main__":
    run(main)
