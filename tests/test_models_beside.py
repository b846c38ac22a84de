"""The models that the repository has beside the wheel: each is whole, and says what it is and what it scores."""

import json
from pathlib import Path

import pytest

from reid_runtime import Embedder
from reid_runtime.images.resize import LongestSide

MODELS = Path(__file__).parents[1] / "models"
RESNET50 = MODELS / "resnet50-market1501-int8.onnx"


@pytest.fixture(scope="module")
def contract():
    return Embedder.load(RESNET50, device="cpu").contract


def test_there_is_one_file_and_it_is_small_enough_to_clone():
    assert [path.name for path in MODELS.iterdir() if path.suffix != ".md"] == [RESNET50.name]
    assert RESNET50.stat().st_size <= 26e6


def test_its_contract_says_what_it_is_and_where_it_comes_from(contract):
    assert contract.dimension == 512
    assert contract.resize == LongestSide(320)
    assert str(contract.precision).startswith("int8 (weights alone")
    assert contract.parent is not None
    (seen,) = contract.trained_on
    assert (seen.data, seen.identities) == ("market1501/bounding_box_train", 721)
    assert "research only" in seen.terms
    assert [score.dataset for score in contract.scores] == ["Market-1501"]
    assert contract.scores[0].map_finite_sum >= 0.70


def test_it_passes_its_selftest(command):
    run = command("verify", RESNET50, "--device", "cpu")
    assert run.code == 0, run.out + run.err


@pytest.mark.slow
@pytest.mark.realdata
def test_market_1501_gives_the_scores_that_its_contract_states(contract, market1501, command):
    """Ten minutes of two cores."""
    run = command("evaluate", market1501, "--dataset", "market1501", "--model", RESNET50, "--json")
    assert run.code == 0, run.err
    actual, (stated,) = json.loads(run.out), contract.scores
    for measure in ("rank_1", "map_finite_sum", "map_trapezoid"):
        assert actual[measure] == pytest.approx(getattr(stated, measure), abs=5e-4)
    assert actual["map_finite_sum"] >= 0.70
