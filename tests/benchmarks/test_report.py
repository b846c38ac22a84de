"""The report's files, the README's figures, and that an artefact which is not its reference fails."""

import dataclasses
import json
import re

import click
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import report
from benchmarks.accuracy import main as accuracy
from benchmarks.cases import SubjectError, load, pin, setup_from
from benchmarks.latency import MULTI, SERVER, SINGLE
from benchmarks.measurements import YARDSTICK, Found, Report, ResultError, Row, environment, read_report
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.report import PartsError, markdown, unsteady
from benchmarks.roofline import PART as LIMITS
from benchmarks.scaling import PART as GROWTH
from benchmarks.stages import PART, STAGES
from benchmarks.throughput import COLD, DECODE, EIGHT, ENGINE, FOLDER, MIXED, OFFLINE, SAME, SPREAD
from export.gate import Reference
from reid_runtime.errors import ReidRuntimeError
from tests.miniature import write_market

from ..models import CONTRACT, FOREIGN, write_model
from ..sample_images import encode, sample_image

PARITY = {
    "cosine": 0.999871, "map_finite_sum": 0.7, "map_finite_sum_change": -0.002, "map_finite_sum_change_low": -0.004,
    "map_finite_sum_change_high": 0.001, "map_trapezoid_change": -0.003, "map_trapezoid_change_low": -0.005,
    "map_trapezoid_change_high": 0.002, "map_trapezoid": 0.69,
}  # fmt: skip
TIMES = {"times": 0.8, "times_low": 0.7, "times_high": 0.9}


def whole(budget="full"):
    """A report with a row of most parts; one peer is faster than we are."""
    seconds = tuple(0.01 + 0.00001 * place for place in range(100))
    subject = {"model": "<ours>", "device": "cpu"}
    rows = [
        Row("<ours>", {"crops": 3}, seconds, 1, PARITY, SINGLE),
        Row("<ours>", {"boxes": 8}, seconds[:20], 8, PARITY, MULTI),
        Row("<ours>", {"bound_ms": 100.0}, seconds, 1, PARITY | {"rate": 61.5}, SERVER),
        Row("<ours>", {"against": "torch"}, seconds, 4, PARITY | TIMES, PEERS),
        Row("torch", {"against": "torch"}, tuple(value / 2 for value in seconds), 4, {}, PEERS),
        Row(YARDSTICK, {"against": "torch"}, seconds, 4, {}, PEERS),
        Row(FOLDER, subject | {"threads": 2}, seconds, 8, PARITY, OFFLINE),
        *(Row(case, subject | {"threads": 2}, seconds, 8, {}, OFFLINE) for case in (ENGINE, DECODE)),
        Row(SAME, subject, seconds, 8, {}, MIXED),
        Row(SPREAD, subject, seconds, 8, PARITY | TIMES, MIXED),
        Row("<ours>", {"batch": 8}, seconds, 8, PARITY, EIGHT),
        Row("<ours>", {"crops": 1}, seconds, 1, PARITY, COLD),
    ]
    rows += [Row(stage, {"model": "m", "device": "cpu"}, seconds, 4, {}, PART) for stage in STAGES]
    rows += [
        Row(str(n), {"axis": "batch", "model": "m"}, tuple(np.multiply(seconds, n)), n, {}, GROWTH) for n in (1, 4)
    ]
    about = environment() | {
        "threads": 2, "budget": budget, "crops": "3", "git": "0123456789ab", "artefacts": {"ours.onnx": "sha256:00"},
        "data": {"name": "Drawn", "queries": 3, "gallery": 4},
    }  # fmt: skip
    return Report("report", about, tuple(rows), ("peer x: it is <absent>",))


def test_parity_stands_beside_every_speed_and_peers_that_win_stay():
    text = markdown(whole())
    tables_with_speeds = 8
    assert text.count("0.999871") >= tables_with_speeds
    assert text.count("-0.20 (-0.40 to +0.10)") == tables_with_speeds
    assert text.count("-0.30 (-0.50 to +0.20)") == tables_with_speeds
    assert "0.80 (0.70 to 0.90)" in text
    assert "61.5" in text
    tables = text[text.index("what people use") :]
    assert tables.index("| torch |") < tables.index("ours")
    assert YARDSTICK not in text


def test_the_numbers_on_the_page_are_the_rows():
    cells = re.search(r"\| <ours> \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", markdown(whole())).groups()
    assert cells == ("10.49", "10.89", "10.98")  # nearest ranks: the 50th, 90th and 99th of a hundred


def test_a_percentile_that_no_sample_lies_beyond_is_left_out():
    text = markdown(whole())
    multi = text[text.index("## MultiStream") : text.index("## Server")]
    assert "p90 ms" in multi
    assert "p99 ms" not in multi


def test_the_reference_itself_is_called_so_and_not_found_equal_to_itself():
    made = whole()
    own = {"own_reference": 1.0, "cosine": 1.0, "map_finite_sum": 0.7, "map_trapezoid": 0.69}
    first = dataclasses.replace(made.rows[0], facts=own)
    text = markdown(dataclasses.replace(made, rows=(first, *made.rows[1:])))
    assert "| reference | 70.0 | 69.0 |" in text


def test_reports_come_back_as_they_were_written(tmp_path):
    made = whole()
    made.write(tmp_path / "x.json")
    assert read_report(tmp_path / "x.json") == made
    (tmp_path / "y.json").write_text("{}")
    with pytest.raises(ResultError, match="expected the JSON of a report"):
        read_report(tmp_path / "y.json")


def test_only_series_that_tables_judge_are_counted_as_unsteady():
    wild = (0.01, 0.01, 0.05, 0.05, 0.09, 0.09)
    made = whole()
    uncounted = [Row(YARDSTICK, {}, wild, 1, {}, PEERS), Row("float32 by numpy", {}, wild, 1, {}, LIMITS)]
    assert unsteady(dataclasses.replace(made, rows=(*made.rows, *uncounted))) is None
    judged = dataclasses.replace(made, rows=(*made.rows, *uncounted, Row("ours", {}, wild, 1, {}, SINGLE)))
    count = sum(row.case != YARDSTICK for row in made.rows) + 1
    assert unsteady(judged).startswith(f"1 of {count} series are not steady")


@pytest.fixture
def parts(monkeypatch):
    """Every part of a report as one that finds a row at once."""
    for name in report.PARTS:
        row = Row(f"case of {name}", {"crops": 3}, (0.01,) * 9, 1, {}, SINGLE)
        monkeypatch.setattr(report, f"measure_{name}", lambda *_, row=row: Found(rows=[row]))
    return monkeypatch


def run_report(folder, model, crops, *more):
    words = ["-o", str(folder), "--model", str(model), "--crops", str(crops), "--quick", *map(str, more)]
    run = CliRunner().invoke(report.main, words)
    return run, read_report(folder / "report.json")


def test_a_part_that_breaks_leaves_the_others_and_exit_1(parts, tiny_model, crops, tmp_path):
    def broken(*_):
        raise ValueError("the engine went away")

    parts.setattr(report, "measure_latency", broken)
    run, made = run_report(tmp_path / "out", tiny_model, crops)
    assert isinstance(run.exception, PartsError)
    assert str(run.exception).startswith("latency broke")
    assert [row.case for row in made.rows] == [f"case of {name}" for name in report.PARTS if name != "latency"]
    assert made.environment["failed"] == ["latency"]
    assert "latency: ValueError: the engine went away" in made.notes
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(report.FILES)


def test_an_interrupt_ends_a_report(parts, tiny_model, crops, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    parts.setattr(report, "measure_stages", interrupted)
    words = ["-o", str(tmp_path / "out"), "--model", str(tiny_model), "--crops", str(crops), "--quick"]
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        report.main(words, standalone_mode=False)


def test_a_reports_checkpoint_is_its_reference_unless_another_is_named(parts, tiny_model, crops, tmp_path):
    weights = write_model(tmp_path / "weights.onnx", dataclasses.replace(CONTRACT, weights="sha256:01"))
    run, made = run_report(tmp_path / "a", tiny_model, crops, "--checkpoint", weights)
    assert run.exit_code == 0, run.output
    assert made.environment["reference"]["name"] == "weights.onnx"
    assert any("the reference weights.onnx" in note for note in made.notes)
    _, other = run_report(tmp_path / "b", tiny_model, crops, "--checkpoint", weights, "--reference", tiny_model)
    assert other.environment["reference"]["name"] == "tiny.onnx"


def test_a_report_says_whose_parity_it_took_over(parts, tiny_model, crops, tmp_path):
    _, first = run_report(tmp_path / "a", tiny_model, crops)
    assert "parity_from" not in first.environment
    run, made = run_report(tmp_path / "b", tiny_model, crops, "--parity", tmp_path / "a" / "report.json")
    assert run.exit_code == 0, run.output
    assert made.environment["parity_from"] == {key: first.environment[key] for key in ("time", "git")}
    assert made.environment["parity"] == first.environment["parity"]


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(encode(sample_image(40 + 8 * seed, 24, seed), "PNG"))
    return folder


def run_accuracy(model, reference, crops, *more):
    accuracy.main([str(model), "--reference", str(reference), "--crops", str(crops), *more], standalone_mode=False)


def test_an_artefact_that_is_its_reference_passes(tiny_model, crops, tmp_path, capsys):
    run_accuracy(tiny_model, tiny_model, crops, "-o", str(tmp_path / "x.json"))
    assert "passed: 4 crops: worst cosine 1.0000000" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert row["facts"]["worst_cosine"] == row["facts"]["passed"] == 1


def test_an_artefact_that_is_another_model_fails_and_its_report_is_written(tiny_model, crops, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(tiny_model))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 30, "bias"))
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ReidRuntimeError, match="differs from the reference"):
        run_accuracy(tmp_path / "other.onnx", tiny_model, crops, "-o", str(tmp_path / "x.json"))
    made = read_report(tmp_path / "x.json")
    (row,), (note,) = made.rows, made.notes
    assert row.facts["passed"] == 0
    assert row.facts["worst_cosine"] < 0.9999
    assert "the gate failed" in note
    assert made.environment["reference"]["name"] == "tiny.onnx"


@pytest.mark.parametrize("changed", [{"weights": "sha256:01"}, {"dimension": 4}])
def test_a_reference_that_nothing_can_equal_is_refused_before_anything_is_embedded(
    tiny_model, crops, tmp_path, changed, monkeypatch
):
    other = write_model(tmp_path / "other.onnx", dataclasses.replace(CONTRACT, **changed))
    monkeypatch.setattr(Reference, "on", None)
    with pytest.raises(ReidRuntimeError, match=r"tiny.onnx is of contract .*, the reference other.onnx of .* made of"):
        run_accuracy(tiny_model, other, crops)


def test_speeds_have_the_cosine_to_the_root_and_unusable_devices_are_named(tiny_model, crops):
    setup = setup_from([tiny_model], ["cpu", "cuda"], None, crops, None, None, None, True)
    (subject,), notes = setup.subjects()
    assert subject.parity["cosine"] == pytest.approx(1)
    assert len(notes) == 1
    assert "on cuda: device 'cuda' was asked for" in notes[0]
    with pytest.raises(SubjectError, match="nothing to measure"):
        setup_from([tiny_model], ["cuda"], None, crops, None, None, None, True).subjects()


def test_with_a_data_set_the_change_in_map_and_its_interval_stand_beside_the_speed(tiny_model, crops, tmp_path):
    pytest.importorskip("openvino")
    write_market(tmp_path / "market", identities=3, cameras=2, views=1)
    setup = setup_from([tiny_model], ["openvino"], None, crops, tmp_path / "market", "drawn", None, True)
    (subject,), _ = setup.subjects()
    for name in ("map_finite_sum", "map_trapezoid"):
        change = [subject.parity[f"{name}_change{end}"] for end in ("_low", "", "_high")]
        assert change == sorted(change)
        assert change[1] == pytest.approx(0, abs=0.01)  # another engine, the same vectors
        assert 0 < subject.parity[name] <= 1


def test_a_peers_model_is_loaded_by_the_contract_of_its_name(tmp_path, monkeypatch):
    write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw")
    (tmp_path / "foreign.json").write_text(FOREIGN.to_json())
    monkeypatch.setattr("benchmarks.cases.CONTRACTS", tmp_path)
    assert load(tmp_path / "foreign.onnx", "cpu").contract == FOREIGN


def test_more_cores_than_there_are_cannot_be_asked_for():
    with pytest.raises(SubjectError, match="may use"):
        pin(10_000)
