"""The paper's five factors, and mining as a sixth: each a change of one choice of a recipe; and the paper's scores."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reid_runtime.errors import ReidRuntimeError
from training.models.backbones import backbone
from training.recipe import Mining, Recipe
from training.registry import look_up

Direction = Literal["better", "worse", "equal"]

EQUAL = 0.5
"""Points of mAP: a difference below it is called none, the paper's as well as ours."""

CUT_OUT, CROP = 0.5, 0.1
"""The shares that variants with cut-out or crops have where the recipe has none. The paper states neither."""


class FactorError(ReidRuntimeError):
    """An unknown factor, or one that leaves nothing to compare."""


@dataclass(frozen=True)
class PaperScore:
    """Percent mAP by the paper: single query, not re-ranked; it does not say by which definition of AP."""

    market: float
    """On Market-1501."""
    duke: float
    """On DukeMTMC-reID."""

    def __sub__(self, other: "PaperScore") -> "PaperScore":
        return PaperScore(self.market - other.market, self.duke - other.duke)


_CHOSEN = PaperScore(81.2, 72.9)

PAPER: dict[str, dict[str, PaperScore]] = {
    "augmentation": {
        "none": PaperScore(75.9, 69.6),
        "flip": PaperScore(77.2, 69.7),
        "crop": PaperScore(76.8, 69.4),
        "cut-out": _CHOSEN,
        "all": _CHOSEN,
    },
    "size": {"256": PaperScore(78.2, 69.2), "416": _CHOSEN, "640": PaperScore(81.2, 73.1)},
    "pooling": {"average": PaperScore(80.1, 71.4), "max": _CHOSEN},
    "backbone": {"resnet50": PaperScore(76.3, 67.6), "resnet101": _CHOSEN, "resnet152": PaperScore(81.4, 74.0)},
    "pre-training": {"no": PaperScore(77.1, 71.1), "yes": _CHOSEN},
}
"""Almazán et al., Re-ID done right, arXiv 1801.05339 (2018): the ablations in its tables, by factor and variant.
The paper calls hard triplets critical and has no number without them."""


@dataclass(frozen=True)
class Variant:
    """One choice, and the whole recipe with it."""

    name: str
    recipe: Recipe
    classified: bool = True
    """Whether ranking starts from identity classification; else from ImageNet."""
    paper: str = ""
    """What it is called in PAPER; empty where the paper has nothing like it."""


@dataclass(frozen=True)
class Factor:
    """One choice of a recipe, and its variants, which differ in that alone."""

    name: str
    title: str
    baseline: Variant
    """The recipe's own choice."""
    variants: tuple[Variant, ...]
    """All of them in the paper's order, the baseline among them."""

    def label(self, variant: Variant) -> str:
        """The variant's name among all factors', fit for a folder; the baseline is one and the same in all."""
        if variant == self.baseline:
            return "baseline"
        return f"{self.name}-{variant.name}".replace(" px", "").replace("/", "-").replace(" ", "-")

    def without(self, labels: Collection[str]) -> "Factor":
        """Without the variants of these labels; raises FactorError where none is left besides the baseline."""
        left = tuple(variant for variant in self.variants if self.label(variant) not in labels)
        if len(left) < 2:
            raise FactorError(f"{self.name}: nothing is left to compare {self.baseline.name} with; leave out less")
        return replace(self, variants=left)

    def paper_score(self, variant: Variant) -> PaperScore | None:
        """The paper's scores with a variant."""
        return PAPER.get(self.name, {}).get(variant.paper)

    def paper_difference(self, variant: Variant) -> PaperScore | None:
        """By the paper: the variant less what is the baseline here; None where it has not both."""
        own, other = self.paper_score(variant), self.paper_score(self.baseline)
        return None if own is None or other is None else own - other

    def claim(self, variant: Variant) -> Direction | None:
        """What the paper says of the variant against what is the baseline here: by both its data sets' mean."""
        if self.name == "mining" and variant != self.baseline:
            return "worse" if variant.recipe.ranking.mining.hardest == 0 else "better"
        difference = self.paper_difference(variant)
        if difference is None:
            return None
        mean = (difference.market + difference.duke) / 2
        return "equal" if abs(mean) < EQUAL else "better" if mean > 0 else "worse"


Make = Callable[[Recipe, Sequence[int], Sequence[str]], list[Variant]]
"""(recipe, sizes, backbones) to the factor's variants; the first is the recipe's own choice where none of them is."""


def _change(recipe: Recipe, table: str, **choices: Any) -> Recipe:
    return replace(recipe, **{table: replace(getattr(recipe, table), **choices)})


def _augmentation(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> list[Variant]:
    own = recipe.augmentation
    cut_out, crop = own.cut_out or CUT_OUT, own.crop or CROP
    choices = {
        "none": (0.0, False, 0.0),
        "flip": (0.0, True, 0.0),
        "crop": (0.0, False, crop),
        "cut-out": (cut_out, False, 0.0),
        "all": (cut_out, True, crop),
    }
    used = [name for name, on in (("flip", own.flip), ("crop", own.crop), ("cut-out", own.cut_out)) if on]
    return [
        Variant(" and ".join(used), recipe),
        *(
            Variant(name, _change(recipe, "augmentation", cut_out=noise, flip=flip, crop=share), paper=name)
            for name, (noise, flip, share) in choices.items()
        ),
    ]


def _size(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> list[Variant]:
    own = recipe.network.size
    papers = {max(1, round(own * int(side) / 416)): side for side in PAPER["size"]}

    def resized(size: int) -> Recipe:
        grown = tuple(max(1, round(size / own * side)) for side in recipe.classification.sizes)
        return _change(_change(recipe, "network", size=size), "classification", sizes=grown)

    return [
        Variant(f"{own} px", recipe, paper="416"),
        *(Variant(f"{size} px", resized(size), paper=papers.get(size, "")) for size in dict.fromkeys(sizes or papers)),
    ]


def _pooling(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> list[Variant]:
    return [
        Variant(recipe.network.pooling, recipe),
        *(Variant(name, _change(recipe, "network", pooling=name), paper=name) for name in PAPER["pooling"]),
    ]


def _backbone(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> list[Variant]:
    names = [recipe.network.backbone, *dict.fromkeys(backbones or PAPER["backbone"])]
    # He et al.'s own layout is a ResNet-50 too, and so is the paper's.
    return [
        Variant(name, _change(recipe, "network", backbone=backbone(name).name), paper=name.removesuffix("-original"))
        for name in names
    ]


def _pre_training(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> list[Variant]:
    own = Variant("yes", recipe, paper="yes")
    return [own, Variant("no", recipe, classified=False, paper="no"), own]


def _mining(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> list[Variant]:
    def variant(name: str, hardest: int) -> Variant:
        return Variant(name, _change(recipe, "ranking", mining=replace(recipe.ranking.mining, hardest=hardest)))

    own = recipe.ranking.mining.hardest
    return [variant("hard" if own else "random", own), variant("random", 0), variant("hard", own or Mining().hardest)]


_FACTORS: dict[str, tuple[str, Make]] = {
    "augmentation": ("Data augmentation", _augmentation),
    "size": ("Input size: the longest side", _size),
    "pooling": ("Global pooling", _pooling),
    "backbone": ("Backbone", _backbone),
    "pre-training": ("Identity classification before ranking", _pre_training),
    "mining": ("Triplets", _mining),
}
NAMES = tuple(_FACTORS)


def factor(name: str, recipe: Recipe, sizes: Sequence[int] = (), backbones: Sequence[str] = ()) -> Factor:
    """The factor of that name, around a recipe.

    Args:
        name: One of NAMES.
        recipe: The baseline.
        sizes: Longest sides in pixels; empty: 256/416, 1 and 640/416 of the recipe's.
        backbones: Names of backbones; empty: the paper's.

    Raises:
        FactorError: With the nearest name for an unknown one, and where only the recipe's own choice is left.
        BackboneError: For an unknown backbone.
    """
    title, make = look_up(_FACTORS, name, "factor", FactorError)
    own, *variants = make(recipe, sizes, backbones)
    baseline = next((one for one in variants if (one.recipe, one.classified) == (recipe, True)), None)
    if baseline is None:
        baseline, variants = own, [own, *variants]
    if len(variants) < 2:
        raise FactorError(f"{name}: {baseline.name} is the recipe's own; name something to compare it with")
    return Factor(name, title, baseline, tuple(variants))
