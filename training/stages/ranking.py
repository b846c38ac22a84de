"""The paper's last stage: three streams with shared weights, hard triplets, and the ranking loss.

Every image has a size of its own, so triplets go through one image at a time, and their gradients are accumulated to
one update. Images of one shape may as well go together: with frozen statistics the gradients are the same.
"""

import time
from collections.abc import Generator
from contextlib import closing

import numpy as np
import torch

from reid_runtime.batching import same_shape_batches
from reid_runtime.images.resize import Pixels
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.scoring.labels import Integers
from training.config import RecipeError
from training.data.augmentation import augment
from training.data.cutout import largest_extent
from training.models.bn_calibration import calibrate_batch_norm
from training.models.embedding import autocast, embed_images
from training.models.frozen import (
    freeze_batch_norm,
    keep_frozen,
    rescale_to_unit_variance,
    trainable_parameters,
)
from training.registry import look_up
from training.stages.base import Measures, StageInputs, StageKind
from training.stages.losses import RANKING_LOSSES
from training.stages.mining import Pool, draw_rows, draw_triplets

NAME = "ranking"
_POOL, _TRIPLETS, _IMAGES = 11, 12, 13
"""Set the draws of one seed apart from each other."""


class RankingStage:
    """Ranking; the network has the recipe's architecture."""

    name = NAME
    terms = ""

    def __init__(self, inputs: StageInputs) -> None:
        recipe = inputs.recipe
        self.architecture, self.network, self.device = recipe.network, inputs.network, inputs.device
        self.crops, self.recipe, self.choices = inputs.crops, recipe, recipe.ranking
        self.rule = recipe.network.rule
        self.loss = look_up(RANKING_LOSSES, self.choices.loss, "ranking loss", RecipeError)(self.choices)
        self.updates = self.choices.updates
        self.optimiser = torch.optim.SGD(
            trainable_parameters(self.network),
            lr=self.choices.learning_rate,
            momentum=self.choices.momentum,
            weight_decay=self.choices.weight_decay,
        )
        self.pool: Pool | None = None

    def prepare(self) -> None:
        """Batch normalisation that can be frozen: calibrated, where the recipe says so, and of unit variance."""
        if self.choices.bn_calibration:
            images = self.crops.sample(self.choices.bn_calibration, self.recipe.seed)
            calibrate_batch_norm(self.network, images, self.rule, self.device, self.recipe.precision, self.recipe.fixed)
        rescale_to_unit_variance(self.network)

    def learning_rate(self, update: int) -> float:
        """Halved every so many updates."""
        return self.choices.learning_rate * 0.5 ** (update // self.choices.halve_every)

    def accumulate_each_update(self, update: int) -> Generator[Measures, None, None]:
        """For each update from this one on: the mean of its triplets' gradients."""
        for number in range(update, self.updates):
            started = time.perf_counter()
            triplets = self._mine(number)
            mined = time.perf_counter()
            loss, agreement = self.accumulate(triplets, number)
            seconds = {"mining": mined - started, "updating": time.perf_counter() - mined}
            yield Measures(loss, agreement, triplets.size, max(self.rule.shape(2, 1)), seconds)

    def _mine(self, update: int) -> Integers:
        """(triplets, 3) rows: query, positive, negative."""
        mining, seed = self.choices.mining, self.recipe.seed
        if self.pool is None or update % mining.refresh_every == 0:
            random = np.random.default_rng((seed, _POOL, update // mining.refresh_every))
            rows = draw_rows(len(self.crops.images), mining.pool, random)
            images, vectors = [self.crops.images[row] for row in rows], None
            pool = Pool(rows, self.crops.labels[rows], vectors)
            pool.queries()  # a pool without a triplet is told before it is embedded
            if mining.hardest:
                vectors = embed_images(self.network, images, self.rule, self.device, self.recipe.precision)
            self.pool = Pool(rows, self.crops.labels[rows], vectors)
        random = np.random.default_rng((seed, _TRIPLETS, update))
        return draw_triplets(self.pool, self.choices.triplets, mining.hardest, random)

    def accumulate(self, triplets: Integers, update: int) -> tuple[float, float]:
        """Leaves the mean gradient of (N, 3) triplets in the parameters; gives their mean (loss, agreement).

        Only so many triplets as go together have their activations in memory.
        """
        self.network.train()
        keep_frozen(self.network.trunk, self.recipe.fixed)
        freeze_batch_norm(self.network)
        for parameter in trainable_parameters(self.network):
            if parameter.grad is None:
                # Where no triplet has a loss the gradient is nothing, which SGD must not take for no update at all.
                parameter.grad = torch.zeros_like(parameter)
        together = self.choices.triplets_together
        chunks = [range(start, min(start + together, len(triplets))) for start in range(0, len(triplets), together)]

        def prepare(chunk: range) -> list[list[Pixels]]:
            return [[self.show(triplets, update, number, stream) for stream in range(3)] for number in chunk]

        loss = agreement = 0.0
        with closing(parallel_map(prepare, chunks, threads=2, prefetch=max(2, 16 // together))) as prepared:
            for images in prepared:
                losses, agreed = self.loss(*self._embed(images))
                total = losses.sum() / len(triplets)
                if total.item() != 0:
                    total.backward()
                loss, agreement = loss + total.item(), agreement + agreed.sum().item() / len(triplets)
        return loss, agreement

    def show(self, triplets: Integers, update: int, number: int, stream: int) -> Pixels:
        """Image `stream` (query, positive or negative) of an update's triplet as the network gets it."""
        random = np.random.default_rng((self.recipe.seed, _IMAGES, update, number, stream))
        choices = self.recipe.augmentation
        extent = largest_extent(update / self.updates, choices.cut_out, choices.cut_out_schedule)
        return augment(self.crops.images[triplets[number, stream]], self.rule, choices, extent, random)

    def _embed(self, triplets: list[list[Pixels]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The streams' (N, D) vectors, of N triplets of images."""
        images = [image for triplet in triplets for image in triplet]
        if self.choices.triplets_together == 1:
            groups = [[row] for row in range(len(images))]
        else:
            shapes = [image.shape[:2] for image in images]
            groups = list(same_shape_batches(shapes, max_pixels=sum(tall * wide for tall, wide in shapes)))
        with autocast(self.device, self.recipe.precision):
            parts = [
                self.network(torch.from_numpy(np.stack([images[row] for row in group])).to(self.device))
                for group in groups
            ]
        back = torch.from_numpy(np.argsort([row for group in groups for row in group]))
        query, positive, negative = torch.cat(parts)[back.to(self.device)].reshape(len(triplets), 3, -1).unbind(1)
        return query, positive, negative

    def state(self) -> dict[str, torch.Tensor]:
        """The pool: its vectors are of weights that are gone."""
        if self.pool is None:
            return {}
        state = {"pool.rows": torch.from_numpy(self.pool.rows)}
        return state if self.pool.vectors is None else state | {"pool.vectors": torch.from_numpy(self.pool.vectors)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """The pool again."""
        if "pool.rows" in state:
            rows = state["pool.rows"].numpy()
            vectors = state["pool.vectors"].numpy() if "pool.vectors" in state else None
            self.pool = Pool(rows, self.crops.labels[rows], vectors)

    def preview(self) -> list[list[Pixels]]:
        """Some images with cut-out from the first update to the last."""
        rows = np.linspace(0, len(self.crops.images) - 1, min(5, len(self.crops.images))).astype(np.int64)
        triplets = np.stack([rows] * 3, axis=1)
        updates = np.linspace(0, self.updates - 1, 8).astype(int).tolist()
        return [[self.show(triplets, update, number, 0) for update in updates] for number in range(len(rows))]


KIND = StageKind(
    "rank",
    """Ranking on DATA's training split: nearer to the same person than to any other, by a margin.

    Batch normalisation keeps the statistics of the stage before: images of all sizes go through one by one.
    """,
    RankingStage,
)
