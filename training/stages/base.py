"""What a stage of training is: it accumulates the gradients of each update, and `training.run.trainer` does the rest.

What is random in a stage depends on the seed and on the update alone, so no generator's state has to be kept.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Protocol

import torch

from reid_runtime.embedder import Embedder
from reid_runtime.images.resize import Pixels
from training.data.training_set import TrainingCrops
from training.models.network import EmbeddingNetwork
from training.recipe import Architecture, Recipe


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

    @property
    def terms(self) -> str:
        """What this stage adds to the terms of use of the data, which travel in the contract; mostly nothing."""

    def prepare(self) -> None:
        """What a new run does to the weights that it starts from, before its first update."""

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


@dataclass(frozen=True)
class StageInputs:
    """What a stage is made of."""

    network: EmbeddingNetwork
    """With the architecture of the stage, on `device`."""
    crops: TrainingCrops
    recipe: Recipe
    device: torch.device
    folder: Path
    """The run's."""
    teacher: Embedder | None = None


@dataclass(frozen=True)
class StageKind:
    """One kind of stage: its command, and how it is made."""

    command: str
    help: str
    """The command's."""
    make: Callable[[StageInputs], Stage]
    architecture: Callable[[Recipe], Architecture] = attrgetter("network")
    teacher: str = ""
    """What its teacher is, for the help; empty: it has none."""
    labels: bool = True
    """Whether it learns from identities; else these serve to measure progress, and images without them will do."""
