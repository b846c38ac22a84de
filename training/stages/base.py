"""What a stage of training is: it accumulates the gradients of each update, and `training.run.trainer` does the rest.

What is random in a stage depends on the seed and on the update alone, so no generator's state has to be kept.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol

import torch

from reid_runtime.images.resize import Pixels
from training.models.network import EmbeddingNetwork
from training.recipe import Architecture


@dataclass(frozen=True)
class Measures:
    """What is recorded of one update."""

    loss: float
    agreement: float
    images: int
    size: int
    """Longest side in pixels."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By what took them."""


class Stage(Protocol):
    """One of the paper's stages, or the teacher's."""

    name: str
    architecture: Architecture
    network: EmbeddingNetwork
    device: torch.device
    updates: int
    """How many there are in all."""

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """Over the network's parameters, and the stage's own."""

    def learning_rate(self, update: int) -> float:
        """The optimiser's at an update."""

    def accumulate_each_update(self, update: int) -> Generator[Measures, None, None]:
        """For each update from that one on: accumulates its gradients in the parameters, and gives its measures.

        The caller steps the optimiser and clears the gradients before it takes the next.
        """

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed run needs besides the network and the optimiser."""

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take up what `state` gave."""

    def preview(self) -> list[list[Pixels]]:
        """Examples of what the network sees: an image a row, from the start of training to its end."""
