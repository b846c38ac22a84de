"""How costs grow: exponents of growth that is known, and whether the engine or the rest grew."""

import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cases import setup_from
from benchmarks.measurements import Row, shown
from benchmarks.scaling import AREA, FRAME, GALLERY, PART, THREADS, axes_of, exponent, measure_growth, told
from benchmarks.timing import QUICK
from export.gate import EXAMPLES


def axis(name, power, noise=0.0):
    random = np.random.default_rng(0)
    return [
        Row(str(n), {"axis": name, "model": "m"}, tuple(n**power * np.exp(noise * random.normal(size=21))), n, {}, PART)
        for n in (4, 1, 16)
    ]


@pytest.mark.parametrize(("power", "said"), [(1.0, "not worse than linear"), (1.5, "worse than linear, from 1 to 4")])
def test_growth_is_the_exponent_of_the_cost(power, said):
    (rows,) = axes_of(axis(AREA, power, noise=0.05)).values()
    assert [row.items for row in rows] == [1, 4, 16]
    assert exponent(rows).value == pytest.approx(power, abs=0.05)
    assert exponent(rows).low < power < exponent(rows).high
    assert said in told(AREA, rows)


def test_the_steps_that_are_steeper_than_linear_are_said():
    rows = [Row(str(n), {}, (cost,) * 9, n, {}, PART) for n, cost in ((1, 1.0), (2, 2.0), (4, 16.0))]
    assert told(AREA, rows).endswith("worse than linear, from 2 to 4 3.00 (3.00 to 3.00)")
    assert "4 threads are 0.06 times as fast as 1" in told(THREADS, rows)


def test_a_step_that_only_noise_makes_steep_is_not_named():
    rows = [
        Row(str(n), {}, tuple(cost * factor for factor in factors), n, {}, PART)
        for n, cost, factors in ((1, 1.0, (1, 1, 1) * 3), (2, 2.2, (0.5, 1, 2) * 3), (4, 4.8, (1, 1, 1) * 3))
    ]
    assert told(AREA, rows).endswith("by no single step of it for certain")


def test_a_steep_step_says_whether_the_engine_grew_and_what_it_had_to_do():
    facts = [
        {"engine_share": share, "batches": batches, "pixels": 1000.0 * batches}
        for share, batches in ((0.5, 1), (0.75, 2))
    ]
    rows = [
        Row(str(n), {}, (cost,) * 9, n, some, PART) for (n, cost), some in zip(((1, 1.0), (2, 4.0)), facts, strict=True)
    ]
    # Of 1 s the engine took 0.5, of 4 s it took 3: six times as much, and the rest twice as much.
    assert told(FRAME, rows).endswith(
        "from 1 to 2 2.00 (2.00 to 2.00): the engine's part 2.58, the rest 1.00; "
        "batches: 1 of 1,000 pixels in all, then 2 of 2,000 pixels in all"
    )


def test_the_engine_is_clocked_inside_the_calls_and_its_pixels_are_counted(tiny_model, monkeypatch):
    setup = setup_from([tiny_model], ["cpu"], None, EXAMPLES, None, None, 1, True)
    setup = replace(setup, budget=replace(QUICK, rounds=2))
    (subject,), _ = setup.subjects()
    engine = type(subject.embedder.backend)
    run = engine.run

    def slow(self, images):
        time.sleep(0.02)
        return run(self, images)

    monkeypatch.setattr(engine, "run", slow)
    rows = shown(measure_growth(setup, subject).rows)
    facts = {(row.setting["axis"], row.items): row.facts for row in rows}
    few, many = facts[FRAME, 4], facts[FRAME, 16]
    assert 0.3 < few["engine_share"] < 1
    assert few["pixels"] < many["pixels"]
    assert facts[AREA, 64 * 32]["pixels"] == 64 * 32
    assert facts[AREA, 64 * 32]["engine_share"] > 0.9
    assert {axis for (axis, _), some in facts.items() if "engine_share" not in some} == {GALLERY}
    assert {axis for (axis, _), some in facts.items() if "cosine" not in some} == {GALLERY}
