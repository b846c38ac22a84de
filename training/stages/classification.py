"""The paper's second pre-training, after ImageNet: whose image is this? Cross-entropy over the training identities."""

from dataclasses import replace

import numpy as np

from reid_runtime.images.resize import LongestSide, Pixels, ResizeRule
from reid_runtime.scoring.labels import Integers
from training.config import RecipeError
from training.data.augmentation import augment
from training.data.cutout import largest_extent
from training.models.network import add_neck
from training.recipe import Architecture, Recipe
from training.registry import look_up
from training.stages.base import StageInputs, StageKind
from training.stages.epochs import EpochStage
from training.stages.losses import CLASSIFIERS

NAME = "classification"


def classification_architecture(recipe: Recipe) -> Architecture:
    """The network of this stage, which may have a dimension of its own."""
    return replace(recipe.network, dimension=recipe.classification.dimension or recipe.network.dimension)


def classification_stage(inputs: StageInputs) -> EpochStage:
    """The stage; the network has `classification_architecture`."""
    crops, recipe = inputs.crops, inputs.recipe
    choices, augmentation = recipe.classification, recipe.augmentation
    architecture = classification_architecture(recipe)

    def show(row: int, epoch: int, rule: ResizeRule) -> Pixels:
        # Of seed, epoch and row alone, whatever batch the image is in.
        random = np.random.default_rng((recipe.seed, epoch, row))
        extent = largest_extent(epoch / choices.epochs, augmentation.cut_out, augmentation.cut_out_schedule)
        return augment(crops.images[row], rule, augmentation, extent, random)

    def target(rows: Integers, epoch: int) -> Integers:
        return crops.labels[rows]

    classifier = look_up(CLASSIFIERS, choices.classifier, "classifier", RecipeError)
    if not classifier.unit_length:
        add_neck(inputs.network)
    objective = classifier.make(architecture.dimension, crops.identities, choices)
    rules = tuple(map(LongestSide, choices.sizes)) or (recipe.network.rule,)
    return EpochStage(
        NAME, inputs, architecture, objective, choices, rules, show, target, unit_length=classifier.unit_length
    )


KIND = StageKind(
    "classify",
    """Identity classification on DATA's training split: which of its people is this?

    DATA is a data set that `reid-runtime datasets` lists, or a plain folder identity/camera/image of your own.
    """,
    classification_stage,
    classification_architecture,
)
