"""What compare says of reports whose differences are known, and that a stage's time is told as that stage's."""

import dataclasses
import json
import time

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import stages
from benchmarks.compare import changes, main, slower_stages, verdict
from benchmarks.results import YARDSTICK, Report, ResultError, Row, environment
from benchmarks.timing import QUICK, Budget
from reid_runtime import images, resize, storage

from ..pictures import picture

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


def test_each_stage_is_timed_alone(tiny, monkeypatch):
    ticks = Ticks(monkeypatch)
    ticks.spend(images, "load_image", 1.0)
    ticks.spend(resize, "resize", 0.1)
    ticks.spend(images, "to_model_input", 0.01)
    ticks.spend(tiny.backend, "run", 0.001)
    ticks.spend(storage, "write_embeddings", 0.0001)
    budget = Budget(rounds=3, queries=1, warmup=1, windows=1, server_seconds=0, scale=1)
    rows = stages.window(tiny, "cpu", (picture(),), budget)
    middles = {row.case: row.middle for row in rows}
    assert middles["decode"] == pytest.approx(4.0)
    assert middles["resize"] == pytest.approx(0.4)
    assert middles["copy"] == pytest.approx(0.01)  # one batch of four
    assert middles["inference"] == pytest.approx(0.001)
    assert middles["write"] == pytest.approx(0.0001)


def test_windows_become_one_series_in_their_order(tiny):
    parts = [stages.window(tiny, "cpu", (picture(),), QUICK) for _ in range(2)]
    rows = stages.joined(parts)
    assert {row.setting["windows"] for row in rows} == {2}
    assert rows[0].seconds == parts[0][0].seconds + parts[1][0].seconds
