"""How costs grow: exponents of growth that is known, and what is timed along each axis."""

import numpy as np
import pytest

from benchmarks.measurements import Part, Row
from benchmarks.scaling import GALLERIES, measure_scaling
from benchmarks.tables import axes_of, exponent, tables
from export.gate import EXAMPLES

from .conftest import setup_of


def axis(power, noise=0.0):
    random = np.random.default_rng(0)
    return [
        Row(Part.SCALING, "area", n, tuple(n**power * np.exp(noise * random.normal(size=21))), model="m")
        for n in (4, 1, 16)
    ]


@pytest.mark.parametrize(("power", "worse"), [(1.0, False), (1.5, True)])
def test_exponent_of_the_cost(power, worse):
    rows = axis(power, noise=0.05)
    (ordered,) = axes_of(rows)
    assert [row.items for row in ordered] == [1, 4, 16]
    growth = exponent(ordered)
    assert growth.value == pytest.approx(power, abs=0.05)
    assert growth.low < power < growth.high
    (table,) = tables(rows)
    (line,) = table.lines
    assert ("worse than linear" in line[-1]) is worse
    assert "times the time from 1 to 16" in line[-1]
    assert "3 of 3 series stable" in tables(axis(power))[0].lines[0][-1]


def test_every_axis_is_measured(tiny_model):
    setup = setup_of([tiny_model], EXAMPLES)
    (case,), _ = setup.cases()
    axes = {rows[0].name: rows for rows in axes_of(measure_scaling(setup, case).rows)}
    values = {name: [row.items for row in rows] for name, rows in axes.items()}
    assert values["image area, engine alone"] == [64 * 32, 128 * 64, 256 * 128]
    assert values["batch, engine alone"] == [1, 4, 16]
    assert values["crops of a frame"] == [4, 16]
    assert values[GALLERIES[0]] == [1000, 4000]
    for name, rows in axes.items():
        assert all((row.model == "") == (name in GALLERIES) for row in rows)
        assert all(row.parity.is_reference == (name not in GALLERIES) for row in rows)
