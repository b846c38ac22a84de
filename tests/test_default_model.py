"""The embedded default model: what it promises, what it scores, and that its vectors do not depend on company."""

import json

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.model_file.packaged import default_model
from reid_runtime.model_file.precision import Precision


def test_it_tells_people_apart(default, command, tmp_path):
    from tests.miniature import write_market

    write_market(tmp_path / "drawn", identities=12, cameras=2, views=2)
    run = command("evaluate", tmp_path / "drawn", "--json")
    actual = json.loads(run.out)
    # A model that has learnt nothing about people finds one in twelve or so.
    assert actual["rank_1"] > 0.5
    assert actual["valid_queries"] == actual["queries"]


def test_its_contract_says_where_it_comes_from(default):
    contract = default.contract
    assert (contract.precision, contract.parent, contract.dimension) == (Precision("float32"), None, 256)
    assert "Market-1501" in contract.trained_on[0].terms
    assert [score.dataset for score in contract.scores] == ["Market-1501"]
    assert default_model().stat().st_size < 16e6


@pytest.mark.realdata
def test_crops_of_many_sizes_give_one_vector_each_whatever_their_company(default, caviar4reid):
    paths = sorted(caviar4reid.glob("*.jpg"))
    together = default.embed(paths)
    shapes = {(result.width, result.height) for result in default.stream(paths[::7])}
    assert len(paths) == 1220
    assert len(shapes) > 50
    alone = np.concatenate([default.embed([path]) for path in paths[::3]])
    assert np.array_equal(together[::3], alone)
    backwards = Embedder.load(threads=1).embed(paths[::-1])[::-1]
    assert np.abs(backwards - together).max() <= 1e-5


@pytest.mark.realdata
def test_market_1501_gives_the_scores_that_the_contract_states(default, market1501, command):
    run = command("evaluate", market1501, "--dataset", "market1501", "--json")
    assert run.code == 0, run.err
    actual = json.loads(run.out)
    stated = default.contract.scores[0]
    assert actual["rank_1"] == pytest.approx(stated.rank_1, abs=5e-4)
    assert actual["map_finite_sum"] == pytest.approx(stated.map_finite_sum, abs=5e-4)
    assert actual["map_trapezoid"] == pytest.approx(stated.map_trapezoid, abs=5e-4)
    assert actual["rank_1"] >= 0.90
    assert actual["map_finite_sum"] >= 0.75
