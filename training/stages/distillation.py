"""A small network learns the vectors that a better model, of any size, gives to the same views of the same images."""

import torch

from reid_runtime.images.resize import Pixels, ResizeRule
from reid_runtime.scoring.labels import Integers
from training.data.cutout import largest_extent
from training.data.student_view import suffered, view_of
from training.data.training_set import TrainingCrops
from training.models.network import EmbeddingNetwork
from training.recipe import Recipe
from training.stages.epochs import EpochStage
from training.stages.losses import TeacherVectors

NAME = "distillation"


def distillation_stage(
    network: EmbeddingNetwork, crops: TrainingCrops, recipe: Recipe, device: torch.device, vectors: torch.Tensor
) -> EpochStage:
    """The stage over these images and `teacher_vectors`; `network` has the recipe's architecture, on `device`."""
    choices = recipe.distillation

    def show(row: int, epoch: int, rule: ResizeRule) -> Pixels:
        view = view_of(crops, row, epoch % choices.views, choices, recipe.seed)
        extent = largest_extent(epoch / choices.epochs, choices.cut_out, recipe.augmentation.cut_out_schedule)
        # At the shape of the image that the view is of: a batch is of one shape, and views are nearly so.
        shape = rule.shape(*crops.images[row].shape[:2])
        return suffered(view, shape, extent, choices, (recipe.seed, epoch, row))

    def target(rows: Integers, epoch: int) -> Integers:
        return rows + (epoch % choices.views) * len(crops.images)

    objective = TeacherVectors(vectors)
    return EpochStage(
        NAME, recipe.network, network, objective, crops, recipe, choices, (recipe.network.rule,), device, show, target
    )  # fmt: skip
