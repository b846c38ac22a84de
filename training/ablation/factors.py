"""The paper's five practices, and mining as a sixth: each a change of one choice of a recipe.

And what the paper measured of each, in one place.
"""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reid_runtime.errors import ReidRuntimeError
from training.models.backbones import backbone
from training.recipe import Mining, Recipe

Direction = Literal["better", "worse", "equal"]

EQUAL = 0.5
"""Points of mAP: a difference below it is called none, the paper's as well as ours."""

CUT_OUT, CROP = 0.5, 0.1
"""The shares that settings with cut-out or crops have where the recipe has none. The paper states neither."""


class PracticeError(ReidRuntimeError):
    """A practice that nobody knows, or that leaves nothing to compare."""


@dataclass(frozen=True)
class Measured:
    """Percent mAP by the paper: single query, not re-ranked; it does not say by which definition of AP."""

    market: float
    """On Market-1501."""
    duke: float
    """On DukeMTMC-reID."""

    def __sub__(self, other: "Measured") -> "Measured":
        return Measured(self.market - other.market, self.duke - other.duke)


_CHOSEN = Measured(81.2, 72.9)

PAPER: dict[str, dict[str, Measured]] = {
    "augmentation": {
        "none": Measured(75.9, 69.6),
        "flip": Measured(77.2, 69.7),
        "crop": Measured(76.8, 69.4),
        "cut-out": _CHOSEN,
        "all": _CHOSEN,
    },
    "size": {"256": Measured(78.2, 69.2), "416": _CHOSEN, "640": Measured(81.2, 73.1)},
    "pooling": {"average": Measured(80.1, 71.4), "max": _CHOSEN},
    "backbone": {"resnet50": Measured(76.3, 67.6), "resnet101": _CHOSEN, "resnet152": Measured(81.4, 74.0)},
    "pre-training": {"no": Measured(77.1, 71.1), "yes": _CHOSEN},
}
"""Almazán et al., Re-ID done right, arXiv 1801.05339 (2018): the ablations in its tables, by practice and setting.
The paper calls hard triplets critical and has no number without them."""


@dataclass(frozen=True)
class Setting:
    """One choice, and the whole recipe with it."""

    name: str
    recipe: Recipe
    classified: bool = True
    """Whether ranking starts from identity classification; else from ImageNet."""
    paper: str = ""
    """What it is called in PAPER; empty where the paper has nothing like it."""


@dataclass(frozen=True)
class Practice:
    """One of the practices: its settings, each of which differs from the recipe in this choice alone."""

    name: str
    title: str
    baseline: Setting
    """The recipe's own choice."""
    settings: tuple[Setting, ...]
    """All of them in the paper's order, the baseline among them."""

    def label(self, setting: Setting) -> str:
        """The setting's name among all practices', fit for a folder; the baseline is one and the same in all."""
        if setting == self.baseline:
            return "baseline"
        return f"{self.name}-{setting.name}".replace(" px", "").replace("/", "-").replace(" ", "-")

    def without(self, labels: Collection[str]) -> "Practice":
        """Without the settings of these labels; raises PracticeError where none is left besides the baseline."""
        left = tuple(setting for setting in self.settings if self.label(setting) not in labels)
        if len(left) < 2:
            raise PracticeError(f"{self.name}: nothing is left to compare {self.baseline.name} with; leave out less")
        return replace(self, settings=left)

    def measured(self, setting: Setting) -> Measured | None:
        """The paper's scores with a setting."""
        return PAPER.get(self.name, {}).get(setting.paper)

    def paper_difference(self, setting: Setting) -> Measured | None:
        """By the paper: the setting less what is the baseline here; None where it has not both."""
        own, other = self.measured(setting), self.measured(self.baseline)
        return None if own is None or other is None else own - other

    def claim(self, setting: Setting) -> Direction | None:
        """What the paper says of the setting against what is the baseline here: by both its data sets' mean."""
        if self.name == "mining" and setting != self.baseline:
            return "worse" if setting.recipe.ranking.mining.hardest == 0 else "better"
        difference = self.paper_difference(setting)
        if difference is None:
            return None
        mean = (difference.market + difference.duke) / 2
        return "equal" if abs(mean) < EQUAL else "better" if mean > 0 else "worse"


Make = Callable[[Recipe, Sequence[int], Sequence[str]], tuple[Setting, list[Setting]]]
"""(recipe, sizes, backbones) to the recipe's own setting and the practice's."""


def _augmentation(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> tuple[Setting, list[Setting]]:
    own = recipe.augmentation
    cut_out, crop = own.cut_out or CUT_OUT, own.crop or CROP
    choices = {
        "none": (0.0, False, 0.0),
        "flip": (0.0, True, 0.0),
        "crop": (0.0, False, crop),
        "cut-out": (cut_out, False, 0.0),
        "all": (cut_out, True, crop),
    }
    settings = [
        Setting(name, replace(recipe, augmentation=replace(own, cut_out=noise, flip=flip, crop=moved)), paper=name)
        for name, (noise, flip, moved) in choices.items()
    ]
    used = [name for name, on in (("flip", own.flip), ("crop", own.crop), ("cut-out", own.cut_out)) if on]
    return Setting(" and ".join(used), recipe), settings


def _size(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> tuple[Setting, list[Setting]]:
    own = recipe.network.size
    papers = {max(1, round(own * int(side) / 416)): side for side in PAPER["size"]}
    settings = [
        Setting(f"{size} px", _resized(recipe, size), paper=papers.get(size, ""))
        for size in dict.fromkeys(sizes or papers)
    ]
    return Setting(f"{own} px", recipe, paper="416"), settings


def _resized(recipe: Recipe, size: int) -> Recipe:
    share = size / recipe.network.size
    grown = tuple(max(1, round(share * side)) for side in recipe.classification.sizes)
    return replace(
        recipe,
        network=replace(recipe.network, size=size),
        classification=replace(recipe.classification, sizes=grown),
    )


def _pooling(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> tuple[Setting, list[Setting]]:
    settings = [
        Setting("average", replace(recipe, network=replace(recipe.network, pooling="average")), paper="average"),
        Setting("max", replace(recipe, network=replace(recipe.network, pooling="max")), paper="max"),
    ]
    return Setting(recipe.network.pooling, recipe), settings


def _backbone(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> tuple[Setting, list[Setting]]:
    def setting(name: str) -> Setting:
        network = replace(recipe.network, backbone=backbone(name).name)
        # He et al.'s own layout is a ResNet-50 too, and so is the paper's.
        return Setting(name, replace(recipe, network=network), paper=name.removesuffix("-original"))

    names = dict.fromkeys(backbones or PAPER["backbone"])
    return setting(recipe.network.backbone), [setting(name) for name in names]


def _pre_training(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> tuple[Setting, list[Setting]]:
    own = Setting("yes", recipe, paper="yes")
    return own, [Setting("no", recipe, classified=False, paper="no"), own]


def _mining(recipe: Recipe, sizes: Sequence[int], backbones: Sequence[str]) -> tuple[Setting, list[Setting]]:
    def setting(name: str, hardest: int) -> Setting:
        mining = replace(recipe.ranking.mining, hardest=hardest)
        return Setting(name, replace(recipe, ranking=replace(recipe.ranking, mining=mining)))

    settings = [setting("random", 0), setting("hard", recipe.ranking.mining.hardest or Mining().hardest)]
    return next(one for one in settings if one.recipe == recipe), settings


_PRACTICES: dict[str, tuple[str, Make]] = {
    "augmentation": ("Data augmentation", _augmentation),
    "size": ("Input size: the longest side", _size),
    "pooling": ("Global pooling", _pooling),
    "backbone": ("Backbone", _backbone),
    "pre-training": ("Identity classification before ranking", _pre_training),
    "mining": ("Triplets", _mining),
}
NAMES = tuple(_PRACTICES)


def practice(name: str, recipe: Recipe, sizes: Sequence[int] = (), backbones: Sequence[str] = ()) -> Practice:
    """The practice of that name, around a recipe; raises PracticeError with the nearest name for an unknown one.

    `sizes` (longest sides in pixels) and `backbones` replace the paper's, which for sizes are 256/416, 1 and 640/416
    of the recipe's. Also raises PracticeError where they leave nothing but the recipe's own choice, and BackboneError
    for an unknown backbone.
    """
    if name not in _PRACTICES:
        nearest = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(NAMES)}"
        raise PracticeError(f"no practice is called {name!r}; {hint}")
    title, make = _PRACTICES[name]
    own, settings = make(recipe, sizes, backbones)
    named = [setting for setting in settings if (setting.recipe, setting.classified) == (recipe, True)]
    found = Practice(name, title, named[0], tuple(settings)) if named else Practice(name, title, own, (own, *settings))
    if len(found.settings) < 2:
        raise PracticeError(f"{name}: {found.baseline.name} is the recipe's own; name something to compare it with")
    return found
