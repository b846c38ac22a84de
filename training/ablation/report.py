"""An ablation's report: a table a factor beside the paper's numbers, the raw numbers, and the plot."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.io.atomic import atomic_write
from reid_runtime.scoring.bootstrap import Bootstrap
from training.ablation.factors import EQUAL, Factor, PaperScore
from training.ablation.plot import write_plot
from training.ablation.results import MAP, Row, rows_of
from training.ablation.stats import FEWEST_SEEDS, Difference
from training.ablation.study import Ablation
from training.run.record import code_version

REPORT, RAW, PLOT = "report.md", "report.json", "differences.png"


def write_report(ablation: Ablation, recipe_name: str, seeds: Sequence[int]) -> Path:
    """Write report.json, the plot and report.md, of those seeds; gives the last."""
    tables = {factor: rows_of(ablation, factor, seeds) for factor in ablation.factors}
    texts = {
        RAW: json.dumps(_raw(ablation, recipe_name, seeds, tables), indent=2) + "\n",
        REPORT: _text(ablation, recipe_name, seeds, tables),
    }
    for name, text in texts.items():
        with atomic_write(ablation.folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_plot(ablation.folder / PLOT, tables, f"{recipe_name}, {ablation.evaluator.name}, {_seeds(seeds).lower()}")
    return ablation.folder / REPORT


def _text(ablation: Ablation, recipe_name: str, seeds: Sequence[int], tables: dict[Factor, list[Row]]) -> str:
    lines = [f"# Ablation of {recipe_name}", "", *_facts(ablation, seeds), ""]
    verdicts = [row.verdict for rows in tables.values() for row in rows if row.verdict]
    lines += [
        f"Of {len(verdicts)} differences that the paper states, the direction holds in {verdicts.count('yes')}, does "
        f"not in {verdicts.count('no')}, and is not resolved in {verdicts.count('not resolved')}.",
        "",
        f"![differences in mAP from the baseline]({PLOT})",
    ]
    for factor, rows in tables.items():
        lines += [
            "",
            f"## {factor.title}",
            "",
            "| variant | mAP (finite-sum) | mAP (trapezoid) | rank-1 | difference in mAP | paper, Market / Duke "
            "| paper's difference | direction holds |",
            "|---|---|---|---|---|---|---|---|",
            *map(_line, rows),
        ]
    return "\n".join([*lines, "", *_method(seeds)]) + "\n"


def _facts(ablation: Ablation, seeds: Sequence[int]) -> list[str]:
    recipe, crops = ablation.recipe, ablation.crops
    network, augmentation, ranking = recipe.network, recipe.augmentation, recipe.ranking
    test = ablation.evaluator.name == "test"
    return [
        f"- Data: {crops.name}, {len(crops.images):,} images of {crops.identities:,} people to train on.",
        f"- Baseline: {network.backbone}, {network.size} px, {network.pooling} pooling, {network.dimension} numbers; "
        f"cut-out {augmentation.cut_out:g}, flip {'yes' if augmentation.flip else 'no'}, crop {augmentation.crop:g}; "
        f"identity classification, then ranking on {'hard' if ranking.mining.hardest else 'random'} triplets.",
        f"- Budget of a run: {recipe.classification.epochs} epochs of classification, then {ranking.updates:,} updates "
        f"of ranking with {ranking.triplets} triplets each, the learning rate halved every {ranking.halve_every:,}. "
        f"{_seeds(seeds)}: {len(seeds)} of {ablation.seeds}.",
        f"- Scored on {ablation.evaluator.describe()}. Single images, no re-ranking, through torch in float32.",
        "- Nothing is chosen by these scores: each run is scored once, after its last update. "
        + (
            f"In this folder the query and the gallery have been scored {ablation.scored} times."
            if test
            else "The data set's own query and gallery were not used."
        ),
    ]


def _method(seeds: Sequence[int]) -> list[str]:
    few = f" These are {len(seeds)}." if len(seeds) < FEWEST_SEEDS else ""
    return [
        "## How to read it",
        "",
        "mAP and rank-1 in percent: the mean over seeds ± their standard deviation. A difference is the variant less "
        "the baseline in points of mAP (finite-sum), runs of one seed and the same queries paired. Its 95 % interval "
        f"is over people (bootstrap, {Bootstrap().count:,} draws) and over seeds (Student's t), the lengths to each "
        "side added by their squares; of one seed it is over people alone. A difference is real, **bold**, where there "
        f"are {FEWEST_SEEDS} seeds or more and the interval leaves out zero.{few} Each interval stands for itself: of "
        "20 differences that are nothing, one is expected to look real.",
        "",
        "The paper's numbers are percent mAP on Market-1501 and DukeMTMC-reID with its own network and budget, "
        "ResNet-101 at 416 pixels, from arXiv 1801.05339; its difference is to what is the baseline here. By the mean "
        f"of both data sets it is called better, worse, or, below {EQUAL:g} points, equal. The direction holds (yes) "
        f"where our difference is real and has its sign, or, for equal, where our whole interval is below {EQUAL:g} "
        "points; it does not (no) where one of the others is as certain; else it is not resolved. All of this is at "
        "this budget: where ranking has few updates, what concerns ranking alone can hardly differ. Of mining the "
        "paper says that it is critical, without a number.",
    ]


def _line(row: Row) -> str:
    cells = [
        row.variant.name + (" (baseline)" if row.differences is None else ""),
        *(_spread([getattr(run, name) for run in row.runs]) for name in (MAP, "map_trapezoid", "rank_1")),
        "" if row.differences is None else _difference(row.differences[MAP]),
        "" if row.paper is None else f"{row.paper.market:.1f} / {row.paper.duke:.1f}",
        _claimed(row),
        row.verdict or "",
    ]
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    mean = f"{100 * float(np.mean(values)):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * float(np.std(values, ddof=1)):.1f}"


def _difference(difference: Difference) -> str:
    both = difference.both
    text = f"{_points(100 * both.value)} [{_points(100 * both.low)}, {_points(100 * both.high)}]"
    return f"**{text}**" if difference.is_real else text


def _claimed(row: Row) -> str:
    paper = row.paper_difference
    if paper is not None:
        return f"{_points(paper.market)} / {_points(paper.duke)}, {row.claim}"
    return "" if row.claim is None else f"{row.claim}, in words"


def _points(points: float) -> str:
    """With their sign; what rounds to nothing has none."""
    rounded = round(points, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'Seed' if len(seeds) == 1 else 'Seeds'} {', '.join(map(str, seeds))}"


def _raw(ablation: Ablation, recipe_name: str, seeds: Sequence[int], tables: dict[Factor, list[Row]]) -> dict[str, Any]:
    """Plain values; scores are fractions, the paper's too."""
    return {
        "recipe_name": recipe_name,
        "recipe": ablation.recipe.as_dict(),
        "seeds": list(seeds),
        "seeds_asked_for": ablation.seeds,
        "data": {
            "name": ablation.crops.name,
            "trained_on": len(ablation.crops.images),
            "people": ablation.crops.identities,
            "digest": ablation.crops.digest,
        },
        "scored_on": ablation.evaluator.name,
        "scored": ablation.evaluator.describe(),
        "test_scorings": ablation.scored if ablation.evaluator.name == "test" else 0,
        "level": Bootstrap().level,
        "code": code_version(),
        "factors": {factor.name: [_raw_row(factor, row) for row in rows] for factor, rows in tables.items()},
    }


def _raw_row(factor: Factor, row: Row) -> dict[str, Any]:
    return {
        "variant": row.variant.name,
        "label": factor.label(row.variant),
        "runs": [dataclasses.asdict(run) for run in row.runs],
        "differences": row.differences and {name: _raw_difference(one) for name, one in row.differences.items()},
        "paper": _raw_paper(row.paper),
        "paper_difference": _raw_paper(row.paper_difference),
        "claim": row.claim,
        "direction_holds": row.verdict,
    }


def _raw_difference(difference: Difference) -> dict[str, Any]:
    parts = {"people": difference.people, "seeds": difference.seeds, "people_and_seeds": difference.both}
    intervals = {name: None if part is None else [part.low, part.high] for name, part in parts.items()}
    return {"value": difference.both.value, **intervals, "real": difference.is_real}


def _raw_paper(score: PaperScore | None) -> dict[str, float] | None:
    if score is None:
        return None
    return {"market1501": round(score.market / 100, 4), "dukemtmc-reid": round(score.duke / 100, 4)}
