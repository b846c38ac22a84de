"""A checkpoint for images of another size, or without cut-out: its batch normalisation is calibrated anew."""

from dataclasses import replace

import torch

from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.contract import TrainedOn
from training.data.training_set import TrainingCrops
from training.models.bn_calibration import calibrate_batch_norm
from training.run.checkpoint import Checkpoint, Progress
from training.run.cpu import keep_freed_memory, repair_bfloat16
from training.run.validation import hold_out

NAME = "bn_calibration"
IMAGES = 768
"""As many as the committed runs took."""


def recalibrate(
    checkpoint: Checkpoint, crops: TrainingCrops, terms: str, size: int, images: int, device: torch.device
) -> Checkpoint:
    """The checkpoint for images whose longest side is `size` pixels.

    Args:
        checkpoint: Its recipe says which people are held out; these stay unseen.
        crops: What the statistics are taken of, once those people are left out.
        terms: The crops' terms of use.
        size: Longest side in pixels, from now on.
        images: How many of the crops are used.
        device: Where the network runs meanwhile.

    Raises:
        BatchNormError: Where no batch of one shape is large enough.
    """
    recipe, network = checkpoint.recipe, checkpoint.network()
    kept, _ = hold_out(crops, recipe.validation, recipe.seed)
    if device.type == "cpu":
        keep_freed_memory()
        repair_bfloat16(network)
    chosen = kept.sample(images, recipe.seed)
    calibrate_batch_norm(network.to(device), chosen, LongestSide(size), device, recipe.precision, recipe.fixed)
    return replace(
        checkpoint,
        architecture=replace(checkpoint.architecture, size=size, area=0),
        trained_on=checkpoint.having_seen(TrainedOn(crops.name, terms, kept.identities, len(kept.images))),
        progress=Progress(NAME, 0, kept.digest),
        tensors={f"network.{name}": tensor.cpu() for name, tensor in network.state_dict().items()},
    )
