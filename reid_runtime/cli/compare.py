"""reid-runtime compare: two saved evaluations of one data set, and whether their difference is more than noise."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from reid_runtime.cli.evaluate import check_reading, read_task, reading_options
from reid_runtime.evaluation import EvalSettings, Evaluation, score_rows
from reid_runtime.evaluation.saved import check_same_data, eval_set_of_rows, read_saved
from reid_runtime.model_file.contract import Contract
from reid_runtime.scoring.bootstrap import METRICS, Bootstrap, Comparison, compare_scores
from reid_runtime.scoring.reranking import RerankSettings


@click.command("compare")
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
@click.option("--rerank", is_flag=True, help="Compare the scores after k-reciprocal re-ranking (20, 6, 0.3).")
@click.option(
    "--folder", type=click.Path(exists=True, path_type=Path),
    help="The data set; only needed for a person search, whose galleries the files do not hold.",
)  # fmt: skip
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with fractions.")
@click.pass_context
def command(
    ctx: click.Context,
    before: Path,
    after: Path,
    rerank: bool,
    folder: Path | None,
    dataset: str | None,
    layout: str | None,
    gallery_size: str | None,
    as_json: bool,
) -> None:
    """Compare BEFORE with AFTER, two files of `evaluate --save` on one data set, of one model or of two.

    Prints the change in each measure and its 95 % interval, drawn over people and paired: what is hard for both
    cancels out. A change is more than noise where the interval leaves out zero.
    """
    check_reading(ctx, folder, "--folder")
    first, second = read_saved([before]), read_saved([after])
    check_same_data(first, second, (str(before), str(after)))
    task = eval_set_of_rows(first, before.stem) if folder is None else read_task(folder, dataset, layout, gallery_size)
    settings = EvalSettings(rerank=RerankSettings() if rerank else None, pooling=None)
    evaluations = [
        score_rows(
            dataclasses.replace(task, multi_query=None),
            rows,
            Contract.from_json(rows.contract, str(path)).name,
            settings,
        )
        for path, rows in ((before, first), (after, second))
    ]
    found = compare_scores(evaluations[0].scores, evaluations[1].scores)
    sides = [
        {"file": str(path), "model": evaluation.model, "contract_id": evaluation.contract_id, "backend": rows.backend}
        for path, evaluation, rows in zip((before, after), evaluations, (first, second), strict=True)
    ]
    if as_json:
        click.echo(json.dumps(_facts(sides, evaluations, found), indent=2))
    else:
        click.echo(_text(sides, evaluations, found))


def _facts(files: list[dict[str, Any]], evaluations: list[Evaluation], found: Comparison) -> dict[str, Any]:
    summaries = (found.before, found.after)
    sides = [file | dataclasses.asdict(summary) for file, summary in zip(files, summaries, strict=True)]
    changes = {
        name: {"change": interval.value, "low": interval.low, "high": interval.high}
        for name, interval in found.changes.items()
    }
    return {
        "protocol": evaluations[0].protocol,
        "before": sides[0],
        "after": sides[1],
        "changes": changes,
        "level": Bootstrap().level,
        "paired_queries": found.paired_queries,
        "identities": found.identities,
        "reranked": evaluations[0].settings.rerank is not None,
        "more_than_noise": found.more_than_noise,
    }


def _text(files: list[dict[str, Any]], evaluations: list[Evaluation], found: Comparison) -> str:
    """The comparison for people: percent, and changes in points."""
    before, after = dataclasses.asdict(found.before), dataclasses.asdict(found.after)
    width = max(map(len, METRICS.values()))
    lines = [
        f"{word:<6}  {file['file']}: model {file['model']}, contract {file['contract_id']}, "
        f"by {file['backend'] or 'a backend that it does not name'}"
        for word, file in zip(("before", "after"), files, strict=True)
    ]
    lines.append(evaluations[0].protocol)
    if evaluations[0].settings.rerank is not None:
        lines.append("re-ranked, k1 20, k2 6, weight 0.3")
    lines += ["", f"{'':<{width}}  {'before':>6}  {'after':>6}  {'change':>6}    95 % interval of the change"]
    for key, title in METRICS.items():
        change = found.changes[key]
        lines.append(
            f"{title:<{width}}  {100 * before[key]:>6.1f}  {100 * after[key]:>6.1f}  {_points(change.value):>6}    "
            f"{_points(change.low):>5} to {_points(change.high):>5}"
        )
    lines += ["", f"{found.paired_queries:,} paired queries of {found.identities:,} people", _verdict(found)]
    return "\n".join(lines)


def _verdict(found: Comparison) -> str:
    change, title = found.changes["map_finite_sum"], METRICS["map_finite_sum"]
    if found.more_than_noise:
        word = "rises" if change.value > 0 else "falls"
        return f"{title} {word} by {abs(100 * change.value):.1f} points: more than noise"
    return f"{title} changes by {_points(change.value)} points: no more than noise"


def _points(fraction: float) -> str:
    """Percentage points with their sign; what rounds to nothing has none."""
    points = round(100 * fraction, 1)
    return f"{points:+.1f}" if points else "0.0"
