import tomllib
from pathlib import Path

import pytest

from training.config import as_toml, differing
from training.recipe import Recipe, RecipeError, read_recipe, recipe_from

FOLDER = Path(__file__).parents[2] / "training" / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))


def test_the_recipes_are_there():
    assert [path.stem for path in RECIPES] == [
        "ablation-two-cores",
        "base",
        "default",
        "paper-resnet101",
        "paper-resnet50",
        "resnet50-two-cores",
        "small",
        "tiny",
        "two-cores",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_reads_and_survives_the_way_through_plain_values_and_toml(path):
    recipe = read_recipe(path)
    assert recipe_from(recipe.as_dict(), "round trip") == recipe
    assert recipe_from(tomllib.loads(as_toml(recipe.as_dict())), "round trip") == recipe


def test_the_defaults_are_the_papers_choices_and_its_recipe_adds_nothing():
    recipe = recipe_from({}, "empty")
    assert (recipe.network.backbone, recipe.network.pooling, recipe.network.size) == ("resnet101", "max", 416)
    ranking = recipe.ranking
    assert (ranking.margin, ranking.triplets, ranking.updates, ranking.triplets_together) == (0.1, 64, 4096, 1)
    assert (ranking.learning_rate, ranking.halve_every, ranking.weight_decay) == (1e-3, 512, 5e-5)
    assert (ranking.mining.pool, ranking.mining.refresh_every, ranking.mining.hardest) == (5000, 16, 25)
    assert (recipe.classification.margin, recipe.classification.label_smoothing) == (0, 0)
    assert (recipe.augmentation.cut_out, recipe.augmentation.flip, recipe.augmentation.crop) == (0.5, False, 0)
    assert read_recipe(FOLDER / "paper-resnet101.toml") == Recipe() == recipe
    assert differing(read_recipe(FOLDER / "paper-resnet50.toml").as_dict(), recipe.as_dict()) == ["network.backbone"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"networc": {}}, "unknown key 'networc'; did you mean 'network'?"),
        ({"ranking": {"learning_rat": 0.1}}, "'ranking': unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        ({"ranking": {"mining": {"pol": 1}}}, "'mining': unknown key 'pol'; did you mean 'pool'?"),
        ({"pool": 100}, "unknown key 'pool'; it belongs in [ranking.mining]"),
        ({"epochs": 100}, "it belongs in [classification] or [distillation]"),
        ({"network": {"zzz": 1}}, "known: backbone, pooling"),
        ({"network": 3}, "'network' is 3, expected a table"),
        ({"classification": {"epochs": "ten"}}, "'epochs' is 'ten', expected int"),
        ({"classification": {"epochs": True}}, "'epochs' is True, expected int"),
        ({"classification": {"epochs": 0}}, "'epochs' is 0, expected 1 or more"),
        ({"classification": {"sizes": [128, 0]}}, "'sizes' is 0, expected 1 or more"),
        ({"classification": {"sizes": 128}}, "'sizes' is 128, expected a list"),
        ({"classification": {"sizes": [128]}}, "'sizes' ends with 128, expected [network] 'size', 416"),
        ({"augmentation": {"cut_out": 1.5}}, "'cut_out' is 1.5, expected 0 to 1"),
        ({"augmentation": {"cut_out_schedule": "square"}}, "expected 'linear' or 'thirds' or 'constant'"),
        ({"augmentation": {"flip": 1}}, "'flip' is 1, expected bool"),
        ({"ranking": {"learning_rate": 0}}, "'learning_rate' is 0, expected more than 0"),
        ({"ranking": {"learning_rate": float("nan")}}, "'learning_rate' is nan, expected a finite number"),
        ({"ranking": {"learning_rate": float("inf")}}, "'learning_rate' is inf, expected a finite number"),
        ({"distillation": {"window": [0.5]}}, "'window' is [0.5], expected a list of 2"),
        ({"distillation": {"window": [1.2, 0.8]}}, "expected the smaller first"),
        ({"distillation": {"low_resolution_scale": [0.5, 1.5]}}, "none above 1"),
        ({"validation": {"share": 0.9}}, "expected 0 to 0.5"),
        ({"precision": "float8"}, "expected 'float32' or 'bfloat16'"),
        ({"ranking": {"learning_rate": 10**400}}, "expected a finite number"),
        ({"seed": -1}, "'seed' is -1, expected 0 to 9.2"),
        ({"seed": 2**64}, "'seed' is 18446744073709551616, expected 0 to 9.2"),
    ],
)
def test_a_wrong_value_is_named(values, said):
    with pytest.raises(RecipeError, match=r"here\.toml") as caught:
        recipe_from(values, "here.toml")
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"seed = = 3", b"\xff\xfe", b"seed = 1" + b"0" * 5000, None])
def test_a_file_that_is_not_toml_is_named(content, tmp_path):
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"broken\.toml"):
        read_recipe(path)


def test_recipes_from_before_keys_were_renamed_are_read():
    shared = {"stretch": 0.1, "move": 0.2, "light": 0.3, "chimera": 0.4, "coarse": 0.5, "coarse_share": [0.2, 0.3]}
    recipe = recipe_from({"ranking": {"statistics": 768}, "distillation": shared}, "earlier.toml")
    assert recipe.ranking.bn_calibration == 768
    views = recipe.distillation
    assert (views.aspect_jitter, views.shift, views.colour_jitter, views.vertical_cutmix) == (0.1, 0.2, 0.3, 0.4)
    assert (views.low_resolution, views.low_resolution_scale) == (0.5, (0.2, 0.3))
    with pytest.raises(RecipeError, match="unknown key 'light'"):
        recipe_from({"distillation": {"light": 0.1, "colour_jitter": 0.2}}, "both.toml")


@pytest.mark.parametrize("path", sorted((FOLDER.parents[1] / "benchmarks" / "results").rglob("recipe.toml")), ids=str)
def test_the_recipes_of_committed_runs_are_read(path):
    read_recipe(path)
