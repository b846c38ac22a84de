"""Vectors of training images with the weights of the moment, through the runtime's own resize."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from reid_runtime.batching import same_shape_batches
from reid_runtime.images.resize import Pixels, ResizeRule, resize
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.vectors import Vectors
from training.models.network import EmbeddingNetwork

MAX_PIXELS = 1 << 21
"""In one pass without gradients: 24 images of 416x208, 64 of 256x128."""


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context of a network's pass in the recipe's precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def embed_images(
    network: EmbeddingNetwork, images: Sequence[Pixels], rule: ResizeRule, device: torch.device, precision: str
) -> Vectors:
    """(N, D) float32 in the order of the images, without gradients. Leaves the network in evaluation mode."""
    return _passed(network, network, network.projection.out_features, images, rule, device, precision).numpy()


def pool_images(
    network: EmbeddingNetwork, images: Sequence[Pixels], rule: ResizeRule, device: torch.device
) -> torch.Tensor:
    """(N, channels) float32, what the fully connected layer takes, as `embed_images` gives the vectors."""
    return _passed(network, network.pool, network.projection.in_features, images, rule, device, "float32")


def _passed(
    network: EmbeddingNetwork,
    through: Callable[[torch.Tensor], torch.Tensor],
    dimension: int,
    images: Sequence[Pixels],
    rule: ResizeRule,
    device: torch.device,
    precision: str,
) -> torch.Tensor:
    network.eval()
    shapes = [rule.shape(*image.shape[:2]) for image in images]

    def batch(rows: list[int]) -> tuple[list[int], torch.Tensor]:
        return rows, torch.from_numpy(np.stack([resize(images[row], shapes[row]) for row in rows]))

    vectors = torch.empty(len(images), dimension)
    with torch.inference_mode():
        for rows, pixels in parallel_map(batch, same_shape_batches(shapes, MAX_PIXELS), threads=2, prefetch=4):
            with autocast(device, precision):
                vectors[rows] = through(pixels.to(device)).float().cpu()
    return vectors
