from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from training.ablation.factors import NAMES, PAPER, Measured, PracticeError, practice
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


def by_name(found):
    return {setting.name: setting for setting in found.settings}


@pytest.mark.parametrize("recipe", [Recipe(), read_recipe(RECIPES / "default.toml")], ids=["paper", "default"])
@pytest.mark.parametrize("name", NAMES)
def test_a_practice_changes_one_choice_of_a_recipe(name, recipe):
    found = practice(name, recipe)
    assert found.baseline.recipe == recipe
    assert found.baseline.classified
    changes = [(setting.recipe, setting.classified) for setting in found.settings]
    assert len(set(changes)) == len(changes), "each setting is another one"
    labels = {found.label(setting) for setting in found.settings}
    assert len(labels) == len(changes)
    assert "baseline" in labels
    for setting in found.settings:
        assert set(differing(recipe.as_dict(), setting.recipe.as_dict())) <= CHANGED[name]
        assert recipe_from(setting.recipe.as_dict(), "setting") == setting.recipe, "a recipe that can be trained"
        assert setting.classified or name == "pre-training"


def test_the_papers_recipe_has_the_papers_choice_everywhere():
    recipe = read_recipe(RECIPES / "paper-resnet101.toml")
    for name in PAPER:
        found = practice(name, recipe)
        assert found.measured(found.baseline) == Measured(81.2, 72.9)
        assert [setting.paper for setting in found.settings] == list(PAPER[name])
    assert [setting.name for setting in practice("size", recipe).settings] == ["256 px", "416 px", "640 px"]


@pytest.mark.parametrize(
    ("name", "setting", "difference", "claim"),
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
def test_what_the_paper_says_of_its_own_choices(name, setting, difference, claim):
    found = practice(name, Recipe())
    of_paper = found.paper_difference(by_name(found)[setting])
    assert (of_paper.market, of_paper.duke) == pytest.approx(difference)
    assert found.claim(by_name(found)[setting]) == claim


def test_against_another_baseline_the_papers_difference_is_another():
    small = Recipe(network=Architecture("resnet50"))
    found = practice("backbone", small)
    difference = found.paper_difference(by_name(found)["resnet101"])
    assert (difference.market, difference.duke) == pytest.approx((4.9, 5.3))
    original = practice("backbone", Recipe(network=Architecture("resnet50-original")), backbones=["resnet101"])
    assert original.paper_difference(by_name(original)["resnet101"]) == difference
    other = practice("backbone", Recipe(network=Architecture("mobilenetv2")))
    assert by_name(other)["mobilenetv2"] is other.baseline
    assert {other.claim(setting) for setting in other.settings} == {None}
    gem = practice("pooling", Recipe(network=Architecture(pooling="gem")))
    assert list(by_name(gem)) == ["gem", "average", "max"]
    assert gem.paper_difference(by_name(gem)["max"]) is None
    everything = practice("augmentation", read_recipe(RECIPES / "default.toml"))
    assert everything.baseline.name == "all"
    assert everything.claim(by_name(everything)["flip"]) == "worse"


def test_sizes_are_to_the_scale_of_the_recipe_and_so_are_those_of_classification():
    recipe = Recipe(network=Architecture(size=192), classification=Classification(sizes=(96, 128, 192)))
    found = by_name(practice("size", recipe))
    assert list(found) == ["118 px", "192 px", "295 px"]
    assert [setting.paper for setting in found.values()] == ["256", "416", "640"]
    assert found["118 px"].recipe.classification.sizes == (59, 79, 118)
    chosen = practice("size", recipe, sizes=[96, 118])
    assert [(setting.name, setting.paper) for setting in chosen.settings] == [
        ("192 px", "416"),
        ("96 px", ""),
        ("118 px", "256"),
    ]


@pytest.mark.parametrize("hardest", [0, 7])
def test_triplets_are_random_or_hard_and_the_recipes_own_stay(hardest):
    recipe = Recipe(ranking=Ranking(mining=Mining(hardest=hardest)))
    found = practice("mining", recipe)
    numbers = {setting.name: setting.recipe.ranking.mining.hardest for setting in found.settings}
    assert numbers == {"random": 0, "hard": hardest or 25}
    claims = {setting.name: found.claim(setting) for setting in found.settings}
    assert claims == ({"random": "worse", "hard": None} if hardest else {"random": None, "hard": "better"})


def test_augmentations_that_the_paper_lacks_are_a_baseline_of_their_own():
    recipe = replace(Recipe(), augmentation=replace(Recipe().augmentation, flip=True))
    found = practice("augmentation", recipe)
    assert [setting.name for setting in found.settings] == [
        "flip and cut-out",
        "none",
        "flip",
        "crop",
        "cut-out",
        "all",
    ]
    assert found.label(found.settings[0]) == "baseline"
    assert found.paper_difference(found.settings[1]) is None


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(PracticeError, match="'poling'; did you mean 'pooling'"):
        practice("poling", Recipe())
    with pytest.raises(PracticeError, match="known: augmentation, size"):
        practice("!", Recipe())
    with pytest.raises(BackboneError, match="did you mean 'resnet50'"):
        practice("backbone", Recipe(), backbones=["resnet-50"])
    with pytest.raises(PracticeError, match="resnet101 is the recipe's own"):
        practice("backbone", Recipe(), backbones=["resnet101"])


def test_settings_can_be_left_out_but_for_the_baseline_and_one():
    found = practice("augmentation", Recipe())
    left = found.without(["augmentation-flip", "augmentation-crop", "baseline-of-another"])
    assert [setting.name for setting in left.settings] == ["none", "cut-out", "all"]
    assert (left.baseline, left.name) == (found.baseline, "augmentation")
    with pytest.raises(PracticeError, match="nothing is left to compare max with"):
        practice("pooling", Recipe()).without(["pooling-average"])
