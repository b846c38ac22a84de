import onnx
import pytest

pytest.importorskip("torch", reason="needs the extras train and export")

from export.graph import kept_graph
from export.record_scores import record_scores
from reid_runtime import Embedder
from reid_runtime.model_file.packaged import default_model
from tests.miniature import write_market


def test_scores_go_into_the_contract_and_nothing_else_changes(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(default_model().read_bytes())
    write_market(tmp_path / "drawn", identities=6, cameras=2, views=2)
    before, graph = Embedder.load(path), kept_graph(onnx.load(str(path)))
    score = record_scores(path, tmp_path / "drawn", "Drawn")
    after = Embedder.load(path)
    assert after.contract.scores == (*before.contract.scores, score)
    assert 0 < score.map_trapezoid <= score.map_finite_sum <= 1
    assert after.contract.contract_id == before.contract.contract_id
    assert after.artefact_id != before.artefact_id
    assert kept_graph(onnx.load(str(path))) == graph
    record_scores(path, tmp_path / "drawn", "Drawn")
    assert Embedder.load(path).contract.scores == after.contract.scores, "measured again, replaced and not added"
