"""An ablation's report: a table a practice beside the paper's numbers, the raw numbers, and the plot."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reid_runtime.io.atomic import atomic_write
from reid_runtime.scoring.bootstrap import Bootstrap, Interval
from reid_runtime.scoring.ranking import Summary
from training.ablation.factors import EQUAL, Direction, Measured, Practice, Setting
from training.ablation.plot import Mark, write_plot
from training.ablation.stats import FEWEST_SEEDS, Difference, differences
from training.ablation.study import Ablation
from training.run.record import code_version

REPORT, RAW, PLOT = "report.md", "report.json", "differences.png"
_MAP = "map_finite_sum"

Verdict = Literal["yes", "no", "not resolved"]


@dataclass(frozen=True)
class Row:
    """One setting of a practice."""

    setting: Setting
    runs: tuple[Summary, ...]
    """By seed."""
    differences: dict[str, Difference] | None
    """From the baseline by measure; None for the baseline itself."""
    measured: Measured | None
    paper_difference: Measured | None
    claim: Direction | None
    """What the paper says of it against what is the baseline here."""

    @property
    def verdict(self) -> Verdict | None:
        """Whether the paper's direction holds; None where the paper has none."""
        if self.claim is None or self.differences is None:
            return None
        difference = self.differences[_MAP]
        found: set[Direction] = set()
        if difference.is_real:
            found.add("better" if difference.both.value > 0 else "worse")
        if difference.is_within(EQUAL / 100):
            found.add("equal")
        return "yes" if self.claim in found else "no" if found else "not resolved"


def write_report(ablation: Ablation, recipe_name: str, seeds: Sequence[int]) -> Path:
    """Write report.json, the plot and report.md, of those seeds; gives the last."""
    tables = {practice: _rows(ablation, practice, seeds) for practice in ablation.practices}
    texts = {
        RAW: json.dumps(_raw(ablation, recipe_name, seeds, tables), indent=2) + "\n",
        REPORT: _text(ablation, recipe_name, seeds, tables),
    }
    for name, text in texts.items():
        with atomic_write(ablation.folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
    marks = {
        f"{practice.title}; baseline: {practice.baseline.name}": [_mark(row) for row in rows if row.differences]
        for practice, rows in tables.items()
    }
    write_plot(ablation.folder / PLOT, marks, f"{recipe_name}, {ablation.judge.name}, {_seeds(seeds).lower()}")
    return ablation.folder / REPORT


def _rows(ablation: Ablation, practice: Practice, seeds: Sequence[int]) -> list[Row]:
    baseline = [ablation.scores("baseline", seed) for seed in seeds]
    rows = []
    for setting in practice.settings:
        own = setting == practice.baseline
        runs = baseline if own else [ablation.scores(practice.label(setting), seed) for seed in seeds]
        rows.append(
            Row(
                setting,
                tuple(run.summary() for run in runs),
                None if own else differences(baseline, runs),
                practice.measured(setting),
                None if own else practice.paper_difference(setting),
                None if own else practice.claim(setting),
            )
        )
    return rows


def _text(ablation: Ablation, recipe_name: str, seeds: Sequence[int], tables: dict[Practice, list[Row]]) -> str:
    lines = [f"# Ablation of {recipe_name}", "", *_facts(ablation, seeds), ""]
    verdicts = [row.verdict for rows in tables.values() for row in rows if row.verdict]
    lines += [
        f"Of {len(verdicts)} differences that the paper states, the direction holds in {verdicts.count('yes')}, does "
        f"not in {verdicts.count('no')}, and is not resolved in {verdicts.count('not resolved')}.",
        "",
        f"![differences in mAP from the baseline]({PLOT})",
    ]
    for practice, rows in tables.items():
        lines += [
            "",
            f"## {practice.title}",
            "",
            "| setting | mAP (finite-sum) | mAP (trapezoid) | rank-1 | difference in mAP | paper, Market / Duke "
            "| paper's difference | direction holds |",
            "|---|---|---|---|---|---|---|---|",
            *map(_line, rows),
        ]
    return "\n".join([*lines, "", *_method(seeds)]) + "\n"


def _facts(ablation: Ablation, seeds: Sequence[int]) -> list[str]:
    recipe, crops = ablation.recipe, ablation.crops
    network, augmentation, ranking = recipe.network, recipe.augmentation, recipe.ranking
    test = ablation.judge.name == "test"
    return [
        f"- Data: {crops.name}, {len(crops.images):,} pictures of {crops.identities:,} people to train on.",
        f"- Baseline: {network.backbone}, {network.size} px, {network.pooling} pooling, {network.dimension} numbers; "
        f"cut-out {augmentation.cut_out:g}, flip {'yes' if augmentation.flip else 'no'}, crop {augmentation.crop:g}; "
        f"identity classification, then ranking on {'hard' if ranking.mining.hardest else 'random'} triplets.",
        f"- Budget of a run: {recipe.classification.epochs} epochs of classification, then {ranking.updates:,} updates "
        f"of ranking with {ranking.triplets} triplets each, the learning rate halved every {ranking.halve_every:,}. "
        f"{_seeds(seeds)}: {len(seeds)} of {ablation.seeds}.",
        f"- Scored on {ablation.judge.describe()}. Single images, no re-ranking, through torch in float32.",
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
        "mAP and rank-1 in percent: the mean over seeds ± their standard deviation. A difference is the setting less "
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
        row.setting.name + (" (baseline)" if row.differences is None else ""),
        *(_spread([getattr(run, name) for run in row.runs]) for name in (_MAP, "map_trapezoid", "rank_1")),
        "" if row.differences is None else _difference(row.differences[_MAP]),
        "" if row.measured is None else f"{row.measured.market:.1f} / {row.measured.duke:.1f}",
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


def _mark(row: Row) -> Mark:
    assert row.differences is not None
    found, paper = row.differences[_MAP], row.paper_difference
    both = found.both
    return Mark(
        row.setting.name,
        Interval(100 * both.value, 100 * both.low, 100 * both.high),
        found.is_real,
        None if paper is None else (paper.market, paper.duke),
    )


def _raw(
    ablation: Ablation, recipe_name: str, seeds: Sequence[int], tables: dict[Practice, list[Row]]
) -> dict[str, Any]:
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
        "scored_on": ablation.judge.name,
        "scored": ablation.judge.describe(),
        "test_scorings": ablation.scored if ablation.judge.name == "test" else 0,
        "level": Bootstrap().level,
        "code": code_version(),
        "practices": {practice.name: [_raw_row(practice, row) for row in rows] for practice, rows in tables.items()},
    }


def _raw_row(practice: Practice, row: Row) -> dict[str, Any]:
    return {
        "setting": row.setting.name,
        "label": practice.label(row.setting),
        "runs": [dataclasses.asdict(run) for run in row.runs],
        "differences": None
        if row.differences is None
        else {name: _raw_difference(found) for name, found in row.differences.items()},
        "paper": _raw_paper(row.measured),
        "paper_difference": _raw_paper(row.paper_difference),
        "claim": row.claim,
        "direction_holds": row.verdict,
    }


def _raw_difference(found: Difference) -> dict[str, Any]:
    parts = {"people": found.people, "seeds": found.seeds, "people_and_seeds": found.both}
    intervals = {name: None if part is None else [part.low, part.high] for name, part in parts.items()}
    return {"value": found.both.value, **intervals, "real": found.is_real}


def _raw_paper(measured: Measured | None) -> dict[str, float] | None:
    if measured is None:
        return None
    return {"market1501": round(measured.market / 100, 4), "dukemtmc-reid": round(measured.duke / 100, 4)}
