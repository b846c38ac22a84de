"""The paper's second pre-training, after ImageNet: whose image is this? Cross-entropy over the training identities."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from reid_runtime.images.resize import LongestSide, Pixels, ResizeRule
from reid_runtime.scoring.labels import Integers
from training.data.augmentation import augment
from training.data.cutout import largest_extent
from training.data.training_set import TrainingCrops
from training.models.network import EmbeddingNetwork, batch_normalise
from training.recipe import Architecture, Recipe
from training.stages.epochs import EpochStage
from training.stages.losses import IdentityClassifier, LinearClassifier

NAME = "classification"


def classification_architecture(recipe: Recipe) -> Architecture:
    """The network of this stage, which may have a dimension of its own."""
    return replace(recipe.network, dimension=recipe.classification.dimension or recipe.network.dimension)


def classification_stage(
    network: EmbeddingNetwork, crops: TrainingCrops, recipe: Recipe, device: torch.device
) -> EpochStage:
    """The stage over these images; `network` has `classification_architecture` and is on `device`."""
    choices, augmentation = recipe.classification, recipe.augmentation
    architecture = classification_architecture(recipe)

    def show(row: int, epoch: int, rule: ResizeRule) -> Pixels:
        # Of seed, epoch and row alone, whatever batch the image is in.
        random = np.random.default_rng((recipe.seed, epoch, row))
        extent = largest_extent(epoch / choices.epochs, augmentation.cut_out, augmentation.cut_out_schedule)
        return augment(crops.images[row], rule, augmentation, extent, random)

    def target(rows: Integers, epoch: int) -> Integers:
        return crops.labels[rows]

    dimension, smoothing = architecture.dimension, choices.label_smoothing
    cosine = choices.classifier == "cosine"
    objective: nn.Module
    if cosine:
        objective = IdentityClassifier(dimension, crops.identities, choices.scale, choices.margin, smoothing)
    else:
        batch_normalise(network)
        objective = LinearClassifier(dimension, crops.identities, smoothing)
    rules = tuple(map(LongestSide, choices.sizes)) or (recipe.network.rule,)
    return EpochStage(
        NAME, architecture, network, objective, crops, recipe, choices, rules, device, show, target, cosine
    )  # fmt: skip
