"""That the command which plants slowdowns slows what it says and judges compare's answers; nothing here is timed."""

import time

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import planted, stages
from benchmarks.results import YARDSTICK, Row, read_report
from benchmarks.subjects import SubjectError, setup_from
from export.gate import EXAMPLES
from reid_runtime import jobs as storage
from reid_runtime.embedder import Embedder
from reid_runtime.errors import StorageError
from reid_runtime.images import decode as images

from ..pictures import picture

BY = 0.15


def windows(monkeypatch, slows=lambda stage: stage):
    """Windows without processes: `slows` says which stage really takes longer where another was asked for."""
    random = np.random.default_rng(0)

    def window(model, device, crops, setup, command):
        assert len(list(crops.iterdir())) == stages.CROPS
        asked = command[command.index("--stage") + 1] if "--stage" in command else None
        by = float(command[command.index("--by") + 1])
        rows = []
        for place, name in enumerate((*stages.STAGES, YARDSTICK)):
            seconds = (place + 1) * (1 + 0.01 * random.normal()) * (1 + random.exponential(0.2, 30))
            seconds *= 1 + by if name == slows(asked) else 1
            rows.append(Row(name, {"windows": 1}, tuple(seconds.tolist()), 4, {}, stages.PART))
        return rows

    monkeypatch.setattr(planted, "window_apart", window)


def invoke(*words):
    return CliRunner().invoke(planted.main, ["--quick", *words], catch_exceptions=False)


def verdicts(done):
    return {line.split()[0]: line.split("  ")[-1].strip() for line in done.stdout.splitlines()[1:]}


def test_what_is_planted_is_found_and_nothing_else(monkeypatch, tiny_model, tmp_path):
    windows(monkeypatch)
    done = invoke("--model", str(tiny_model), "-o", str(tmp_path / "series"))
    assert done.exit_code == 0, done.output
    assert verdicts(done) == {"unchanged": "no alarm"} | dict.fromkeys(stages.STAGES, "found")
    files = {path.stem: read_report(path) for path in (tmp_path / "series").iterdir()}
    assert set(files) == {"before", "unchanged", *stages.STAGES}
    assert "evidence" in files["before"].environment


@pytest.mark.parametrize(
    ("slows", "verdict"),
    [
        (lambda stage: None, {"unchanged": "no alarm", "resize": "missed"}),
        (lambda stage: stage and "copy", {"unchanged": "no alarm", "resize": "misnamed"}),
    ],
)
def test_a_wrong_answer_is_a_failure(monkeypatch, tiny_model, slows, verdict):
    windows(monkeypatch, slows)
    done = invoke("--model", str(tiny_model), "--stage", "resize")
    assert done.exit_code == 1
    assert verdicts(done) == verdict


def test_an_alarm_over_what_did_not_change_is_a_failure():
    ratio = planted.Interval(1.2, 1.1, 1.3)
    alarm = planted.Answer(planted.UNCHANGED, ratio, ("copy",))
    assert (alarm.verdict, alarm.right) == ("false alarm", False)
    assert planted.Answer("copy", ratio, ("copy", "write")).verdict == "misnamed"


def test_reports_that_are_there_are_not_overwritten(monkeypatch, tiny_model, tmp_path):
    windows(monkeypatch)
    (tmp_path / "before.json").write_text("mine")
    with pytest.raises(StorageError, match=r"before\.json exists"):
        planted.main.main(["--quick", "--model", str(tiny_model), "-o", str(tmp_path)], standalone_mode=False)
    assert (tmp_path / "before.json").read_text() == "mine"


def test_one_model_at_a_time(tiny_model):
    setup = setup_from([tiny_model], ["cpu", "openvino"], None, EXAMPLES, None, None, threads=None, quick=True)
    with pytest.raises(SubjectError, match="one --model on one --device, found 1 on 2"):
        planted.measure_planted(setup, ["resize"], BY)


@pytest.mark.parametrize("stage", stages.STAGES)
def test_a_planted_stage_takes_so_much_longer_and_no_other(stage, tiny_model, monkeypatch, tmp_path):
    now = [0.0]

    def look():
        now[0] += 1e-6
        return now[0]

    def takes(owner, name, call):
        def spent(*arguments, **named):
            now[0] += 1.0
            return call(*arguments, **named)

        monkeypatch.setattr(owner, name, spent)

    embedder = Embedder.load(tiny_model)
    monkeypatch.setattr(time, "perf_counter", look)
    takes(images, "load_image", images.load_image)
    takes(Embedder, "_resized", Embedder._resized)
    takes(Embedder, "_infer", Embedder._infer)
    takes(embedder.backend, "run", embedder.backend.run)
    takes(storage, "write_embeddings", storage.write_embeddings)
    calls = stages.stages(embedder, stages.write_files(tmp_path, (picture(),), 1), tmp_path)
    planted.plant(embedder, stage, BY)
    seconds = {}
    for name, call in calls.items():
        started = look()
        call()
        seconds[name] = look() - started
    assert seconds == {name: pytest.approx(1 + BY * (name == stage), abs=1e-4) for name in stages.STAGES}
