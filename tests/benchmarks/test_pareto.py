"""Models beside each other: every score of the right file, the cost as a share, nothing scored twice."""

import dataclasses
import shutil

import pytest
from click.testing import CliRunner

from benchmarks import pareto
from benchmarks.measurements import read_report, shown
from benchmarks.timing import Budget
from reid_runtime.embedder import Embedder
from reid_runtime.evaluation import evaluate
from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.contract import TrainedOn
from reid_runtime.scoring.layouts import read_market
from tests.miniature import write_market
from training.data.training_set import AS_TARGETS

from ..models import CONTRACT, FOREIGN, write_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the plot")
    monkeypatch.setattr(pareto, "FULL", Budget(3, 24, 1, 2, 0.1, 1))
    write_market(tmp_path / "market", identities=3, cameras=2, views=1)
    write_model(tmp_path / "one.onnx")
    seen = TrainedOn("drawn", f"ours; {AS_TARGETS.format('Anna')}", 3, 6)
    taught = dataclasses.replace(CONTRACT, graph="net: what it computes", trained_on=(seen,))
    write_model(tmp_path / "taught.onnx", taught)
    write_model(tmp_path / "foreign.onnx", FOREIGN, like=FOREIGN, output="raw")
    return tmp_path


def call(folder, *models, force=False):
    arguments = [str(folder / f"{name}.onnx") for name in models]
    arguments += ["--against", str(folder / "one.onnx"), "--data", str(folder / "market"), "--device", "cpu"]
    outcome = CliRunner().invoke(pareto.main, [*arguments, "-o", str(folder / "out"), *["--force"] * force])
    assert outcome.exit_code == 0, outcome.output
    return {row.case: row for row in shown(read_report(folder / "out" / "tradeoff.json").rows)}


def test_the_scores_are_the_evaluation_s(folder):
    rows = call(folder, "foreign")
    assert list(rows) == ["one", "foreign"]
    for name, row in rows.items():
        summary = evaluate(Embedder.load(folder / f"{name}.onnx", device="cpu"), read_market(folder / "market")).scores
        assert row.facts["market: map_finite_sum"] == summary.summary().map_finite_sum
        assert row.facts["market: rank_1"] == summary.summary().rank_1
        assert row.setting["input"] == "longest side 16, aspect ratio kept"


def test_the_table_orders_by_map_and_states_the_time_as_a_share(folder):
    rows = call(folder, "foreign")
    lines = (folder / "out" / "tradeoff.md").read_text(encoding="utf-8").splitlines()
    drawn = [line.split(" | ") for line in lines if line.startswith("| ") and "---" not in line][1:]
    order = sorted(rows.values(), key=lambda row: -row.facts["market: map_finite_sum"])
    assert [cells[0].removeprefix("| ") for cells in drawn] == [row.case for row in order]
    times = rows["foreign"].facts
    wanted = f"{1 / times['times']:.2f} ({1 / times['times_high']:.2f} to {1 / times['times_low']:.2f})"
    assert {cells[0].removeprefix("| "): cells[8] for cells in drawn} == {"one": "1", "foreign": wanted}
    assert (folder / "out" / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_says_what_the_contracts_say_of_network_and_teacher(folder):
    rows = call(folder, "taught", "foreign")
    said = {name: (row.setting["network"], row.setting["teacher"]) for name, row in rows.items()}
    assert said == {"one": ("–", "–"), "taught": ("net", "Anna"), "foreign": ("–", "–")}


def test_a_file_that_has_been_scored_is_not_scored_again(folder, monkeypatch):
    first = call(folder, "foreign")
    scored = []

    def counting(embedder, task):
        scored.append(embedder.path.stem)
        return evaluate(embedder, task)

    monkeypatch.setattr(pareto, "evaluate", counting)
    shutil.copy(folder / "foreign.onnx", folder / "copy.onnx")
    write_model(folder / "foreign.onnx", dataclasses.replace(CONTRACT, resize=LongestSide(4)))
    again = call(folder, "foreign", "copy", force=True)
    assert scored == ["foreign"], "a copy is the same artefact; another model under an old name is not"
    assert again["copy"].facts["market: rank_1"] == first["foreign"].facts["market: rank_1"]
