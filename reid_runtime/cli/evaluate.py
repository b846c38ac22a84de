"""reid-runtime evaluate: the scores of a model file on a labelled folder."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from reid_runtime.cli.layouts import LayoutChoice, layout_options
from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.cli.terminal import examples, note, table
from reid_runtime.embedder import Embedder
from reid_runtime.evaluation import EvalSet, EvalSettings, Evaluation, score_rows
from reid_runtime.evaluation.account import seen_in_training
from reid_runtime.evaluation.embedding import embed_eval_set
from reid_runtime.evaluation.open_set import open_set_points
from reid_runtime.evaluation.saved import eval_set_of_rows, read_saved
from reid_runtime.explain import Explainer
from reid_runtime.io.text import counted, in_one_line
from reid_runtime.jobs import Embeddings, ensure_embeddings_writable, write_embeddings
from reid_runtime.jobs.formats import SUFFIXES
from reid_runtime.matching import SearchPoint
from reid_runtime.matching.rates import percent
from reid_runtime.model_file.contract import Contract
from reid_runtime.report import check_report, write_report
from reid_runtime.report.total_maps import TotalMaps
from reid_runtime.scoring.bootstrap import METRICS
from reid_runtime.scoring.reassociation import GapScore, score_by_gap
from reid_runtime.scoring.reranking import RerankSettings
from reid_runtime.scoring.tracklets import Pooling

_SHOWN_FPIR = 0.01


@click.command(
    "evaluate",
    epilog=examples(
        "reid-runtime evaluate examples/crops --report scores.html",
        "reid-runtime evaluate examples/crops --save base.npz",
    ),
)
@click.argument("folder", required=False, type=click.Path(exists=True, path_type=Path))
@layout_options
@click.option("--multi-query", is_flag=True, help="Average all crops of a query's identity under its camera (gt_bbox).")
@click.option("--rerank", is_flag=True, help="k-reciprocal re-ranking (20, 6, 0.3).")
@click.option("--pooling", type=click.Choice(["mean", "max"]), help="How the frames of a tracklet are pooled.  [mean]")
@click.option(
    "--from", "saved", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Score the vectors of a file that --save wrote; no model runs. May be repeated.",
)  # fmt: skip
@click.option(
    "--gallery-people", multiple=True, type=click.IntRange(min=2), metavar="N",
    help="Searches in galleries of N people, for queries of people who are there and who are not; may be repeated.  "
    "[10, 20, 50 ... all]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with fractions.")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Save the vectors with identity, camera and split ({SUFFIXES}).",
)
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write an HTML page with curves, ranked lists and crops."
)
@click.option("--explain", is_flag=True, help="In the page of --report, show which places make images alike.")
@click.option("--force", is_flag=True, help="Overwrite the files of --save and --report.")
@model_options
def command(
    folder: Path | None,
    multi_query: bool,
    rerank: bool,
    pooling: str | None,
    saved: tuple[Path, ...],
    gallery_people: tuple[int, ...],
    as_json: bool,
    save: Path | None,
    report: Path | None,
    explain: bool,
    force: bool,
    read_as: LayoutChoice,
    chosen: ModelChoice,
) -> None:
    """Score a model on FOLDER: a data set in any layout that `reid-runtime datasets` lists, folders
    identity/camera/image or identity/image of one's own, or a CSV file with columns id, identity, camera, split.

    Prints CMC at ranks 1, 5 and 10, mAP by both definitions in use (finite-sum: the mean of the precision at each
    right answer; trapezoid: the area under the curve, as the original MATLAB code has it), and mINP, each with
    its 95 % interval. The layout is recognised, whatever the counts; with --dataset NAME a folder that is not all
    of that set is refused. What was read is printed first: people, cameras, images, what was passed over, and two
    images with their labels. An evaluation that is interrupted keeps nothing.

    Where the queries are of 20 people or more, searches in galleries of ten people to all follow. FPIR: of queries
    whose person is not in the gallery, the share that gets an answer at the threshold. FNIR: of those whose person is,
    the share that does not get them. With --json all of them are under `open_set`, with intervals: gallery_people,
    fpir, threshold, fnir, fpir_interval, fnir_interval, fpir_prediction.
    """
    read_as.check(folder, "FOLDER")
    _check_usage(saved, chosen, explain=explain, report=report)
    if save is not None:
        ensure_embeddings_writable(save, force)
    if report is not None:
        check_report(report, force)
    rows = read_saved(saved) if saved else None
    if folder is not None:
        eval_set = read_as.eval_set(folder, multi_query=multi_query)
    elif rows is not None:
        eval_set = eval_set_of_rows(rows, saved[0].stem, camera_rule=read_as.camera_rule)
    else:
        raise click.UsageError("Missing argument 'FOLDER'; only --from FILE does without it.")
    if pooling and not (eval_set.tracklets and rows is None):
        raise click.UsageError("--pooling is for tracklets that are embedded here; this set has none")
    if rerank and eval_set.search is not None:
        raise click.UsageError("--rerank takes one gallery for all queries; in a person search each has its own")
    maps = None
    frames: Pooling = "max" if pooling == "max" else "mean"
    settings = EvalSettings(multi_query, RerankSettings() if rerank else None, frames if rows is None else None)
    account = eval_set.account()
    note(*account.lines(eval_set.dataset))
    account.check(eval_set.dataset)
    if rows is None:
        embedder = load_model(chosen)
        maps = TotalMaps(Explainer(embedder)) if explain else None
        contract, name = embedder.contract, embedder.path.name
    else:
        contract = Contract.from_json(rows.contract, str(saved[0]))
        name = contract.name
    warnings = seen_in_training(contract, eval_set)
    note(*warnings)
    if rows is None:
        rows = _embed(eval_set, frames, embedder)
    if save is not None:
        write_embeddings(save, rows, force)
    evaluation = score_rows(eval_set, rows, name, settings)
    if report is not None:
        write_report(report, evaluation, force, maps)
    points = open_set_points(evaluation, gallery_people)
    gaps = score_by_gap(eval_set.search, evaluation.scores)
    more = {"labels": account.report(), "warnings": warnings, "open_set": [asdict(point) for point in points]}
    more["reassociation"] = [asdict(gap) for gap in gaps]
    text = "" if as_json else "\n".join([_text(evaluation), *_by_gap(gaps), *_open_set(points)])
    click.echo(json.dumps(evaluation.report() | more, indent=2) if as_json else text)
    left_out = evaluation.scores.describe_without_answer(eval_set.query.ids, eval_set.query.names)
    note(*([] if left_out is None else [left_out]))


def _check_usage(saved: tuple[Path, ...], chosen: ModelChoice, *, explain: bool, report: Path | None) -> None:
    given = [f"--{name}" for name in ("model", "contract") if getattr(chosen, name) is not None]
    if saved and given:
        raise click.UsageError(f"{' and '.join(given)}: no model runs where --from gives the vectors")
    if explain and (report is None or saved):
        raise click.UsageError("--explain is for a --report of what is embedded here")


def _embed(eval_set: EvalSet, pooling: Pooling, embedder: Embedder) -> Embeddings:
    with progress_bar(len(eval_set.images())) as advance:
        return embed_eval_set(embedder, eval_set, advance, pooling)


def _open_set(points: tuple[SearchPoint, ...]) -> Iterator[str]:
    """FPIR and FNIR at the smallest FPIR from 1 % on that all gallery sizes support, a line a size."""
    sizes = {point.gallery_people for point in points}
    rates = [rate for rate in {point.fpir for point in points} if rate >= _SHOWN_FPIR]
    shared = [rate for rate in rates if {point.gallery_people for point in points if point.fpir == rate} == sizes]
    if shared:
        yield ""
        yield f"{f'searches at FPIR {percent(min(shared))}':<24} threshold    FNIR    95 % interval"
    for point in points:
        if shared and point.fpir == min(shared):
            low, high = point.fnir_interval
            yield (
                f"{point.gallery_people:>9,} {'people':<14} {point.threshold:>9.4f}  {100 * point.fnir:>6.1f}    "
                f"{100 * low:>5.1f} to {100 * high:>5.1f}"
            )


def _by_gap(gaps: list[GapScore]) -> Iterator[str]:
    """A line a gap."""
    if gaps:
        yield ""
        yield f"{'found again after':<17} rank-1    95 % interval    chance    in view    queries of people"
    for gap in gaps:
        rank = gap.rank_1
        shown = "       -" if rank is None else f"{100 * rank.value:>8.1f}"
        between = "" if rank is None else f"{100 * rank.low:.1f} to {100 * rank.high:.1f}"
        yield (
            f"{gap.seconds:>15} s {shown}  {between:>15}  {100 * gap.chance:>8.1f}  {gap.in_view:>9.1f}  "
            f"{gap.queries:>9,} of {gap.people}"
        )


def _text(evaluation: Evaluation) -> str:
    """The scores as a table: percent with one decimal."""
    report, intervals = evaluation.report(), evaluation.intervals()
    width = max(map(len, METRICS.values()))
    lines = [
        *table([(f"{report['dataset']}: {report['protocol']}",)]),
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
    is_search = evaluation.eval_set.search is not None
    among = counted(report["gallery"], "gallery item", "gallery frames a query" if is_search else None)
    lines += ["", f"{report['valid_queries']:,} of {counted(report['queries'], 'query')}, {among}"]
    if intervals is not None:
        lines.append(f"intervals: bootstrap over the {counted(evaluation.people, 'person')} of the queries")
    return "\n".join(map(in_one_line, lines))
