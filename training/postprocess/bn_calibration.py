"""Batch normalisation's statistics, taken anew over whole images before they are frozen.

While a network is trained on images with noise in them, the mean and variance that batch normalisation keeps are of
these. Cut-out's noise is per pixel, and like nothing in a picture: the more of it, the further are these statistics
from those of whole images, which is all that the finished model sees.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from reid_runtime.batching import same_shape_batches
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.resize import LongestSide, Pixels, ResizeRule, resize
from reid_runtime.model_file.contract import TrainedOn
from training.data.training_set import TrainingCrops
from training.models.embedding import MAX_PIXELS, autocast
from training.models.frozen import keep_fixed
from training.models.network import EmbeddingNetwork
from training.run.checkpoint import Checkpoint, Progress
from training.run.cpu import keep_freed_memory, repair_bfloat16
from training.run.validation import hold_out
from training.stages.epochs import FEWEST

NAME = "statistics"
IMAGES = 768
"""As many as the committed runs took."""


class StatisticsError(ReidRuntimeError):
    """Too few images of one shape to take statistics of."""


@torch.no_grad()
def take_statistics(
    network: EmbeddingNetwork,
    images: Sequence[Pixels],
    rule: ResizeRule,
    device: torch.device,
    precision: str,
    fixed: Sequence[str] = (),
) -> int:
    """Replace, in place, the statistics of all parts but the fixed ones by the mean of those of these images' batches;
    how many batches there were. Of a shape with few images there is none; raises StatisticsError, and leaves the
    network as it was, without any."""
    shapes = [rule.shape(*image.shape[:2]) for image in images]
    batches = [rows for rows in same_shape_batches(shapes, MAX_PIXELS) if len(rows) >= FEWEST]
    if not batches:
        raise StatisticsError(
            f"statistics of batch normalisation want {FEWEST} images that have one shape after the resize, found fewer "
            f"among {len(images)}: take more of them (at-size: raise --images; rank: 'statistics' of [ranking])"
        )
    network.train()
    keep_fixed(network.trunk, fixed)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # each batch counts as much as the others
    for rows in batches:
        pixels = torch.from_numpy(np.stack([resize(images[row], shapes[row]) for row in rows]))
        with autocast(device, precision):
            network(pixels.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
    return len(batches)


def drawn(crops: TrainingCrops, count: int, seed: int) -> list[Pixels]:
    """So many of the images, or all, in random order."""
    return [crops.images[row] for row in np.random.default_rng(seed).permutation(len(crops.images))[:count]]


def at_size(
    checkpoint: Checkpoint, crops: TrainingCrops, terms: str, size: int, images: int, place: torch.device
) -> Checkpoint:
    """The checkpoint for images whose longest side is `size` pixels, with statistics of so many of the people whom its
    recipe trains on: those whom it holds out stay unseen."""
    recipe, network = checkpoint.recipe, checkpoint.network()
    kept, _ = hold_out(crops, recipe.validation, recipe.seed)
    if place.type == "cpu":
        keep_freed_memory()
        repair_bfloat16(network)
    whole = drawn(kept, images, recipe.seed)
    take_statistics(network.to(place), whole, LongestSide(size), place, recipe.precision, recipe.fixed)
    return replace(
        checkpoint,
        architecture=replace(checkpoint.architecture, size=size, area=0),
        trained_on=checkpoint.having_seen(TrainedOn(crops.name, terms, kept.identities, len(kept.images))),
        progress=Progress(NAME, 0, kept.digest),
        tensors={f"network.{name}": tensor.cpu() for name, tensor in network.state_dict().items()},
    )
