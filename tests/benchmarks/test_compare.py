"""What compare says of reports whose differences are known."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.compare import MARGIN, Change, changes, lost, main, verdict, worse_parity
from benchmarks.environment import environment
from benchmarks.measurements import Parity, Part, Report, ResultError, Row
from benchmarks.stages import STAGES
from benchmarks.timing import QUICK, Interval

from .conftest import row

ENVIRONMENT = environment()


def report(seed, noise=0.03, load=1.0, **slower):
    """A trial's processes, thirty samples each and each somewhat off; what disturbs a sample only adds to it."""
    random = np.random.default_rng(seed)

    def series(unit):
        process = 1 + noise * random.normal(size=QUICK.windows).repeat(30)
        return tuple((unit * process * (1 + random.exponential(0.3, 30 * QUICK.windows))).tolist())

    rows = [
        Row(Part.STAGES, name, 4, series((number + 1) * slower.get(name, 1)), series(6 * load), "tiny", engine="cpu",
            processes=QUICK.windows)
        for number, name in enumerate(STAGES)
    ]  # fmt: skip
    return Report("report", ENVIRONMENT, tuple(rows))


def slower(compared):
    return [each.row.name for each in compared if each.verdict == "slower"]


@pytest.mark.parametrize("stage", STAGES)
def test_slower_stage_is_named_and_no_other(stage):
    compared = changes(report(1), report(2, **{stage: 1.15}))
    assert slower(compared) == [stage]
    assert f"the stage: {stage}" in verdict(compared)


def test_equal_code_gives_no_alarm():
    for seed in range(40):
        compared = changes(report(seed, 0.06), report(1000 + seed, 0.06))
        assert not [each for each in compared if each.verdict in ("slower", "faster")]


def test_slower_machine_is_not_slower_code():
    everything = dict.fromkeys(STAGES, 1.5)
    assert verdict(changes(report(1), report(2, load=1.5, **everything))).startswith("nothing is slower")


def test_noise_is_said():
    assert "too noisy" in verdict(changes(report(1, 0.3), report(2, 0.3)))


def test_faster_is_no_regression():
    compared = changes(report(1), report(2, decode=0.8))
    assert {each.row.name: each.verdict for each in compared}["decode"] == "faster"


@pytest.mark.parametrize(("by", "expected"), [(1.03, "unchanged"), (1.07, "slower"), (0.93, "faster")])
def test_margin_of_five_percent(by, expected):
    """Without any noise the interval is the value, and only MARGIN decides."""
    exact = tuple(float(n) for n in (1, 1, 1, 1))
    before = Report("report", {}, (row(Part.STAGES, exact, processes=4),))
    after = Report("report", {}, (row(Part.STAGES, [by] * 4, processes=4),))
    (compared,) = changes(before, after)
    assert compared.verdict == expected


@pytest.mark.parametrize(("low", "expected"), [(1.04, "unchanged"), (1.06, "slower")])
def test_margin_is_of_the_intervals_end(low, expected):
    assert Change(row(), Interval(1.08, low, 1.1), slower=1.0, margin=MARGIN).verdict == expected


@pytest.mark.parametrize(("by", "expected"), [(1.07, "unchanged"), (1.12, "slower")])
def test_one_process_alone_must_differ_by_more(by, expected):
    before, after = (Report("report", {}, (row(seconds=[value] * 6),)) for value in (1.0, by))
    (compared,) = changes(before, after)
    assert compared.verdict == expected


def written(folder, *reports):
    files = [folder / name for name in ("first.json", "second.json")]
    for file, each in zip(files, reports, strict=True):
        each.write(file)
    return CliRunner().invoke(main, [*map(str, files), "--json"], catch_exceptions=False)


def test_exit_code(tmp_path):
    assert written(tmp_path, report(1), report(2)).exit_code == 0
    worse = written(tmp_path, report(1), report(3, resize=1.15))
    assert worse.exit_code == 1
    assert "the stage: resize" in json.loads(worse.stdout)["verdict"]


def test_lost_case_is_a_failure(tmp_path):
    before = report(1)
    after = dataclasses.replace(before, rows=tuple(each for each in before.rows if each.name != "copy"))
    assert lost(before, after) == ["the stage: copy, tiny, cpu"]
    assert lost(after, before) == []
    outcome = written(tmp_path, before, after)
    assert (outcome.exit_code, json.loads(outcome.stdout)["lost"]) == (1, ["the stage: copy, tiny, cpu"])


def test_other_settings_are_refused():
    other = tuple(dataclasses.replace(each, model="other") for each in report(1).rows)
    with pytest.raises(ResultError, match="no case with the same setting"):
        changes(report(1), Report("report", {}, other))


@pytest.mark.parametrize(("key", "values"), [("threads", (2, 4)), ("budget", ("full", "trial")), ("evidence", "ab")])
def test_other_conditions_are_refused(key, values):
    first, second = (Report("report", {key: value}, report(1).rows) for value in values)
    with pytest.raises(ResultError, match=f"same {key}, found {values[0]} and {values[1]}: run them with"):
        changes(first, second)
    assert changes(first, Report("report", {}, second.rows))  # a report that does not say


def with_parity(**parity):
    return Report("throughput", {}, (row(Part.OFFLINE, (1.0, 1.0), parity=Parity(**parity)),))


def change(by=0.0):
    return {"map_trapezoid_change": Interval(by - 0.01, by - 0.012, by - 0.008)}


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ({"cosine": 0.9999}, {"cosine": 0.99981}, False),
        ({"cosine": 0.9999}, {"cosine": 0.99979}, True),
        ({"cosine": 0.9999}, {"cosine": 1.0}, False),
        ({"cosine": 0.9999}, {"cosine": float("nan")}, True),
        ({"cosine": 0.9999}, {}, True),
        ({}, {"cosine": 0.5}, False),
        (change(), change(-0.003), False),  # the intervals meet
        (change(), change(-0.005), True),
        (change(), change(0.005), False),
    ],
)
def test_worse_parity_and_rounding(before, after, worse, tmp_path):
    lines = worse_parity(with_parity(**before), with_parity(**after))
    assert [line.startswith("offline: m, onnxruntime cpu, float32: the ") for line in lines] == [True] * worse
    outcome = written(tmp_path, with_parity(**before), with_parity(**after))
    assert (outcome.exit_code, json.loads(outcome.stdout)["parity"]) == (int(worse), lines)


def single_stream(turns, smallest=1.0, largest=1.0):
    """Turns over a small and a large crop, one after the other."""
    seconds = [1e-3 * value for turn in range(turns) for value in (smallest, 9 * largest + 1e-3 * (turn % 3))]
    return Report("latency", {}, (row(seconds=seconds, turn=2, load=(1e-3,) * turns),))


def test_series_over_many_sizes_go_by_turns():
    (largest,) = changes(single_stream(10), single_stream(10, largest=1.3))
    assert largest.verdict == "slower"
    assert largest.ratio.value == pytest.approx(1.27, abs=0.005)  # of ten milliseconds a turn nine are the large crop's
    (smallest,) = changes(single_stream(10), single_stream(10, smallest=1.3))
    assert smallest.ratio.value == pytest.approx(1.03, abs=0.005)


@pytest.mark.parametrize(("turns", "count"), [(1, 1), (10, 0)])
def test_too_few_samples_are_said(tmp_path, turns, count):
    outcome = written(tmp_path, single_stream(turns), single_stream(turns))
    assert outcome.stderr.count("too few samples to compare: SingleStream: m") == count
    assert ("no case was timed often enough" in outcome.stdout) == bool(count)
