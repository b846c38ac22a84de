"""The report's files, the README's rows, and that an artefact which is not its reference fails."""

import dataclasses

import click
import pytest
from click.testing import CliRunner

from benchmarks import report
from benchmarks.accuracy import main as accuracy
from benchmarks.measurements import Measurements, Parity, Part, read_report
from benchmarks.report import PartsError, pareto_front, summary
from benchmarks.timing import Interval
from export.gate import Reference
from reid_runtime.errors import ReidRuntimeError

from ..models import CONTRACT, write_model
from .conftest import row


def test_summary_is_six_rows_the_fastest_of_each_way():
    change = Interval(-0.002, -0.004, 0.001)
    parity = Parity(0.999871, map_finite_sum_change=change)
    rows = [
        row(
            Part.PEERS, (seconds,) * 6, peer=peer, name=peer and "loop", items=8, parity=parity, speed=Interval(1, 1, 1)
        )
        for seconds, peer in ((2.0, ""), (1.0, "fast"), (4.0, ""), *((5.0 + n, f"peer {n}") for n in range(6)))
    ]
    rows.append(row(Part.PEERS, (0.1,) * 6, peer="of another network"))
    rows.append(row(Part.PEERS, (0.1,) * 6, peer="in fewer bits", precision="bfloat16", parity=parity))
    rows.append(row(Part.PEERS, (9.0,) * 6, parity=Parity(1.0, is_reference=True)))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary(rows).splitlines()[2:]]
    assert [line[0] for line in lines] == ["fast", "reid-runtime", *(f"peer {n}" for n in range(4))]
    assert lines[1] == [
        "reid-runtime", "onnxruntime cpu", "float32", "4.0", "1", "0.999871", "-0.20 (-0.40 to +0.10)"
    ]  # fmt: skip


def test_pareto_front():
    points = {
        "slow best": (3.0, 0.9),
        "beaten": (3.5, 0.8),
        "fast": (1.0, 0.5),
        "middle": (2.0, 0.7),
        "worse": (2.0, 0.6),
    }
    rows = [row(name=name, seconds=(t,), parity=Parity(map_finite_sum=score)) for name, (t, score) in points.items()]
    assert [each.name for each in pareto_front(rows)] == ["fast", "middle", "slow best"]


@pytest.fixture
def parts(monkeypatch):
    """Every part of a report as one that finds a row at once."""
    for name in report.PARTS:
        made = row(name=f"case of {name}", seconds=(0.01,) * 9, parity=Parity(1.0, map_finite_sum=0.5))
        monkeypatch.setattr(report, f"measure_{name}", lambda *_, made=made: Measurements([made]))
    return monkeypatch


def run_report(folder, model, crops, *more):
    words = ["-o", str(folder), "--model", str(model), "--crops", str(crops), "--quick", *map(str, more)]
    run = CliRunner().invoke(report.main, words)
    return run, read_report(folder / "report.json")


def test_part_that_breaks_leaves_the_others_and_exit_1(parts, tiny_model, crops, tmp_path):
    def broken(*_):
        raise ValueError("the engine went away")

    parts.setattr(report, "measure_latency", broken)
    run, made = run_report(tmp_path / "out", tiny_model, crops)
    assert isinstance(run.exception, PartsError)
    assert str(run.exception).startswith("latency broke")
    assert [each.name for each in made.rows] == [f"case of {name}" for name in report.PARTS if name != "latency"]
    assert made.environment["failed"] == ["latency"]
    assert "latency: ValueError: the engine went away" in made.notes
    assert "the engine went away" in (tmp_path / "out" / "report.md").read_text()
    assert "not stable" not in run.stderr


def test_some_parts_and_the_plot(parts, tiny_model, crops, market, tmp_path):
    pytest.importorskip("matplotlib", reason="the plot")
    unstable = row(seconds=(0.01, 0.01, 0.05, 0.05, 0.09, 0.09), parity=Parity(1.0, map_finite_sum=0.5))
    limit = dataclasses.replace(unstable, part=Part.ROOFLINE)
    parts.setattr(report, "measure_peers", lambda *_: Measurements([unstable, limit]))
    run, made = run_report(tmp_path / "out", tiny_model, crops, "--part", "peers", "--data", market)
    assert run.exit_code == 0, run.output
    assert made.rows == (unstable, limit)
    assert "1 of 1 series are not stable" in run.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(report.FILES)
    assert (tmp_path / "out" / "pareto.png").read_bytes().startswith(b"\x89PNG")


def interrupted(*_):
    raise KeyboardInterrupt


def test_interrupt_ends_a_report(parts, tiny_model, crops, tmp_path):
    parts.setattr(report, "measure_stages", interrupted)
    words = ["-o", str(tmp_path / "out"), "--model", str(tiny_model), "--crops", str(crops), "--quick"]
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        report.main(words, standalone_mode=False)


def test_an_interrupted_report_goes_on(parts, tiny_model, crops, tmp_path):
    measured = []
    for name in report.PARTS:
        made = row(name=name, seconds=(0.01,) * 9)
        parts.setattr(
            report, f"measure_{name}", lambda *_, made=made: measured.append(made.name) or Measurements([made])
        )
    with parts.context() as once:
        once.setattr(report, "measure_throughput", interrupted)
        CliRunner().invoke(
            report.main, ["-o", str(tmp_path), "--model", str(tiny_model), "--crops", str(crops), "--quick"]
        )
    assert measured == ["roofline", "stages", "latency"]
    run, made = run_report(tmp_path, tiny_model, crops, "--resume")
    assert run.exit_code == 0, run.output
    assert measured == [each.name for each in made.rows] == list(report.PARTS)
    dataclasses.replace(made, environment={**made.environment, "git": "abc"}).write(tmp_path / "report.json")
    run, _ = run_report(tmp_path, tiny_model, crops, "--resume")
    assert "of another run: its git is abc" in str(run.exception)
    assert measured == list(report.PARTS)


def test_checkpoint_is_the_reference_unless_another_is_named(parts, tiny_model, crops, tmp_path):
    weights = write_model(tmp_path / "weights.onnx", dataclasses.replace(CONTRACT, weights="sha256:01"))
    run, made = run_report(tmp_path / "a", tiny_model, crops, "--checkpoint", weights)
    assert run.exit_code == 0, run.output
    assert list(made.environment["reference"]) == ["weights.onnx"]
    assert any("only weights.onnx" in note for note in made.notes)
    _, other = run_report(tmp_path / "b", tiny_model, crops, "--checkpoint", weights, "--reference", tiny_model)
    assert list(other.environment["reference"]) == ["tiny.onnx"]


def test_report_says_whose_parity_it_took_over(parts, tiny_model, crops, tmp_path):
    _, first = run_report(tmp_path / "a", tiny_model, crops)
    assert "parity_from" not in first.environment
    run, made = run_report(tmp_path / "b", tiny_model, crops, "--parity", tmp_path / "a" / "report.json")
    assert run.exit_code == 0, run.output
    assert made.environment["parity_from"] == {key: first.environment[key] for key in ("time", "git")}


def run_accuracy(model, reference, crops, *more):
    accuracy.main([str(model), "--reference", str(reference), "--crops", str(crops), *more], standalone_mode=False)


def test_artefact_that_is_its_reference_passes(tiny_model, crops, tmp_path, capsys):
    run_accuracy(tiny_model, tiny_model, crops, "-o", str(tmp_path / "x.json"))
    assert "passed: 4 crops: worst cosine 1.0000000" in capsys.readouterr().out
    gate = read_report(tmp_path / "x.json").environment["gate"]
    assert (gate["name"], gate["passed"], gate["worst_cosine"]) == ("float32", True, 1)


def test_artefact_that_is_another_model_fails_and_its_report_is_written(tiny_model, crops, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(tiny_model))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 30, "bias"))
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ReidRuntimeError, match="differs from the reference"):
        run_accuracy(tmp_path / "other.onnx", tiny_model, crops, "-o", str(tmp_path / "x.json"))
    about = read_report(tmp_path / "x.json").environment
    assert about["gate"]["passed"] is False
    assert "differs from the reference" in about["gate"]["reason"]
    assert list(about["reference"]) == ["tiny.onnx"]


@pytest.mark.parametrize("changed", [{"weights": "sha256:01"}, {"dimension": 4}])
def test_reference_that_nothing_can_equal_is_refused_before_the_work(tiny_model, crops, tmp_path, changed, monkeypatch):
    other = write_model(tmp_path / "other.onnx", dataclasses.replace(CONTRACT, **changed))
    monkeypatch.setattr(Reference, "on", None)
    with pytest.raises(ReidRuntimeError, match=r"tiny.onnx is of contract .*, the reference other.onnx of .* made of"):
        run_accuracy(tiny_model, other, crops)
