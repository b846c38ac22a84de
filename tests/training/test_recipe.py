from pathlib import Path

import pytest

from training.recipe import RecipeError, read_recipe, recipe_from

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_reads_and_survives_the_way_through_plain_values(path):
    recipe = read_recipe(path)
    assert recipe_from(recipe.as_dict(), "round trip") == recipe


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ({"epochs": "ten"}, "'epochs' is 'ten', expected int"),
        ({"epochs": True}, "'epochs' is True, expected int"),
        ({"sizes": []}, "'sizes'"),
        ({"epochs": 0}, "expected more than 0"),
        ({"cut_out": 1.5}, "expected 0 to 1"),
        ({"precision": "float8"}, "expected 'bfloat16' or 'float32'"),
        ({"sizes": [128, 0]}, "'sizes'"),
    ],
)
def test_a_wrong_value_is_named(change, said):
    values = read_recipe(RECIPES[0]).as_dict() | change
    with pytest.raises(RecipeError, match=r"here\.toml") as caught:
        recipe_from(values, "here.toml")
    assert said in str(caught.value)


def test_a_missing_key_is_named():
    values = read_recipe(RECIPES[0]).as_dict()
    del values["seed"]
    with pytest.raises(RecipeError, match="missing 'seed'"):
        recipe_from(values, "here.toml")


def test_a_file_that_is_not_toml_is_named(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("epochs = = 3")
    with pytest.raises(RecipeError, match=r"broken\.toml"):
        read_recipe(path)
