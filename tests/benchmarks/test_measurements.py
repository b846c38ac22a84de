"""Rows and reports: what they keep, how they come back, and where they go."""

import click
import pytest
from click.testing import CliRunner

from benchmarks import accuracy, measurements
from benchmarks.__main__ import BenchmarkVerbs
from benchmarks.__main__ import main as verbs
from benchmarks.environment import environment
from benchmarks.measurements import (
    Measurements,
    Parity,
    Part,
    Report,
    ResultError,
    Row,
    emit,
    in_turn,
    output_option,
    read_report,
    run_parts,
)
from benchmarks.timing import Interval
from reid_runtime.errors import StorageError

from .conftest import row


def test_reports_come_back_with_every_sample(tmp_path):
    parity = Parity(0.99, map_finite_sum=0.7, map_finite_sum_change=Interval(-0.1, -0.2, 0.0))
    rows = (
        row(
            seconds=(0.1, 0.2), load=(1.0,), setting={"crops": 8}, turn=2, parity=parity, speed=Interval(2.0, 1.0, 3.0)
        ),
        Row(Part.ROOFLINE, "memory", 5, (1.0,)),
    )
    made = Report("speed", environment(), rows, ("peer x: it is absent",))
    made.write(tmp_path / "x.json")
    assert read_report(tmp_path / "x.json") == made
    assert {"cores", "git", "packages", "processor", "python", "time"} <= set(made.environment)
    assert "numpy" in made.environment["packages"]
    (tmp_path / "y.json").write_text("{}")
    with pytest.raises(ResultError, match="expected the JSON of a report"):
        read_report(tmp_path / "y.json")


def test_cases_differ_by_all_but_their_times():
    first = row(seconds=(1.0, 2.0))
    assert first.key == row(seconds=(9.0,), load=(1.0,), parity=Parity(0.5)).key
    others = [row(**{name: "x"}) for name in ("name", "model", "engine", "precision", "peer")]
    others += [row(Part.EIGHT), row(items=2), row(setting={"threads": 2})]
    assert len({each.key for each in (first, *others)}) == 9


def test_rates_and_turns():
    # Turns of 1, 4 and 5 seconds, and what would make the median 3 if it were a whole one.
    stream = row(seconds=(0.5, 0.5, 3.0, 1.0, 2.0, 3.0, 3.0), turn=2, items=4)
    assert stream.turns == (1.0, 4.0, 5.0)
    assert stream.rate == pytest.approx(4 * 7 / 13)
    assert row(seconds=(1.0, 2.0, 9.0), items=4).rate == 2


def test_rows_in_turn_have_speeds_and_the_reference_load(monkeypatch):
    samples = {"0": [4.0] * 6, "1": [1.0] * 6, "reference load": [0.1] * 6}
    monkeypatch.setattr(measurements, "paired", lambda calls, rounds, warmup: {name: samples[name] for name in calls})
    cases = [(Row(Part.PEERS, name), lambda: None) for name in ("slow", "fast")]
    slow, fast = in_turn(cases, 6, 1, base=0)
    assert (slow.seconds, fast.seconds, fast.load) == ((4.0,) * 6, (1.0,) * 6, (0.1,) * 6)
    assert (slow.speed, fast.speed) == (Interval(1, 1, 1), Interval(4, 4, 4))
    assert in_turn(cases, 6, 1)[1].speed is None


def test_part_that_breaks_leaves_the_others():
    def broken():
        raise RuntimeError("an illegal memory access was encountered")

    measured = run_parts({"first": broken, "second": lambda: Measurements([row()], ["no torch"])})
    assert measured.rows == [row()]
    assert measured.notes == ["first: RuntimeError: an illegal memory access was encountered", "no torch"]
    assert measured.failed == ["first"]


@pytest.fixture
def work():
    """A command with -o, and how often it got to its work."""
    done = []

    @click.command()
    @output_option
    def command(output):
        done.append(output)
        emit("work", {"threads": 1}, Measurements(notes=["no engine"]), "a table", output)

    return command, done


def test_file_that_is_there_is_refused_before_the_work(work, tmp_path):
    command, done = work
    output = tmp_path / "x.json"
    output.write_text("old")
    with pytest.raises(StorageError, match="exists and is not overwritten"):
        command.main(["-o", str(output)], standalone_mode=False)
    with pytest.raises(StorageError, match="is not a folder"):
        command.main(["-o", str(tmp_path / "none" / "x.json")], standalone_mode=False)
    assert (done, output.read_text()) == ([], "old")
    run = CliRunner().invoke(command, ["-o", str(output), "--force"], catch_exceptions=False)
    assert (run.stdout, run.stderr) == ("a table\n", "not measured: no engine\n")
    made = read_report(output)
    assert (made.benchmark, made.environment["threads"]) == ("work", 1)
    assert made.environment["command"].partition(" ")[0].startswith("py")
    command.main([], standalone_mode=False)
    assert done == [output, None]


def test_accuracy_asks_before_it_works(tiny_model, tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text("old")
    monkeypatch.setattr(accuracy, "read_eval_inputs", None)
    with pytest.raises(StorageError, match="exists and is not overwritten"):
        accuracy.main.main(
            [str(tiny_model), "--reference", str(tiny_model), "-o", str(tmp_path / "x.json")], standalone_mode=False
        )


def test_every_verb_is_a_command():
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    listed = CliRunner().invoke(verbs, ["--help"], catch_exceptions=False).output
    for verb in BenchmarkVerbs.verbs:
        assert f"\n  {verb} " in listed
        assert CliRunner().invoke(verbs, [verb, "--help"], catch_exceptions=False).exit_code == 0
    assert CliRunner().invoke(verbs, ["planted"]).exit_code == 2
