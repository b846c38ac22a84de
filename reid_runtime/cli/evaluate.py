"""reid-runtime evaluate: a model's scores on a labelled folder, through the very bytes that are deployed."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from reid_runtime.cli.options import Command, load_model, model_options
from reid_runtime.embedder import Embedder
from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import EvalSet, EvalSettings, Evaluation, eval_set_of, score_rows
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.evaluation.saved import eval_set_of_rows, read_saved
from reid_runtime.jobs import Embeddings, check_writable, write_embeddings
from reid_runtime.model_file.contract import Contract
from reid_runtime.report import check_report, write_report
from reid_runtime.scoring.bootstrap import METRICS
from reid_runtime.scoring.layouts.cuhk_sysu import GALLERY_SIZES, read_cuhk_sysu
from reid_runtime.scoring.layouts.datasets import DATASETS, Dataset, Splits
from reid_runtime.scoring.layouts.registry import dataset as known_dataset
from reid_runtime.scoring.layouts.registry import missing, read_dataset, read_layout
from reid_runtime.scoring.reranking import RerankSettings
from reid_runtime.scoring.tracklets import Pooling


def reading_options(command: Command) -> Command:
    """--dataset, --layout and --gallery-size: how a folder is read."""
    names = click.Choice([known.name for known in DATASETS])
    for option in (
        click.option(
            "--gallery-size", type=click.Choice([str(size) for size in GALLERY_SIZES]),
            help="Gallery frames a query, in CUHK-SYSU.  [100]",
        ),
        click.option(
            "--layout", type=names, metavar="NAME",
            help="Read the folder as that set lies, where it would be taken for another; nothing is counted.",
        ),
        click.option(
            "--dataset", type=names, metavar="NAME",
            help="The published set that the folder must be all of; `reid-runtime datasets` lists them.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def check_reading(ctx: click.Context, folder: Path | None, word: str) -> None:
    """Raises UsageError for options on how to read a folder that contradict, or that have none; `word` names it."""
    named = [name for name in ("dataset", "layout", "gallery_size") if ctx.params[name] is not None]
    if folder is None and named:
        raise click.UsageError(f"--{named[0].replace('_', '-')} says how to read {word}; name that too")
    if "dataset" in named and "layout" in named:
        raise click.UsageError("--dataset names a layout too; state one of --dataset and --layout")


def read_task(
    folder: Path, dataset: str | None, layout: str | None, gallery_size: str | None, *, multi_query: bool = False
) -> EvalSet:
    """The task of a folder, read as the options say."""
    known, splits = _read(folder, dataset, layout)
    if gallery_size is None:
        return eval_set_of(splits, dataset, known, multi_query=multi_query)
    if known.name != "cuhk-sysu":
        raise click.UsageError(f"--gallery-size is for CUHK-SYSU; {folder} has the layout of {known.name}")
    task = eval_set_of(read_cuhk_sysu(folder, int(gallery_size)), dataset, known, multi_query=multi_query)
    return replace(task, method=f"person search, {gallery_size} gallery frames a query")


@click.command("evaluate")
@click.argument("folder", required=False, type=click.Path(exists=True, path_type=Path))
@reading_options
@click.option("--multi-query", is_flag=True, help="Average all crops of a query's person under its camera (gt_bbox).")
@click.option("--rerank", is_flag=True, help="k-reciprocal re-ranking (20, 6, 0.3).")
@click.option("--pooling", type=click.Choice(["mean", "max"]), help="How a tracklet's frames become one.  [mean]")
@click.option(
    "--from", "saved", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Score the vectors of a file of --save; no model runs. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with fractions.")
@click.option(
    "--save", type=click.Path(path_type=Path), help="Keep the vectors with identity, camera and split (.npz, .parquet)."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write one HTML page with curves, lists and pictures.")
@click.option("--force", is_flag=True, help="Overwrite the files of --save and --report.")
@model_options
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path | None,
    dataset: str | None,
    layout: str | None,
    multi_query: bool,
    rerank: bool,
    pooling: str | None,
    gallery_size: str | None,
    saved: tuple[Path, ...],
    as_json: bool,
    save: Path | None,
    report: Path | None,
    force: bool,
    model: str | None,
    contract: str | None,
    device: str,
    trust_engine: bool,
) -> None:
    """Score a model on FOLDER: a data set in any layout that `reid-runtime datasets` lists, or a CSV file.

    Prints CMC at ranks 1, 5 and 10, mAP by both definitions in use (finite-sum: the mean of the precision at each
    right answer; trapezoid: the area under the curve, as the original MATLAB code has it), and mINP, each with
    its 95 % interval. The layout is recognised, whatever the counts; with --dataset NAME a folder that is not all
    of that set is refused. An evaluation that is interrupted keeps nothing.
    """
    _check_usage(ctx, folder, saved)
    if save is not None:
        check_writable(save, force)
    if report is not None:
        check_report(report, force)
    rows = read_saved(saved) if saved else None
    if folder is not None:
        task = read_task(folder, dataset, layout, gallery_size, multi_query=multi_query)
    elif rows is not None:
        task = eval_set_of_rows(rows, saved[0].stem)
    else:
        raise click.UsageError("Missing argument 'FOLDER'; only --from FILE does without it.")
    if pooling and not (task.tracklets and rows is None):
        raise click.UsageError("--pooling is for tracklets that are embedded here; this set has none")
    if rerank and task.search is not None:
        raise click.UsageError("--rerank takes one gallery for all queries; in a person search each has its own")
    frames: Pooling = "max" if pooling == "max" else "mean"
    settings = EvalSettings(multi_query, RerankSettings() if rerank else None, frames if rows is None else None)
    if rows is None:
        embedder = load_model(model, contract, device, trust_engine=trust_engine)
        rows, name = _embed(task, frames, embedder), embedder.path.name
    else:
        name = Contract.from_json(rows.contract, str(saved[0])).name
    if save is not None:
        write_embeddings(save, rows, force)
    evaluation = score_rows(task, rows, name, settings)
    if report is not None:
        write_report(report, evaluation, force)
    click.echo(json.dumps(evaluation.report(), indent=2) if as_json else _text(evaluation))
    left_out = evaluation.scores.describe_without_answer(task.query.ids)
    if left_out is not None:
        click.echo(left_out, err=True)


def _check_usage(ctx: click.Context, folder: Path | None, saved: tuple[Path, ...]) -> None:
    check_reading(ctx, folder, "FOLDER")
    if saved:
        given = [f"--{name}" for name in ("model", "contract") if ctx.params[name] is not None]
        if given:
            raise click.UsageError(f"{' and '.join(given)}: no model runs where --from gives the vectors")


def _read(folder: Path, dataset: str | None, layout: str | None) -> tuple[Dataset, Splits]:
    if dataset is not None:
        return known_dataset(dataset), read_dataset(dataset, folder)
    if layout is None:
        return read_layout(folder)
    known = known_dataset(layout)
    absent = missing(known, folder)
    if absent:
        raise DatasetError(f"{folder} does not lie as {layout} does: missing {', '.join(absent)}")
    return known, known.read(folder)


def _embed(task: EvalSet, pooling: Pooling, embedder: Embedder) -> Embeddings:
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=len(task.images()), label="embedding", file=sys.stderr, hidden=hidden) as bar:
        return embed_eval_set(embedder, task, lambda: bar.update(1), pooling)


def _text(evaluation: Evaluation) -> str:
    """The scores for people: percent with one decimal."""
    report, intervals = evaluation.report(), evaluation.intervals()
    width = max(map(len, METRICS.values()))
    lines = [
        f"{report['dataset']}: {report['protocol']}",
        f"model {report['model']}, contract {report['contract_id']}",
        *(["re-ranked, k1 20, k2 6, weight 0.3"] if report["reranked"] else []),
        "",
        f"{'':<{width}}  {'%':>6}" + ("" if intervals is None else "    95 % interval"),
    ]
    for key, title in METRICS.items():
        line = f"{title:<{width}}  {100 * report[key]:>6.1f}"
        if intervals is not None:
            line += f"    {100 * intervals[key].low:>5.1f} to {100 * intervals[key].high:>5.1f}"
        lines.append(line)
    among = "gallery items" if evaluation.eval_set.search is None else "gallery frames a query"
    lines += ["", f"{report['valid_queries']:,} of {report['queries']:,} queries, {report['gallery']:,} {among}"]
    if intervals is not None:
        lines.append(f"intervals: bootstrap over the {evaluation.people:,} people of the queries")
    return "\n".join(lines)
