"""The recipe: everything that decides what training makes, in one frozen value and one TOML file, a table a subject.

The defaults are the choices of 'Re-ID done right' (Almazán et al., 2018), so that a file states only where it goes
another way. Where the paper says nothing, the field's docstring says that the choice is ours.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from reid_runtime.images.resize import Area, LongestSide
from training.config import Amount, Count, Name, Positive, RecipeError, Seed, Share, Whole, as_plain, decode


@dataclass(frozen=True)
class Architecture:
    """Image at its own size, convolutional backbone, global pooling, fully connected layer, L2 normalisation."""

    backbone: Name = "resnet101"
    """A name of training.models.backbones. The paper: ResNet-101 (81.2 mAP on Market-1501; 76.3 with ResNet-50)."""
    pooling: Literal["max", "average", "gem", "spatial"] = "max"
    """Global pooling. The paper: max (81.2; average 80.1). "spatial", ours: a weight for each channel and place."""
    activation: Literal["none", "prelu", "prelu, linear"] = "none"
    """After the fully connected layer. "prelu": one slope for negative numbers, as Intel's networks have it; "prelu,
    linear": and a matrix, where whitening has put one behind it."""
    dimension: Count = 2048
    """Length of the embedding. The paper: the backbone's own, D to D."""
    size: Count = 416
    """Longest side of an image in pixels, aspect ratio kept. The paper: 416 (81.2; 256 gives 78.2, 640 81.2)."""
    area: Whole = 0
    """Pixels of an image, aspect ratio kept, in the place of a longest side; 0: `size` holds. Ours."""
    step: Count = 1
    """With `area`: both sides are multiples of this, so that many images have one shape."""

    @property
    def rule(self) -> LongestSide | Area:
        """The resize of an image."""
        return Area(self.area, self.step) if self.area else LongestSide(self.size)


@dataclass(frozen=True)
class Augmentation:
    """What is done to images in classification and ranking."""

    cut_out: Share = 0.5
    """Largest share of each side that noise replaces, at the end of training; 0 for none. The paper's cut-out."""
    cut_out_schedule: Literal["linear", "thirds", "constant"] = "linear"
    """How the region grows. "linear": from 0 to `cut_out`; "thirds": three equal stages with 1/3, 2/3 and all of
    `cut_out`, which is the published h/3, w/3 times the stage where `cut_out` is 1. Re-implementations have both and
    the paper does not say; linear is the default because it begins with whole images, as a curriculum should, and
    because no jump in difficulty falls between two updates. "constant", ours: all of it from the start, for runs so
    short that training images are learnt by heart before a growing region hides anything."""
    flip: bool = False
    """Mirror half of the images. The paper: nothing on top of cut-out."""
    crop: Share = 0.0
    """Largest share of each side by which a window of the image's own size is moved, the edge repeated; 0 for none.
    The paper: nothing on top of cut-out."""


@dataclass(frozen=True)
class Classification:
    """Identity classification by cross-entropy, between ImageNet and ranking. The paper gives none of its settings
    (with it 81.2 mAP, without 77.1), so all of these are ours."""

    epochs: Count = 60
    batch: Count = 64
    """Images per optimiser step."""
    sizes: tuple[Count, ...] = ()
    """Longest sides in pixels, in equal shares of the epochs, small images first; the last is the network's own.
    Empty: the network's size all the time."""
    dimension: Whole = 0
    """Length of the embedding in this stage alone; 0: the network's. A later stage takes over the trunk, and the
    fully connected layer only where it has the same shape."""
    learning_rate: Positive = 3.5e-4
    """AdamW's peak; linear warm-up, then half a cosine to zero."""
    warmup_epochs: Amount = 2.0
    weight_decay: Amount = 0.02
    classifier: Literal["bnneck", "cosine"] = "bnneck"
    """What comes between vectors and softmax. "bnneck": batch normalisation behind the fully connected layer, then
    products with a weight vector of each identity, after Luo et al., Bag of tricks and a strong baseline for deep
    person re-identification, 2019; in the finished model the layer has taken the normalisation in. "cosine": scaled
    cosines to a direction of each identity, which want a margin."""
    scale: Positive = 24.0
    """"cosine" alone: multiplies the cosines before the softmax."""
    margin: Amount = 0.0
    """"cosine" alone: subtracted from the right identity's cosine; 0 is plain cross-entropy, the paper's."""
    label_smoothing: Share = 0.0


@dataclass(frozen=True)
class Mining:
    """Hard triplets, out of a pool of training images whose vectors are kept for some updates."""

    pool: Count = 5000
    """Training images in the pool. The paper's re-implementations: 5,000."""
    refresh_every: Count = 16
    """Updates for which the pool's vectors are kept. The re-implementations: 16."""
    hardest: Whole = 25
    """A random query's triplet is one of this many pairs with the highest loss. The re-implementations: 25.
    0: any pair, so that no vectors are needed."""


@dataclass(frozen=True)
class Ranking:
    """Three streams with shared weights, and the ranking loss 1/2 max(0, m + |q - d+|^2 - |q - d-|^2)."""

    loss: Literal["triplet"] = "triplet"
    margin: Positive = 0.1
    """m. The re-implementations: 0.1."""
    triplets: Count = 64
    """Triplets whose gradients are accumulated to one update. The re-implementations: 64."""
    updates: Count = 4096
    learning_rate: Positive = 1e-3
    """SGD's, at the start. The re-implementations: 1e-3."""
    halve_every: Count = 512
    """Updates after which the learning rate is halved, each time. The re-implementations: 512."""
    weight_decay: Amount = 5e-5
    momentum: Share = 0.9
    """Ours: neither the paper nor the re-implementations say."""
    bn_calibration: Whole = 0
    """Training images over which batch normalisation's statistics are taken anew, at the network's size and without
    cut-out, before this stage freezes them; 0: they stay those of classification. Ours: the paper does not say."""
    triplets_together: Count = 1
    """1: images go through one by one, the paper's way. More: those of this many triplets go together, in batches of
    one shape. The gradients are the same; memory grows with it."""
    mining: Mining = field(default_factory=Mining)


@dataclass(frozen=True)
class Views:
    """What a teacher and its student see of each image, and what the student alone does.

    After Beyer et al., Knowledge distillation: a good teacher is patient and consistent, 2022: both see one and the
    same view, and there are many views. On top of that comes what the student alone sees.
    """

    views: Count = 6
    """Fixed views of each image; each epoch shows one of them, in turn. The teacher embeds each once."""
    flip: bool = True
    """Mirror half of the views."""
    window: tuple[Positive, Positive] = (0.8, 1.12)
    """Smallest and largest share of the image's sides that a view shows; above 1 the edge is repeated."""
    aspect_jitter: Share = 0.08
    """Largest share by which a side of the window is longer or shorter than that: a detector's box that fits badly."""
    shift: Share = 0.06
    """Largest share of each side by which the window is off the middle."""
    colour_jitter: Share = 0.6
    """Share of the views with another gamma and other gains of the channels; never the first view."""
    vertical_cutmix: Share = 0.4
    """Share of the views whose lower part is another image's: people whom nobody has seen; never the first view."""
    low_resolution: Share = 0.3
    """Share of the student's images that are shrunk first: low resolution, of which the teacher knows nothing."""
    low_resolution_scale: tuple[Positive, Positive] = (0.1, 0.5)
    """Smallest and largest share of the model's size to which these are shrunk."""
    cut_out: Share = 0.3
    """As in [augmentation], whose schedule it follows; the student's alone."""


@dataclass(frozen=True)
class Distillation(Views):
    """A better model's vectors as targets. Not in the paper."""

    epochs: Count = 18
    batch: Count = 64
    learning_rate: Positive = 1e-3
    """AdamW's peak; linear warm-up, then half a cosine to zero."""
    warmup_epochs: Amount = 0.5
    weight_decay: Amount = 0.02


@dataclass(frozen=True)
class Adaptation(Views):
    """Another geometry of the input, learnt from the network's own vectors. Not in the paper.

    The teacher is the network as it was, or a better one of the same family, with its own resize rule; its vector of a
    view is the mean of those of the view and of its mirror image.
    """

    epochs: Count = 6
    batch: Count = 32
    learning_rate: Positive = 1e-4
    """AdamW's peak; linear warm-up, then half a cosine to zero."""
    warmup_epochs: Amount = 0.25
    weight_decay: Amount = 0.0
    ridge: Amount = 0.3
    """Before the fine-tuning, the fully connected layer is fitted anew in closed form; this holds it to what it was, in
    shares of the mean variance of what it is fitted to. 0: it is not fitted."""
    relations: Amount = 1.0
    """Weight, beside the cosines to the teacher's vectors, of how far a batch's similarities among each other are from
    the teacher's."""


@dataclass(frozen=True)
class Validation:
    """People of the training split who are kept out of training and scored, as the measure of a run's progress."""

    share: Share = 0.05
    """Share of the identities; 0 trains on all of them. Ours: the paper does not say what it watched. The same
    people in all stages, as long as data and seed are the same."""
    every: Count = 512
    """Updates between two scorings; also before the first and after the last update."""


@dataclass(frozen=True)
class Recipe:
    """The whole of it: ImageNet, then identity classification, then ranking; or a teacher in ranking's place."""

    seed: Seed = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network's passes; "bfloat16" is by autocast, with the weights in float32."""
    fixed: tuple[Name, ...] = ()
    """Parts of the trunk, by their names in it, that no stage trains: they go on computing what they did when the run
    began. Ours, to save time: ResNet-50's ["conv1", "bn1", "layer1"] hold half of its activations, and without their
    gradients it trains 1.5 times as fast (bfloat16, batches of 64, 128 to 256 pixels, two cores)."""
    network: Architecture = field(default_factory=Architecture)
    augmentation: Augmentation = field(default_factory=Augmentation)
    classification: Classification = field(default_factory=Classification)
    ranking: Ranking = field(default_factory=Ranking)
    distillation: Distillation = field(default_factory=Distillation)
    adaptation: Adaptation = field(default_factory=Adaptation)
    validation: Validation = field(default_factory=Validation)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in TOML and JSON."""
        return as_plain(self)


_VIEWS = {
    "stretch": "aspect_jitter",
    "move": "shift",
    "light": "colour_jitter",
    "chimera": "vertical_cutmix",
    "coarse": "low_resolution",
    "coarse_share": "low_resolution_scale",
}
_RENAMED = {"ranking": {"statistics": "bn_calibration"}, "distillation": _VIEWS, "adaptation": _VIEWS}
"""By table, earlier names of keys to today's: checkpoints and run folders hold recipes from before."""


def _with_current_names(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    current = dict(values)
    for name, renamed in _RENAMED.items():
        table = current.get(name)
        if isinstance(table, Mapping):
            # One that has both names keeps the earlier, which is then refused.
            current[name] = {
                renamed[key] if key in renamed and renamed[key] not in table else key: value
                for key, value in table.items()
            }
    return current


def recipe_from(values: Any, source: str) -> Recipe:
    """A recipe from plain values, as TOML and JSON have them; what they do not name is the paper's.

    Raises:
        RecipeError: Naming `source`, for what cannot be a recipe.
    """
    recipe = decode(Recipe, _with_current_names(values), source)
    sizes = recipe.classification.sizes
    if sizes and sizes[-1] != recipe.network.size:
        raise RecipeError(
            f"{source}: [classification] 'sizes' ends with {sizes[-1]}, expected [network] 'size', "
            f"{recipe.network.size}"
        )
    for table, name in product(("distillation", "adaptation"), ("window", "low_resolution_scale")):
        smallest, largest = getattr(getattr(recipe, table), name)
        if smallest > largest or (name == "low_resolution_scale" and largest > 1):
            raise RecipeError(
                f"{source}: [{table}] {name!r} is [{smallest:g}, {largest:g}], expected the smaller first"
                f"{', none above 1' if name == 'low_resolution_scale' else ''}"
            )
    if 0 < recipe.network.area < recipe.network.step**2:
        raise RecipeError(
            f"{source}: [network] 'area' is {recipe.network.area} pixels, expected a square of 'step' or "
            f"more, {recipe.network.step**2}"
        )
    if recipe.validation.share > 0.5:
        raise RecipeError(f"{source}: [validation] 'share' is {recipe.validation.share:g}, expected 0 to 0.5")
    return recipe


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # what is no UTF-8, no TOML, or a number of thousands of digits
        raise RecipeError(f"{path}: expected a recipe in TOML: {error}") from error
    return recipe_from(values, str(path))
