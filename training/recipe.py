"""The recipe: everything that decides what a training run makes, in one frozen value and one TOML file."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_runtime.errors import ReidRuntimeError


class RecipeError(ReidRuntimeError):
    """A recipe with an unknown key, a missing one, or a value of the wrong kind."""


@dataclass(frozen=True)
class Recipe:
    """Identity classification: cross-entropy over cosine similarities to one direction per identity."""

    backbone: str
    """A name of training.backbones."""
    dimension: int
    """Length of the embedding."""
    sizes: tuple[int, ...]
    """Longest side in pixels over training, in equal shares of the epochs; the last is the model's own."""
    epochs: int
    batch: int
    """Crops per optimiser step."""
    learning_rate: float
    """AdamW's peak; linear warm-up, then a half cosine to zero."""
    warmup_epochs: float
    weight_decay: float
    scale: float
    """Multiplies the cosines before the softmax."""
    margin: float
    """Subtracted from the right identity's cosine; 0 is plain cross-entropy."""
    label_smoothing: float
    precision: str
    """"bfloat16" (autocast) or "float32"."""
    cut_out: float
    """Largest share of each side that is replaced by noise at the end of training."""
    flip: bool
    shift: float
    """Largest share of each side by which a crop is moved at random, its edge repeated."""
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in TOML and JSON."""
        return {**dataclasses.asdict(self), "sizes": list(self.sizes)}


_POSITIVE = ("dimension", "epochs", "batch", "learning_rate", "scale")
_SHARES = ("label_smoothing", "cut_out", "shift")


def recipe_from(values: Mapping[str, Any], source: str) -> Recipe:
    """A Recipe from plain values; raises RecipeError, naming `source`, for unknown, missing or ill-typed keys."""
    fields = {field.name: field.type for field in dataclasses.fields(Recipe)}
    for key in values:
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(fields)}"
            raise RecipeError(f"{source}: unknown key {key!r}; {hint}")
    missing = [name for name in fields if name not in values]
    if missing:
        raise RecipeError(f"{source}: missing {', '.join(map(repr, missing))}")
    checked: dict[str, Any] = {}
    for name, kind in fields.items():
        value = values[name]
        if name == "sizes" and _are_sizes(value):
            checked[name] = tuple(value)
        elif name == "precision" and value not in ("bfloat16", "float32"):
            raise RecipeError(f"{source}: 'precision' is {value!r}, expected 'bfloat16' or 'float32'")
        elif kind is float and type(value) in (int, float):
            checked[name] = float(value)
        elif type(value) is kind:
            checked[name] = value
        else:
            raise RecipeError(f"{source}: {name!r} is {value!r}, expected {getattr(kind, '__name__', kind)}")
    _check_ranges(checked, source)
    return Recipe(**checked)


def _check_ranges(values: Mapping[str, Any], source: str) -> None:
    for name in _POSITIVE:
        if not values[name] > 0:
            raise RecipeError(f"{source}: {name!r} is {values[name]}, expected more than 0")
    for name in _SHARES:
        if not 0 <= values[name] <= 1:
            raise RecipeError(f"{source}: {name!r} is {values[name]}, expected 0 to 1")


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(type(size) is int and size > 0 for size in value)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: expected a recipe in TOML: {error}") from error
    return recipe_from(values, str(path))
