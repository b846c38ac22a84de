"""What compare says of reports whose differences are known, and that a stage's time is told as that stage's."""

import dataclasses
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import stages
from benchmarks.cases import Subject, setup_from
from benchmarks.compare import changes, lost, main, slower_stages, too_short, verdict, worse_parity
from benchmarks.inputs import write_files
from benchmarks.measurements import YARDSTICK, Report, ResultError, Row, environment
from benchmarks.timing import QUICK, Budget
from reid_runtime import embedder as embedding
from reid_runtime import jobs as storage
from reid_runtime.batching import WINDOW
from reid_runtime.images import decode as images

from ..sample_images import sample_image

SETTING = {"model": "tiny", "device": "cpu", "windows": QUICK.windows}


def report(seed, noise=0.03, **slower):
    """A trial's processes, thirty samples each and each somewhat off; what disturbs a sample only adds to it."""
    random = np.random.default_rng(seed)
    rows = []
    for place, name in enumerate((*stages.STAGES, YARDSTICK)):
        process = 1 + noise * random.normal(size=QUICK.windows).repeat(30)
        seconds = (place + 1) * process * (1 + random.exponential(0.3, 30 * QUICK.windows)) * slower.get(name, 1)
        rows.append(Row(name, SETTING, tuple(seconds.tolist()), 4, {}, stages.PART))
    return Report("stages", environment(), tuple(rows))


@pytest.mark.parametrize("stage", stages.STAGES)
def test_a_stage_that_became_15_percent_slower_is_named_and_no_other(stage):
    found = changes(report(1), report(2, **{stage: 1.15}))
    assert [each.row.case for each in slower_stages(found)] == [stage]
    assert repr(stage) in verdict(found)


def test_equal_code_gives_no_alarm():
    for seed in range(40):
        found = changes(report(seed, 0.06), report(1000 + seed, 0.06))
        assert not [each for each in found if each.verdict in ("slower", "faster")]


def test_a_slower_machine_is_not_slower_code():
    everything = dict.fromkeys((*stages.STAGES, YARDSTICK), 1.5)
    assert verdict(changes(report(1), report(2, **everything))).startswith("nothing is slower")


def test_what_is_too_noisy_is_said_to_be():
    assert "too noisy" in verdict(changes(report(1, 0.3), report(2, 0.3)))


def test_what_became_faster_is_no_regression():
    found = changes(report(1), report(2, decode=0.8))
    assert {each.row.case: each.verdict for each in found}["decode"] == "faster"


def test_the_exit_code_says_whether_something_is_slower(tmp_path):
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for file, made in zip(files, (report(1), report(2), report(3, resize=1.15)), strict=True):
        made.write(file)
    same = CliRunner().invoke(main, [str(files[0]), str(files[1])])
    assert same.exit_code == 0, same.output
    worse = CliRunner().invoke(main, [str(files[0]), str(files[2]), "--json"])
    assert worse.exit_code == 1
    told = json.loads(worse.stdout)
    assert "the stage 'resize'" in told["verdict"]


def test_reports_of_different_settings_are_refused():
    other = tuple(dataclasses.replace(row, setting={"model": "other"}) for row in report(1).rows)
    with pytest.raises(ResultError, match="no case with the same setting"):
        changes(report(1), Report("stages", {}, other))


def test_a_case_that_is_gone_is_named_and_is_a_failure(tmp_path):
    before = report(1)
    after = dataclasses.replace(before, rows=tuple(row for row in before.rows if row.case not in ("copy", YARDSTICK)))
    assert lost(before, after) == ["stages: the stage 'copy' (tiny, cpu)"]
    assert lost(after, before) == []
    told = compared(tmp_path, before, after)
    assert told.exit_code == 1
    assert json.loads(told.stdout)["lost"] == ["stages: the stage 'copy' (tiny, cpu)"]


def compared(folder, *reports):
    files = [folder / name for name in ("first.json", "second.json")]
    for file, each in zip(files, reports, strict=True):
        each.write(file)
    return CliRunner().invoke(main, [*map(str, files), "--json"], catch_exceptions=False)


def with_facts(**facts):
    return Report("throughput", {}, (Row("model, engine", {}, (1.0, 1.0), 1, facts, "Offline"),))


MAP = {"map_trapezoid_change": -0.01, "map_trapezoid_change_low": -0.012, "map_trapezoid_change_high": -0.008}


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ({"cosine": 0.9999}, {"cosine": 0.99981}, False),
        ({"cosine": 0.9999}, {"cosine": 0.99979}, True),
        ({"cosine": 0.9999}, {"cosine": 1.0}, False),
        ({"cosine": 0.9999}, {"cosine": float("nan")}, True),
        ({"cosine": 0.9999}, {}, True),
        ({}, {"cosine": 0.5}, False),
        (MAP, {name: value - 0.003 for name, value in MAP.items()}, False),  # the intervals meet
        (MAP, {name: value - 0.005 for name, value in MAP.items()}, True),
        (MAP, {name: value + 0.005 for name, value in MAP.items()}, False),
    ],
)
def test_worse_parity_is_told_from_rounding(before, after, worse, tmp_path):
    found = worse_parity(with_facts(**before), with_facts(**after))
    assert [line.startswith("Offline: model, engine: the ") for line in found] == [True] * worse
    told = compared(tmp_path, with_facts(**before), with_facts(**after))
    assert (told.exit_code, json.loads(told.stdout)["parity"]) == (int(worse), found)


@pytest.mark.parametrize(("key", "values"), [("threads", (2, 4)), ("budget", ("full", "trial")), ("evidence", "ab")])
def test_reports_of_other_conditions_are_refused(key, values):
    first, second = (Report("stages", {key: value}, report(1).rows) for value in values)
    with pytest.raises(ResultError, match=f"same {key}, found {values[0]} and {values[1]}: run them with"):
        changes(first, second)
    assert changes(first, Report("stages", {}, second.rows))  # a report that does not say


def single_stream(turns, smallest=1.0, largest=1.0):
    """Turns over a small and a large crop, one after the other."""
    seconds = tuple(1e-3 * value for turn in range(turns) for value in (smallest, 9 * largest + 1e-3 * (turn % 3)))
    setting = {"turn": 2}
    yard = Row(YARDSTICK, setting, (1e-3,) * turns, 1, {}, "SingleStream")
    return Report("latency", {}, (Row("model", setting, seconds, 1, {}, "SingleStream"), yard))


def test_series_over_many_sizes_are_compared_by_whole_turns():
    (largest,) = changes(single_stream(10), single_stream(10, largest=1.3))
    assert largest.verdict == "slower"
    assert largest.ratio.value == pytest.approx(1.27, abs=0.005)  # of ten milliseconds a turn nine are the large crop's
    (smallest,) = changes(single_stream(10), single_stream(10, smallest=1.3))
    assert smallest.ratio.value == pytest.approx(1.03, abs=0.005)


def test_what_has_too_few_samples_to_be_compared_is_said():
    few = single_stream(1)
    found = changes(few, few)
    assert found == []
    assert too_short(few, few, found) == ["SingleStream: model"]
    assert verdict(found) == "no case was timed often enough to compare"
    enough = single_stream(10)
    assert too_short(enough, enough, changes(enough, enough)) == []


class Ticks:
    """Time that passes only within the named functions, so much a call."""

    def __init__(self, monkeypatch):
        self.now, self.cost = 0.0, {}
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        self.patch = monkeypatch.setattr

    def spend(self, module, name, seconds):
        real = getattr(module, name)

        def slow(*arguments, **named):
            self.now += seconds
            return real(*arguments, **named)

        self.patch(module, name, slow)


def test_each_stage_is_timed_alone(tiny, monkeypatch, tmp_path):
    ticks = Ticks(monkeypatch)
    ticks.spend(images, "load_image", 1.0)
    # As the embedder calls them: what a folder goes through is what is measured.
    ticks.spend(embedding, "resize", 0.1)
    ticks.spend(embedding, "to_model_input", 0.01)
    ticks.spend(tiny.backend, "run", 0.001)
    ticks.spend(storage, "write_embeddings", 0.0001)
    monkeypatch.setattr(stages, "_ROUNDS", 3)
    budget = Budget(rounds=3, queries=1, warmup=1, windows=1, server_seconds=0, scale=1)
    rows = stages.window(tiny, write_files(tmp_path, (sample_image(),), stages.CROPS), budget)
    middles = {row.case: (row.middle, row.items) for row in rows if row.case != YARDSTICK}
    assert middles == {
        "decode": (pytest.approx(4.0), 4),
        "resize": (pytest.approx(0.4), 4),
        "copy": (pytest.approx(0.01), 4),  # one batch of four
        "inference": (pytest.approx(0.001), 4),
        "write": (pytest.approx(0.0001), WINDOW),
    }
    assert {(row.setting["model"], row.setting["device"]) for row in rows} == {("tiny", "onnxruntime cpu")}
    cells = [line.split() for line in stages.as_table(rows).splitlines()[1:]]
    assert {stage: (each, share) for *_, stage, each, share, _ in cells} == {
        "decode": ("1000.000", "90.7"),
        "resize": ("100.000", "9.1"),
        "copy": ("2.500", "0.2"),
        "inference": ("0.250", "0.0"),
        "write": ("0.000", "0.0"),
    }


def test_the_table_that_is_written_has_as_many_rows_as_its_stage_says(tiny, tmp_path):
    files = write_files(tmp_path, (sample_image(),), stages.CROPS)
    stages.stages(tiny, files, tmp_path)["write"]()
    assert len(storage.read_embeddings(tmp_path / "embeddings.npz").id) == WINDOW


def test_windows_become_one_series_in_their_order():
    parts = [
        [Row(case, {"windows": 1}, (place, place + 0.5), items, {}, stages.PART) for case, items in STAGE_ITEMS]
        for place in (1.0, 2.0)
    ]
    rows = stages.joined(parts)
    assert [(row.case, row.items) for row in rows] == STAGE_ITEMS
    assert {(row.seconds, row.setting["windows"]) for row in rows} == {((1.0, 1.5, 2.0, 2.5), 2)}


STAGE_ITEMS = [("decode", 4), ("write", WINDOW)]


def test_the_processes_measure_the_pictures_of_the_crops(tiny, tmp_path, monkeypatch):
    crops, seen = tmp_path / "crops", []
    crops.mkdir()
    write_files(crops, (np.full((64, 32, 3), (200, 40, 90), np.uint8),), 2)
    setup = setup_from([tiny.path], ["cpu"], None, crops, None, None, threads=None, quick=True)
    setup = dataclasses.replace(setup, budget=dataclasses.replace(setup.budget, windows=1))

    def started(words, **_):
        folder = Path(words[words.index("--crops") + 1])
        seen.extend(images.load_image(path) for path in sorted(folder.iterdir()))
        rows = [Row(stage, {}, (0.001, 0.001), stages.CROPS, {}, stages.PART) for stage in stages.STAGES]
        return subprocess.CompletedProcess(words, 0, stdout=json.dumps([dataclasses.asdict(row) for row in rows]))

    monkeypatch.setattr(subprocess, "run", started)
    found = stages.measure_stages(setup, [Subject(tiny, "cpu", parity={"cosine": 0.998})])
    assert {row.case: row.facts.get("cosine") for row in found.rows} == dict.fromkeys(stages.STAGES) | {
        "inference": 0.998
    }
    assert len(seen) == stages.CROPS
    assert all(np.abs(pixels.astype(int) - (200, 40, 90)).max() < 6 for pixels in seen)
