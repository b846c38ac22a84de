"""A network for one geometry of the input learns another, from the vectors that it gives in its own.

The teacher stretches each view as the network was made for; the student sees the view at the size and aspect that its
resize rule gives. First the fully connected layer is fitted in closed form, then everything is fine-tuned.
"""

import click
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.resize import Pixels, ResizeRule
from reid_runtime.scoring.labels import Integers
from training.data.cutout import largest_extent
from training.data.training_set import TrainingCrops
from training.data.views import student_view, view_of
from training.models.embedding import pool_images
from training.models.network import EmbeddingNetwork
from training.recipe import Recipe
from training.stages.base import StageInputs, StageKind
from training.stages.epochs import EpochStage
from training.stages.losses import TeacherVectors
from training.stages.teacher import taught

NAME = "adaptation"
_FITTED = 1500
"""Images that the closed form is fitted to at most: of more it would say the same."""


def adaptation_stage(inputs: StageInputs, vectors: torch.Tensor, terms: str = "") -> EpochStage:
    """The stage over these images and the mirrored `teacher_vectors`; `network` has the recipe's architecture.

    An image goes to the shape that the rule gives for its view: a window that is wider or lower than the image is
    another aspect, and that is what is to be learnt.
    """
    crops, recipe = inputs.crops, inputs.recipe
    choices = recipe.adaptation
    shapes = [
        [view_of(crops, row, view, choices, recipe.seed).shape[:2] for row in range(len(crops.images))]
        for view in range(choices.views)
    ]

    def show(row: int, epoch: int, rule: ResizeRule) -> Pixels:
        view = view_of(crops, row, epoch % choices.views, choices, recipe.seed)
        extent = largest_extent(epoch / choices.epochs, choices.cut_out, recipe.augmentation.cut_out_schedule)
        return student_view(view, rule.shape(*view.shape[:2]), extent, choices, (recipe.seed, epoch, row))

    def target(rows: Integers, epoch: int) -> Integers:
        return rows + (epoch % choices.views) * len(crops.images)

    def prepare() -> None:
        if choices.ridge:
            cosine = refit(inputs.network, crops, recipe, inputs.device, vectors)
            click.echo(f"the fully connected layer is fitted: mean cosine {cosine:.4f} to the teacher", err=True)

    return EpochStage(
        NAME, inputs, recipe.network, TeacherVectors(vectors, choices.relations), choices, (recipe.network.rule,),
        show, target, sources=lambda epoch: shapes[epoch % choices.views], terms=terms, prepare=prepare,
    )  # fmt: skip


def refit(
    network: EmbeddingNetwork, crops: TrainingCrops, recipe: Recipe, device: torch.device, vectors: torch.Tensor
) -> float:
    """Fit the fully connected layer, in place, to the teacher's vectors of the views; gives the mean cosine after it.

    Ridge regression towards the weights that it has: of all layers that give the targets equally well, the nearest.
    Each image counts alike: a target is as long as the vector that the layer gave before, and both are divided by that.
    """
    choices, rule = recipe.adaptation, recipe.network.rule
    count = len(crops.images)
    chosen = np.random.default_rng((recipe.seed, 11)).permutation(choices.views * count)[:_FITTED]
    views = [view_of(crops, int(index) % count, int(index) // count, choices, recipe.seed) for index in chosen]
    pooled = pool_images(network, views, rule, device).double()
    targets = vectors[torch.from_numpy(chosen)].double()
    layer = network.projection
    weight, bias = layer.weight.detach().double().cpu(), layer.bias.detach().double().cpu()
    before = network.activation(functional.linear(pooled, weight, bias).float().to(device)).double().cpu()
    lengths = before.norm(dim=1, keepdim=True)
    before_activation = _before_activation(network, targets * lengths)
    # The bias as one more weight, of an input that is as large as the others are.
    unit = pooled.square().mean().sqrt()
    inputs = torch.cat([pooled, unit.expand(len(pooled), 1)], dim=1) / lengths
    old = torch.cat([weight, bias[:, None] / unit], dim=1)
    rest = before_activation / lengths - inputs @ old.T
    gram = inputs.T @ inputs
    gram += choices.ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    new = old + torch.linalg.solve(gram, inputs.T @ rest).T
    with torch.no_grad():
        layer.weight.copy_(new[:, :-1].float())
        layer.bias.copy_((new[:, -1] * unit).float())
        after = network.activation(layer(pooled.float().to(device))).cpu()
    return float(functional.cosine_similarity(after, targets.float()).mean())


def _before_activation(network: EmbeddingNetwork, values: torch.Tensor) -> torch.Tensor:
    """What the network's last activation makes `values` of."""
    if isinstance(network.activation, nn.Sequential):
        raise ReidRuntimeError(
            "adapt takes a network before it is whitened: start from that, and whiten what comes of it"
        )
    slope = getattr(network.activation, "weight", None)
    return values if slope is None else torch.where(values > 0, values, values / slope.detach().double().cpu())


def _make(inputs: StageInputs) -> EpochStage:
    return adaptation_stage(inputs, *taught(inputs, inputs.recipe.adaptation, mirrored=True))


KIND = StageKind(
    "adapt",
    """Teach a network that was made for one size of image another one, or every aspect.

    The teacher stretches each image as its contract says; its vectors of the image and of its mirror image are the
    targets. The network sees the image as the recipe's rule has it: first its fully connected layer is fitted to them
    in closed form, then all of it is trained. The identities of DATA serve to measure progress alone.
    """,
    _make,
    teacher="The network as it was, or a better one, with a contract.",
    labels=False,
)
