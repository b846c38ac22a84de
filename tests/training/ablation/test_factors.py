from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.errors import ReidRuntimeError
from training.ablation.factors import NAMES, PAPER, FactorError, PaperScore, factor
from training.config import differing
from training.models.base import BackboneError
from training.recipe import Architecture, Classification, Mining, Ranking, Recipe, read_recipe, recipe_from

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
CHANGED = {
    "augmentation": {"augmentation.cut_out", "augmentation.flip", "augmentation.crop"},
    "size": {"network.size", "classification.sizes"},
    "pooling": {"network.pooling"},
    "backbone": {"network.backbone"},
    "pre-training": set(),
    "mining": {"ranking.mining.hardest"},
}


def by_name(one):
    return {variant.name: variant for variant in one.variants}


@pytest.mark.parametrize("recipe", [Recipe(), read_recipe(RECIPES / "default.toml")], ids=["paper", "default"])
@pytest.mark.parametrize("name", NAMES)
def test_a_practice_changes_one_choice_of_a_recipe(name, recipe):
    actual = factor(name, recipe)
    assert actual.baseline.recipe == recipe
    assert actual.baseline.classified
    changes = [(variant.recipe, variant.classified) for variant in actual.variants]
    assert len(set(changes)) == len(changes), "each variant is another one"
    labels = {actual.label(variant) for variant in actual.variants}
    assert len(labels) == len(changes)
    assert "baseline" in labels
    for variant in actual.variants:
        assert set(differing(recipe.as_dict(), variant.recipe.as_dict())) <= CHANGED[name]
        assert recipe_from(variant.recipe.as_dict(), "variant") == variant.recipe, "a recipe that can be trained"
        assert variant.classified or name == "pre-training"


def test_the_papers_recipe_has_the_papers_choice_everywhere():
    recipe = read_recipe(RECIPES / "paper-resnet101.toml")
    for name in PAPER:
        actual = factor(name, recipe)
        assert actual.paper_score(actual.baseline) == PaperScore(81.2, 72.9)
        assert [variant.paper for variant in actual.variants] == list(PAPER[name])
    assert [variant.name for variant in factor("size", recipe).variants] == ["256 px", "416 px", "640 px"]


@pytest.mark.parametrize(
    ("name", "variant", "difference", "claim"),
    [
        ("augmentation", "none", (-5.3, -3.3), "worse"),
        ("augmentation", "all", (0.0, 0.0), "equal"),
        ("size", "640 px", (0.0, 0.2), "equal"),
        ("size", "256 px", (-3.0, -3.7), "worse"),
        ("pooling", "average", (-1.1, -1.5), "worse"),
        ("backbone", "resnet152", (0.2, 1.1), "better"),
        ("pre-training", "no", (-4.1, -1.8), "worse"),
    ],
)
def test_what_the_paper_says_of_its_own_choices(name, variant, difference, claim):
    actual = factor(name, Recipe())
    of_paper = actual.paper_difference(by_name(actual)[variant])
    assert (of_paper.market, of_paper.duke) == pytest.approx(difference)
    assert actual.claim(by_name(actual)[variant]) == claim


def test_against_another_baseline_the_papers_difference_is_another():
    small = Recipe(network=Architecture("resnet50"))
    actual = factor("backbone", small)
    difference = actual.paper_difference(by_name(actual)["resnet101"])
    assert (difference.market, difference.duke) == pytest.approx((4.9, 5.3))
    original = factor("backbone", Recipe(network=Architecture("resnet50-original")), backbones=["resnet101"])
    assert original.paper_difference(by_name(original)["resnet101"]) == difference
    other = factor("backbone", Recipe(network=Architecture("mobilenetv2")))
    assert by_name(other)["mobilenetv2"] is other.baseline
    assert {other.claim(variant) for variant in other.variants} == {None}
    gem = factor("pooling", Recipe(network=Architecture(pooling="gem")))
    assert list(by_name(gem)) == ["gem", "average", "max"]
    assert gem.paper_difference(by_name(gem)["max"]) is None
    everything = factor("augmentation", read_recipe(RECIPES / "default.toml"))
    assert everything.baseline.name == "all"
    assert everything.claim(by_name(everything)["flip"]) == "worse"


def test_sizes_are_to_the_scale_of_the_recipe_and_so_are_those_of_classification():
    recipe = Recipe(network=Architecture(size=192), classification=Classification(sizes=(96, 128, 192)))
    actual = by_name(factor("size", recipe))
    assert list(actual) == ["118 px", "192 px", "295 px"]
    assert [variant.paper for variant in actual.values()] == ["256", "416", "640"]
    assert actual["118 px"].recipe.classification.sizes == (59, 79, 118)
    chosen = factor("size", recipe, sizes=[96, 118])
    assert [(variant.name, variant.paper) for variant in chosen.variants] == [
        ("192 px", "416"),
        ("96 px", ""),
        ("118 px", "256"),
    ]


@pytest.mark.parametrize("hardest", [0, 7])
def test_triplets_are_random_or_hard_and_the_recipes_own_stay(hardest):
    recipe = Recipe(ranking=Ranking(mining=Mining(hardest=hardest)))
    actual = factor("mining", recipe)
    numbers = {variant.name: variant.recipe.ranking.mining.hardest for variant in actual.variants}
    assert numbers == {"random": 0, "hard": hardest or 25}
    claims = {variant.name: actual.claim(variant) for variant in actual.variants}
    assert claims == ({"random": "worse", "hard": None} if hardest else {"random": None, "hard": "better"})


def test_augmentations_that_the_paper_lacks_are_a_baseline_of_their_own():
    recipe = replace(Recipe(), augmentation=replace(Recipe().augmentation, flip=True))
    actual = factor("augmentation", recipe)
    assert [variant.name for variant in actual.variants] == [
        "flip and cut-out",
        "none",
        "flip",
        "crop",
        "cut-out",
        "all",
    ]
    assert actual.label(actual.variants[0]) == "baseline"
    assert actual.paper_difference(actual.variants[1]) is None


def test_unknown_names_are_answered_with_the_nearest():
    assert issubclass(FactorError, ReidRuntimeError)
    with pytest.raises(FactorError, match="'poling'; did you mean 'pooling'"):
        factor("poling", Recipe())
    with pytest.raises(FactorError, match="known: augmentation, size"):
        factor("!", Recipe())
    with pytest.raises(BackboneError, match="did you mean 'resnet50'"):
        factor("backbone", Recipe(), backbones=["resnet-50"])
    with pytest.raises(FactorError, match="resnet101 is the recipe's own"):
        factor("backbone", Recipe(), backbones=["resnet101"])


def test_settings_can_be_left_out_but_for_the_baseline_and_one():
    actual = factor("augmentation", Recipe())
    left = actual.without(["augmentation-flip", "augmentation-crop", "baseline-of-another"])
    assert [variant.name for variant in left.variants] == ["none", "cut-out", "all"]
    assert (left.baseline, left.name) == (actual.baseline, "augmentation")
    with pytest.raises(FactorError, match="nothing is left to compare max with"):
        factor("pooling", Recipe()).without(["pooling-average"])
