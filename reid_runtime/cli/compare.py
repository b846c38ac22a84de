"""reid-runtime compare: two saved evaluations of one data set, and whether their difference is more than noise."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from reid_runtime.cli.layouts import LayoutChoice, layout_options
from reid_runtime.cli.terminal import examples, table
from reid_runtime.evaluation import EvalSettings, Evaluation, score_rows
from reid_runtime.evaluation.saved import check_same_data, eval_set_of_rows, read_saved
from reid_runtime.io.text import counted, in_one_line
from reid_runtime.model_file.contract import Contract
from reid_runtime.scoring.bootstrap import METRICS, Bootstrap, Comparison, compare_scores
from reid_runtime.scoring.reranking import RerankSettings


@click.command(
    "compare",
    epilog=examples(
        "reid-runtime evaluate examples/crops --save base.npz",
        "reid-runtime evaluate examples/crops --save small.npz --model small",
        "reid-runtime compare base.npz small.npz",
    ),
)
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
@click.option("--rerank", is_flag=True, help="Compare the scores after k-reciprocal re-ranking (20, 6, 0.3).")
@click.option(
    "--folder", type=click.Path(exists=True, path_type=Path),
    help="The data set; needed for a person search alone, whose galleries are not in the files.",
)  # fmt: skip
@layout_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with fractions.")
def command(
    before: Path,
    after: Path,
    rerank: bool,
    folder: Path | None,
    read_as: LayoutChoice,
    as_json: bool,
) -> None:
    """Compare BEFORE with AFTER, two files of `evaluate --save` on one data set, of one model or of two.

    Prints the change in each metric and its 95 % interval, by a paired bootstrap over people: what is hard for both
    cancels out. A change is more than noise where the interval leaves out zero.
    """
    read_as.check(folder, "--folder")
    files = (before, after)
    saved = [read_saved([path]) for path in files]
    check_same_data(saved[0], saved[1], (str(before), str(after)))
    if folder is None:
        eval_set = eval_set_of_rows(saved[0], before.stem, camera_rule=read_as.camera_rule)
    else:
        eval_set = read_as.eval_set(folder)
    eval_set = dataclasses.replace(eval_set, multi_query=None)
    settings = EvalSettings(rerank=RerankSettings() if rerank else None, pooling=None)
    evaluations = [
        score_rows(eval_set, rows, Contract.from_json(rows.contract, str(path)).name, settings)
        for path, rows in zip(files, saved, strict=True)
    ]
    comparison = compare_scores(evaluations[0].scores, evaluations[1].scores)
    sides = [
        {"file": str(path), "model": evaluation.model, "contract_id": evaluation.contract_id, "backend": rows.backend}
        for path, evaluation, rows in zip(files, evaluations, saved, strict=True)
    ]
    if as_json:
        click.echo(json.dumps(_report(sides, evaluations[0], comparison), indent=2))
    else:
        click.echo(_text(sides, evaluations[0], comparison))


def _report(sides: list[dict[str, Any]], evaluation: Evaluation, comparison: Comparison) -> dict[str, Any]:
    changes = {
        name: {"change": interval.value, "low": interval.low, "high": interval.high}
        for name, interval in comparison.changes.items()
    }
    return {
        "protocol": evaluation.protocol,
        "before": sides[0] | dataclasses.asdict(comparison.before),
        "after": sides[1] | dataclasses.asdict(comparison.after),
        "changes": changes,
        "level": Bootstrap().level,
        "paired_queries": comparison.paired_queries,
        "identities": comparison.identities,
        "reranked": evaluation.settings.rerank is not None,
        "more_than_noise": comparison.more_than_noise,
    }


def _text(sides: list[dict[str, Any]], evaluation: Evaluation, comparison: Comparison) -> str:
    """The comparison as a table: percent, and changes in points."""
    before, after = dataclasses.asdict(comparison.before), dataclasses.asdict(comparison.after)
    width = max(map(len, METRICS.values()))
    lines = [
        f"{word:<6}  {side['file']}: model {side['model']}, contract {side['contract_id']}, "
        f"by {side['backend'] or 'a backend that it does not name'}"
        for word, side in zip(("before", "after"), sides, strict=True)
    ]
    lines += table([(evaluation.protocol,)])
    if evaluation.settings.rerank is not None:
        lines.append("re-ranked, k1 20, k2 6, weight 0.3")
    lines += ["", f"{'':<{width}}  {'before':>6}  {'after':>6}  {'change':>6}    95 % interval of the change"]
    for key, title in METRICS.items():
        change = comparison.changes[key]
        lines.append(
            f"{title:<{width}}  {100 * before[key]:>6.1f}  {100 * after[key]:>6.1f}  {_points(change.value):>6}    "
            f"{_points(change.low):>5} to {_points(change.high):>5}"
        )
    people = f"{counted(comparison.paired_queries, 'paired query')} of {counted(comparison.identities, 'person')}"
    return "\n".join(map(in_one_line, [*lines, "", people, _verdict(comparison)]))


def _verdict(comparison: Comparison) -> str:
    change, title = comparison.changes["map_finite_sum"], METRICS["map_finite_sum"]
    if comparison.more_than_noise:
        verb = "rises" if change.value > 0 else "falls"
        return f"{title} {verb} by {abs(100 * change.value):.1f} points: more than noise"
    return f"{title} changes by {_points(change.value)} points: no more than noise"


def _points(fraction: float) -> str:
    """Percentage points with their sign; what rounds to nothing has none."""
    points = round(100 * fraction, 1)
    return f"{points:+.1f}" if points else "0.0"
