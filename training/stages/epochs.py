"""Stages that go through all images again and again, in batches: classification, and learning from a teacher."""

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from reid_runtime.images.resize import Pixels, ResizeRule
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.scoring.labels import Integers
from training.models.embedding import autocast
from training.models.frozen import MIN_BATCH, freeze_batch_norm, keep_frozen, trainable_parameters
from training.recipe import Adaptation, Architecture, Classification, Distillation
from training.stages.base import Measures, StageInputs

Show = Callable[[int, int, ResizeRule], Pixels]
"""(row, epoch, rule) to the image as the network gets it, at the rule's shape for what is shown of the row."""
Sources = Callable[[int], Sequence[tuple[int, int]]]
"""An epoch to the (height, width) of what it shows of each row, before the resize."""
Target = Callable[[Integers, int], Integers]
"""(rows, epoch) to what the objective takes as labels."""
Update = list[list[int]]
"""The rows of one update, in groups of one shape."""
Item = TypeVar("Item")


Schedule = Classification | Distillation | Adaptation
"""The recipe's tables that have epochs, a batch size, a learning rate with its warm-up, and a weight decay."""


def size_at(sizes: tuple[Item, ...], epochs: int, epoch: int) -> Item:
    """What size images have during an epoch: the sizes, or the rules that give them, in equal shares, in order."""
    return sizes[min(len(sizes) - 1, epoch * len(sizes) // epochs)]


def learning_rate_at(schedule: Schedule, epoch: float) -> float:
    """Linear warm-up, then half a cosine from the peak to zero; `epoch` counts parts of one."""
    if epoch < schedule.warmup_epochs:
        return schedule.learning_rate * (epoch + 1e-3) / schedule.warmup_epochs
    done = (epoch - schedule.warmup_epochs) / max(1e-9, schedule.epochs - schedule.warmup_epochs)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def epoch_order(shapes: Sequence[tuple[int, int]], batch: int, seed: int, epoch: int) -> list[Update]:
    """The epoch's updates, shuffled: every row once. `shapes` are those of the rows' images as the network gets them.

    Most are of one shape. What is left of each shape goes together in the last ones, so that a set of images that
    all differ in shape still makes full batches. It depends on seed and epoch alone, so a resumed run goes on with
    the update it was stopped at.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(shapes))
    waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
    updates: list[Update] = []
    for row in order.tolist():
        group = waiting[shapes[row]]
        group.append(row)
        if len(group) == batch:
            updates.append([group.copy()])
            group.clear()
    mixed: Update = []
    for group in filter(None, waiting.values()):
        room = batch - sum(map(len, mixed))
        if len(group) > room:
            updates.append(mixed)
            mixed = []
        mixed.append(group)
    return [*updates, mixed] if mixed else updates


def make_adamw(schedule: Schedule, network: nn.Module, objective: nn.Module) -> torch.optim.AdamW:
    """AdamW; vectors (biases, batch-norm) do not decay."""
    parameters = [*trainable_parameters(network), *objective.parameters()]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": schedule.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
        fused=True,
    )


class EpochStage:
    """A stage of epochs, with an objective that takes (vectors, targets)."""

    def __init__(
        self,
        name: str,
        inputs: StageInputs,
        architecture: Architecture,
        objective: nn.Module,
        schedule: Schedule,
        rules: tuple[ResizeRule, ...],
        show: Show,
        target: Target,
        unit_length: bool = True,
        sources: Sources | None = None,
        terms: str = "",
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """`unit_length`: whether the objective takes vectors of that length, or those that they are made from.

        Without `sources` all of each row's image is shown.
        """
        self.name, self.architecture, self.network, self.device = name, architecture, inputs.network, inputs.device
        self.objective = objective.to(inputs.device)
        self.crops, self.recipe, self.schedule, self.rules = inputs.crops, inputs.recipe, schedule, rules
        self.show, self.target, self.unit_length = show, target, unit_length
        self.terms, self.prepare = terms, prepare
        shapes = [(image.shape[0], image.shape[1]) for image in inputs.crops.images]
        self.sources = sources or (lambda epoch: shapes)
        self.optimiser = make_adamw(schedule, inputs.network, self.objective)
        # How many updates an epoch has depends on its size, through the shapes, and on the shuffle, which mixes them.
        self._starts = np.cumsum([0, *(len(self._order(epoch)) for epoch in range(schedule.epochs))])
        self.updates = int(self._starts[-1])

    def rule(self, epoch: int) -> ResizeRule:
        """The resize during an epoch."""
        return size_at(self.rules, self.schedule.epochs, epoch)

    def learning_rate(self, update: int) -> float:
        """By the part of the epoch that is done."""
        epoch = int(np.searchsorted(self._starts, update, side="right")) - 1
        start, stop = self._starts[epoch : epoch + 2]
        return learning_rate_at(self.schedule, epoch + (update - start) / (stop - start))

    def _order(self, epoch: int) -> list[Update]:
        rule = self.rule(epoch)
        shapes = [rule.shape(*source) for source in self.sources(epoch)]
        return epoch_order(shapes, self.schedule.batch, self.recipe.seed, epoch)

    def _from(self, update: int) -> Iterator[tuple[int, Update]]:
        """(epoch, rows) of each update from this one on."""
        for epoch in range(self.schedule.epochs):
            if self._starts[epoch + 1] > update:
                for rows in self._order(epoch)[max(0, update - int(self._starts[epoch])) :]:
                    yield epoch, rows

    def accumulate_each_update(self, update: int) -> Generator[Measures, None, None]:
        """For each update from this one on: the gradients of its images, of all its shapes together."""

        def make(item: tuple[int, Update]) -> list[tuple[torch.Tensor, torch.Tensor]]:
            epoch, groups = item
            rule = self.rule(epoch)
            return [
                (
                    torch.from_numpy(np.stack([self.show(row, epoch, rule) for row in rows])),
                    torch.from_numpy(self.target(np.array(rows), epoch)),
                )
                for rows in groups
            ]

        # The images of the next updates are made in threads while the network works on this one.
        with closing(parallel_map(make, self._from(update), threads=2, prefetch=3)) as made:
            for groups in made:
                loss, agreement = self._accumulate(groups)
                longest = max(max(images.shape[1:3]) for images, _ in groups)
                yield Measures(loss, agreement, sum(len(labels) for _, labels in groups), longest)

    def _accumulate(self, groups: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, float]:
        """Leaves the mean gradient over all groups in the parameters; gives the mean (loss, agreement)."""
        count = sum(len(labels) for _, labels in groups)
        loss = agreement = 0.0
        for images, labels in groups:
            share = len(labels) / count
            self.network.train()
            keep_frozen(self.network.trunk, self.recipe.fixed)
            if len(labels) < MIN_BATCH:
                freeze_batch_norm(self.network)
            embed = self.network if self.unit_length else self.network.project
            with autocast(self.device, self.recipe.precision):
                vectors = embed(images.to(self.device))
            of_group, agreed = self.objective(vectors, labels.to(self.device))
            (share * of_group).backward()
            loss, agreement = loss + share * of_group.item(), agreement + share * agreed.item()
        return loss, agreement

    def state(self) -> dict[str, torch.Tensor]:
        """The objective's weights."""
        return dict(self.objective.state_dict())

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Into the objective."""
        self.objective.load_state_dict(state)

    def preview(self) -> list[list[Pixels]]:
        """Some rows' images in epochs from the first to the last."""
        rows = np.linspace(0, len(self.crops.images) - 1, min(5, len(self.crops.images))).astype(int).tolist()
        epochs = np.linspace(0, self.schedule.epochs - 1, min(8, self.schedule.epochs)).astype(int).tolist()
        return [[self.show(row, epoch, self.rule(epoch)) for epoch in epochs] for row in rows]
