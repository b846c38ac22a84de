"""Scores that `evaluate --json` printed, in the contract of the file that they were measured with."""

import json

import pytest

from reid_runtime.model_file import ModelFile

from ..miniature import write_market
from ..recorded import write_recorded

pytest.importorskip("onnx")
pytest.importorskip("torch")

from export.state_scores import StateScoresError, state_scores


@pytest.fixture
def measured(tmp_path, command):
    model = write_recorded(tmp_path / "m.onnx")
    write_market(tmp_path / "drawn", identities=6, cameras=2, views=2)
    report = tmp_path / "drawn.json"
    report.write_text(command("evaluate", tmp_path / "drawn", "--model", model, "--device", "cpu", "--json").out)
    return model, report


def test_the_same_model_with_its_scores(measured, tmp_path):
    model, report = measured
    state_scores(model, {"Drawn": report}, tmp_path / "scored.onnx")
    before, after = ModelFile.open(model), ModelFile.open(tmp_path / "scored.onnx")
    assert after.contract.contract_id == before.contract.contract_id
    assert after.selftest().graph == before.selftest().graph
    (score,) = after.contract.scores
    scores = json.loads(report.read_text())
    assert (score.dataset, score.protocol) == ("Drawn", scores["protocol"])
    assert (score.rank_1, score.map_trapezoid) == (scores["rank_1"], scores["map_trapezoid"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artefact_id": "sha256:00"}, "of the model file sha256:00, expected plain ones of sha256:"),
        ({"reranked": True}, "has re-ranked scores"),
        ({"rank_1": None}, None),
    ],
)
def test_scores_of_another_file_are_refused_and_nothing_is_written(measured, tmp_path, change, message):
    model, report = measured
    scores = json.loads(report.read_text()) | change
    if message is None:
        del scores["rank_1"]
    report.write_text(json.dumps(scores))
    with pytest.raises(StateScoresError, match=message or "expected what reid-runtime evaluate --json prints"):
        state_scores(model, {"Drawn": report}, tmp_path / "scored.onnx")
    assert not (tmp_path / "scored.onnx").exists()
