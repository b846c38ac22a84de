"""The page of an evaluation: its sections in their order, and the writing of the file."""

from pathlib import Path

from reid_runtime.evaluation.evaluate import Evaluation
from reid_runtime.io.text import counted
from reid_runtime.report.cameras import camera_pairs
from reid_runtime.report.charts import cmc_curve, precision_histogram
from reid_runtime.report.document import check_report, document, facts, write_page
from reid_runtime.report.markup import escaped, percent
from reid_runtime.report.ranked import ranked_lists
from reid_runtime.report.separation import separation
from reid_runtime.report.total_maps import TotalMaps
from reid_runtime.scoring.bootstrap import METRICS, Bootstrap, Interval

_HEADLINE = "map_finite_sum"
"""The metric whose tile comes first."""


def write_report(path: Path, evaluation: Evaluation, force: bool = False, maps: TotalMaps | None = None) -> None:
    """Write the page of an evaluation, all of it or nothing; raises StorageError. `maps` add why images are alike."""
    check_report(path, force)
    write_page(path, page(evaluation, maps))


def page(evaluation: Evaluation, maps: TotalMaps | None = None) -> str:
    """The HTML of an evaluation; the same evaluation gives the same text."""
    eval_set, scores = evaluation.eval_set, evaluation.scores
    left_out = scores.describe_without_answer(eval_set.query.ids, eval_set.query.names)
    body = f"""<header class="top">
<p class="kind">Person re-identification: evaluation</p>
<h1>{escaped(eval_set.dataset)}</h1>
{_facts(evaluation)}
</header>
<main>
<section aria-labelledby="scores">
<h2 id="scores">Scores</h2>
{_tiles(evaluation)}
{"" if left_out is None else f'<p class="notice"><b>Left out:</b> {escaped(left_out)}.</p>'}
</section>
<section aria-labelledby="curves">
<h2 id="curves">Ranks and precision</h2>
<div class="charts"><div>{cmc_curve(scores)}</div><div>{precision_histogram(scores)}</div></div>
</section>
<section aria-labelledby="separation">
<h2 id="separation">Same person or not</h2>
{separation(evaluation)}
</section>
<section aria-labelledby="queries">
<h2 id="queries">Ranked lists</h2>
<p>Queries are chosen by average precision, each of another person where there are enough people. A right answer has
a ✓ and a solid frame, a wrong one a ✗ and a dashed frame. Entries that the protocol ignores are not listed.</p>
{ranked_lists(evaluation, maps)}
</section>
<section aria-labelledby="cameras">
<h2 id="cameras">Pairs of cameras</h2>
{camera_pairs(evaluation)}
</section>
</main>
<footer>
<p>{escaped(evaluation.protocol)}.</p>
<p>mAP (finite-sum) is the mean of the precision at each right answer. mAP (trapezoid) is the area under the
precision-recall curve, as Market-1501's own code measures it. Do not compare one with the other.</p>
</footer>"""
    return document(f"{eval_set.dataset}: {evaluation.model}", body)


def _facts(evaluation: Evaluation) -> str:
    scores = evaluation.scores
    valid = int(scores.valid.sum())
    values = {
        "Model": evaluation.model,
        "Contract": evaluation.contract_id,
        "Queries": f"{valid:,} of {len(scores):,}, of {counted(evaluation.people, 'person')}",
        "Gallery": f"{counted(scores.gallery, 'item', 'frames a query' if evaluation.eval_set.search else None)}",
        "Protocol": evaluation.protocol.split(";")[0] + (", re-ranked" if evaluation.settings.rerank else ""),
    }
    return facts(values)


def _tiles(evaluation: Evaluation) -> str:
    report, intervals = evaluation.report(), evaluation.intervals()
    tiles = "".join(
        _tile(METRICS[key], report[key], None if intervals is None else intervals[key])
        for key in sorted(METRICS, key=lambda key: key != _HEADLINE)
    )
    note = (
        "There are no intervals: all queries are of one person."
        if intervals is None
        else f"The bars are {100 * Bootstrap().level:.0f} % intervals of a bootstrap over "
        f"{counted(evaluation.people, 'person')} ({Bootstrap().count:,} draws)."
    )
    return f'<ul class="tiles">{tiles}</ul><p class="aside">{note}</p>'


def _tile(metric: str, value: float, interval: Interval | None) -> str:
    title, _, kind = metric.rstrip(")").partition(" (")
    bar = ""
    if interval is not None:
        style = f"--low:{interval.low:.4f};--high:{interval.high:.4f};--at:{value:.4f}"
        bar = (
            f'<span class="range" style="{style}" aria-hidden="true"><i></i><b></b></span>'
            f'<span class="between">{percent(interval.low)} to {percent(interval.high)}</span>'
        )
    return (
        f'<li><span class="title">{title} <small>{kind}</small></span>'
        f'<span class="number">{percent(value)}<small>%</small></span>{bar}</li>'
    )
