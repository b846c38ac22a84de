"""Batch normalisation's statistics, taken anew over images without cut-out before they are frozen.

While a network is trained on images with noise in them, the mean and variance that batch normalisation keeps are of
these. Cut-out's noise is per pixel, and like nothing in a photograph: the more of it, the further are these statistics
from those of images without it, which is all that the finished model sees.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from reid_runtime.batching import same_shape_batches
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.resize import Pixels, ResizeRule, resize
from training.models.embedding import MAX_PIXELS, autocast
from training.models.frozen import MIN_BATCH, keep_frozen
from training.models.network import EmbeddingNetwork


class BatchNormError(ReidRuntimeError):
    """Too few images of one shape to take statistics of."""


@torch.no_grad()
def calibrate_batch_norm(
    network: EmbeddingNetwork,
    images: Sequence[Pixels],
    rule: ResizeRule,
    device: torch.device,
    precision: str,
    fixed: Sequence[str] = (),
) -> int:
    """Replace, in place, the statistics of all parts but the fixed ones by the mean of those of these images' batches.

    Args:
        network: On `device`.
        images: (H, W, 3) uint8 each; a shape of which there are few makes no batch.
        rule: The resize.
        device: Where the network is.
        precision: The recipe's.
        fixed: Parts of the trunk that keep their statistics.

    Returns:
        How many batches there were.

    Raises:
        BatchNormError: Where there is none; the network is as it was.
    """
    shapes = [rule.shape(*image.shape[:2]) for image in images]
    batches = [rows for rows in same_shape_batches(shapes, MAX_PIXELS) if len(rows) >= MIN_BATCH]
    if not batches:
        raise BatchNormError(
            f"batch normalisation is calibrated on {MIN_BATCH} images or more of one shape after the resize, found "
            f"fewer among {len(images)}: take more (recalibrate: raise --images; rank: raise 'bn_calibration' in "
            "[ranking])"
        )
    network.train()
    keep_frozen(network.trunk, fixed)
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
