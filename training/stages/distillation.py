"""A small network learns the vectors that a better model, of any size, gives to the same views of the same images."""

import torch

from reid_runtime.images.resize import Pixels, ResizeRule
from reid_runtime.scoring.labels import Integers
from training.data.cutout import largest_extent
from training.data.views import student_view, view_of
from training.stages.base import StageInputs, StageKind
from training.stages.epochs import EpochStage
from training.stages.losses import TeacherVectors
from training.stages.teacher import taught

NAME = "distillation"


def distillation_stage(inputs: StageInputs, vectors: torch.Tensor, terms: str = "") -> EpochStage:
    """The stage over `teacher_vectors`; the network has the recipe's architecture."""
    crops, recipe = inputs.crops, inputs.recipe
    choices = recipe.distillation

    def show(row: int, epoch: int, rule: ResizeRule) -> Pixels:
        view = view_of(crops, row, epoch % choices.views, choices, recipe.seed)
        extent = largest_extent(epoch / choices.epochs, choices.cut_out, recipe.augmentation.cut_out_schedule)
        # At the shape of the image that the view is of: a batch is of one shape, and views are nearly so.
        shape = rule.shape(*crops.images[row].shape[:2])
        return student_view(view, shape, extent, choices, (recipe.seed, epoch, row))

    def target(rows: Integers, epoch: int) -> Integers:
        return rows + (epoch % choices.views) * len(crops.images)

    rules = (recipe.network.rule,)
    return EpochStage(NAME, inputs, recipe.network, TeacherVectors(vectors), choices, rules, show, target, terms=terms)


def _make(inputs: StageInputs) -> EpochStage:
    return distillation_stage(inputs, *taught(inputs, inputs.recipe.distillation))


KIND = StageKind(
    "distil",
    """Teach a network the vectors that a better model, of any size, gives to DATA's training images.

    Both see the same views of each image; the teacher's vectors of them are kept in the run folder. The recipe's
    dimension must be the teacher's.
    """,
    _make,
    teacher="A model with a contract, ONNX or OpenVINO.",
    labels=False,
)
