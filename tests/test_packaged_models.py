"""The packaged models: what they promise, what they score, and that their vectors do not depend on company."""

import json
from pathlib import Path

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.errors import StorageError
from reid_runtime.jobs import Embeddings, read_embeddings, write_embeddings
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import FORMER_DEFAULTS, PACKAGED, model_path
from reid_runtime.model_file.precision import Precision

from .miniature import write_market

DATASETS = ["Market-1501", "PKU-Reid", "CAVIAR4REID"]


@pytest.fixture(params=PACKAGED, scope="session")
def packaged(request):
    return PACKAGED[request.param]


def test_a_name_is_a_model_and_a_path_a_path(tmp_path):
    assert model_path() == model_path("base") == PACKAGED["base"].path
    assert model_path("base.onnx") == Path("base.onnx")
    assert model_path(tmp_path / "small") == tmp_path / "small"
    assert Embedder.load("tiny").path == PACKAGED["tiny"].path


def test_a_contract_says_where_the_weights_come_from_and_that_one_may_deploy_them(packaged):
    contract = ModelFile.open(packaged.path).contract
    assert (contract.name, contract.precision, contract.parent) == (packaged.name, Precision("float32"), None)
    assert str(contract.resize) == "longest side 256, aspect ratio kept"
    terms = " ".join(seen.terms for seen in contract.trained_on)
    assert "Apache-2.0" in terms
    assert "CC BY" in terms
    assert "research" not in terms.lower()
    assert [score.dataset for score in contract.scores] == DATASETS


def test_the_card_has_the_scores_of_the_contracts(packaged):
    card = (packaged.path.parent / "README.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith(f"| `{packaged.name}` |"))
    for score in ModelFile.open(packaged.path).contract.scores:
        assert f"| {100 * score.rank_1:.1f} / {100 * score.map_finite_sum:.1f} " in row


def test_the_stated_cost_is_the_graphs(packaged):
    pytest.importorskip("onnx")
    from benchmarks.flops import operations

    assert operations(packaged.path, [(256, 128)]) == pytest.approx(packaged.gflops * 1e9, rel=0.01)


def test_all_of_them_are_fit_for_a_wheel():
    assert sum(model.path.stat().st_size for model in PACKAGED.values()) < 16e6


@pytest.mark.parametrize(("name", "least"), [("base", 0.9), ("small", 0.9), ("tiny", 0.7)])
def test_they_tell_people_apart(command, tmp_path, name, least):
    write_market(tmp_path / "drawn", identities=12, cameras=2, views=2)
    scores = json.loads(command("evaluate", tmp_path / "drawn", "--model", name, "--json").out)
    assert scores["valid_queries"] == scores["queries"]
    assert scores["rank_1"] >= least  # by chance it is one in twelve


def test_embeddings_of_a_former_default_are_refused_with_a_remedy(tiny, tmp_path, monkeypatch):
    results = list(tiny.stream([np.full((9, 9, 3), 90, np.uint8)], "rgb"))
    write_embeddings(tmp_path / "old.npz", Embeddings.from_results(tiny, ["a.jpg"], results))
    assert len(FORMER_DEFAULTS) == 3
    monkeypatch.setattr("reid_runtime.jobs.embeddings.FORMER_DEFAULTS", {tiny.contract.contract_id})
    with pytest.raises(StorageError, match=r"former default model.*embed the images again, reid-runtime embed"):
        read_embeddings(tmp_path / "old.npz")


@pytest.mark.realdata
def test_crops_of_many_sizes_give_one_vector_each_whatever_their_company(default, caviar4reid):
    paths = sorted(caviar4reid.glob("*.jpg"))
    assert len(paths) == 1220
    paths = paths[::4]
    together = default.embed(paths)
    shapes = {(result.width, result.height) for result in default.stream(paths[::7])}
    assert len(shapes) > 30
    alone = np.concatenate([default.embed([path]) for path in paths[::3]])
    assert np.array_equal(together[::3], alone)
    backwards = Embedder.load(threads=1).embed(paths[::-1])[::-1]
    assert np.abs(backwards - together).max() <= 1e-5


def _check_scores(command, folder, model, dataset):
    run = command("evaluate", folder, "--model", model.name, "--json")
    assert run.code == 0, run.err
    scores = json.loads(run.out)
    stated = next(score for score in ModelFile.open(model.path).contract.scores if score.dataset == dataset)
    for measure in ("rank_1", "map_finite_sum", "map_trapezoid"):
        assert scores[measure] == pytest.approx(getattr(stated, measure), abs=1e-3)


@pytest.mark.realdata
def test_pku_reid_gives_the_scores_that_the_contract_states(packaged, pku_reid, command):
    _check_scores(command, pku_reid, packaged, "PKU-Reid")


@pytest.mark.realdata
@pytest.mark.slow
def test_market_1501_gives_the_scores_that_the_contract_states(packaged, market1501, command):
    _check_scores(command, market1501, packaged, "Market-1501")
