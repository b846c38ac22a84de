"""The models beside the package, in models/: what they promise, and what they score."""

import json
from pathlib import Path

import pytest

from reid_runtime import Embedder

FOLDER = Path(__file__).parents[1] / "models"
RESNET50 = FOLDER / "resnet50-market1501-int8.onnx"


@pytest.fixture(scope="module")
def contract():
    return Embedder.load(RESNET50).contract


def test_there_is_one_and_it_is_small(contract):
    assert [path.name for path in FOLDER.iterdir() if path.suffix != ".md"] == [RESNET50.name]
    assert RESNET50.stat().st_size <= 26e6


def test_its_contract_says_what_it_is(contract):
    assert (contract.dimension, contract.resize.size) == (512, 416)
    assert contract.precision.startswith("int8 (weights alone")
    assert contract.parent is not None
    assert [seen.data for seen in contract.trained_on] == ["market1501/bounding_box_train"]
    assert "Market-1501" in contract.trained_on[0].terms
    assert [score.dataset for score in contract.scores] == ["Market-1501"]


def test_it_gives_the_vectors_that_are_pinned_in_it(command):
    run = command("verify", RESNET50, "--device", "cpu")
    assert run.code == 0, run.err


@pytest.mark.slow
@pytest.mark.realdata
def test_market_1501_gives_the_scores_that_the_contract_states(contract, market1501, command):
    run = command("evaluate", market1501, "--dataset", "market1501", "--model", RESNET50, "--json")
    assert run.code == 0, run.err
    found, stated = json.loads(run.out), contract.scores[0]
    assert found["rank_1"] == pytest.approx(stated.rank_1, abs=5e-4)
    assert found["map_finite_sum"] == pytest.approx(stated.map_finite_sum, abs=5e-4)
    assert found["map_trapezoid"] == pytest.approx(stated.map_trapezoid, abs=5e-4)
    assert found["map_finite_sum"] >= 0.70
