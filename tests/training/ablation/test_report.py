from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.scoring.bootstrap import Interval
from reid_runtime.scoring.ranking import Summary
from training.ablation.factors import factor
from training.ablation.report import _line
from training.ablation.results import Row
from training.ablation.stats import Difference
from training.recipe import Recipe


def row(low, high, claim, seeds=3):
    """A row whose difference in mAP has this interval, in points; nearly all of it over seeds."""
    value = (low + high) / 200
    people = Interval(value, value - 1e-6, value + 1e-6)
    actual = Difference(people, Interval(value, low / 100, high / 100), seeds)
    pooling = factor("pooling", Recipe())
    summary = Summary(0.9, 0.9, 0.9, 0.7, 0.69, 0.4, 10, 10, 20)
    runs = (summary, replace(summary, map_finite_sum=0.72))
    variant = pooling.variants[0]
    differences = {"map_finite_sum": actual}
    return Row(variant, runs, differences, pooling.paper_score(variant), pooling.paper_difference(variant), claim)


@pytest.mark.parametrize(
    ("low", "high", "claim", "seeds", "verdict"),
    [
        (-3, -1, "worse", 3, "yes"),
        (1, 3, "better", 3, "yes"),
        (1, 3, "worse", 3, "no"),
        (-3, -1, "better", 3, "no"),
        (-1, 3, "better", 3, "not resolved"),
        (1, 3, "better", 2, "not resolved"),
        (-0.3, 0.4, "equal", 3, "yes"),
        (-0.3, 0.4, "worse", 3, "no"),
        (-0.4, -0.1, "worse", 3, "yes"),
        (-0.4, -0.1, "equal", 3, "yes"),
        (-0.3, 0.4, "equal", 2, "not resolved"),
        (-0.3, 0.6, "equal", 3, "not resolved"),
        (1, 3, "equal", 3, "no"),
        (1, 3, None, 3, None),
    ],
)
def test_a_direction_holds_where_it_is_certain(low, high, claim, seeds, verdict):
    assert row(low, high, claim, seeds).verdict == verdict


def test_real_differences_are_bold():
    cells = [cell.strip() for cell in _line(row(-3, -1, "worse")).split("|")[1:-1]]
    assert cells == [
        "average",
        "71.0 ± 1.4",
        "69.0 ± 0.0",
        "90.0 ± 0.0",
        "**-2.0 [-3.0, -1.0]**",
        "80.1 / 71.4",
        "-1.1 / -1.5, worse",
        "yes",
    ]
    assert "| -2.0 [-3.0, -1.0] |" in _line(row(-3, -1, "worse", seeds=2))
    assert _line(replace(row(-3, -1, None), differences=None)).startswith("| average (baseline) | ")
