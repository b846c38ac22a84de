"""A stage of training: a network, an objective that says what its vectors should be, and a run that can be resumed."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.resize import LongestSide
from training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from training.cpu import keep_freed_memory, repair_bfloat16
from training.cutout import largest_extent
from training.data import Augmentation, TrainingCrops, batches, epoch_order
from training.interrupts import deferred_interrupts
from training.network import EmbeddingNetwork
from training.recipe import Recipe

LAST, FINAL, METRICS = "last.safetensors", "model.safetensors", "metrics.jsonl"


class TrainingError(ReidRuntimeError):
    """A run that cannot start, go on, or be resumed."""


@dataclass(frozen=True)
class Pace:
    """How often a run speaks and saves."""

    checkpoint_minutes: float = 3.0
    metrics_batches: int = 20


def size_at(recipe: Recipe, epoch: int) -> int:
    """The longest side in pixels during an epoch: the sizes in equal shares, in order."""
    return recipe.sizes[min(len(recipe.sizes) - 1, epoch * len(recipe.sizes) // recipe.epochs)]


def learning_rate_at(recipe: Recipe, epoch: float) -> float:
    """Linear warm-up, then half a cosine from the peak to zero; `epoch` counts parts of one."""
    if epoch < recipe.warmup_epochs:
        return recipe.learning_rate * (epoch + 1e-3) / recipe.warmup_epochs
    done = (epoch - recipe.warmup_epochs) / max(1e-9, recipe.epochs - recipe.warmup_epochs)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def make_optimiser(recipe: Recipe, network: nn.Module, objective: nn.Module) -> torch.optim.AdamW:
    """AdamW; vectors (biases, batch-norm) do not decay."""
    parameters = [*network.parameters(), *objective.parameters()]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        fused=True,
    )


class Run:
    """One run in one folder: `last.safetensors` to resume from, `metrics.jsonl`, and in the end `model.safetensors`."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        crops: TrainingCrops,
        trained_on: dict[str, Any],
        network: EmbeddingNetwork,
        objective: nn.Module,
        device: str,
        pace: Pace,
    ) -> None:
        if crops.identities < 2 or len(crops.images) < recipe.batch:
            raise TrainingError(
                f"expected at least two identities and one batch of {recipe.batch} crops, found "
                f"{crops.identities} and {len(crops.images)}"
            )
        self.folder, self.recipe, self.crops, self.trained_on = folder, recipe, crops, trained_on
        self.device, self.pace = torch.device(device), pace
        if self.device.type == "cpu":
            keep_freed_memory()
            repair_bfloat16(network)
        self.network = network.to(self.device)
        self.objective = objective.to(self.device)
        self.optimiser = make_optimiser(recipe, self.network, self.objective)
        self.epoch = self.batch = 0

    def resume(self) -> bool:
        """Take up `last.safetensors` where there is one; says whether there was."""
        path = self.folder / LAST
        if not path.exists():
            return False
        checkpoint = read_checkpoint(path)
        if checkpoint.recipe != self.recipe or checkpoint.trained_on != self.trained_on:
            raise TrainingError(
                f"{path} belongs to another recipe or data set; choose another run folder, or remove it"
            )
        self.network.load_state_dict(checkpoint.part("network"))
        self.objective.load_state_dict(checkpoint.part("objective"))
        for (parameter, key), value in self._optimiser_slots(checkpoint.part("optimiser")):
            self.optimiser.state[parameter][key] = value
        self.epoch, self.batch = checkpoint.progress["epoch"], checkpoint.progress["batch"]
        return True

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]]

    def _optimiser_slots(
        self, tensors: dict[str, torch.Tensor]
    ) -> Iterator[tuple[tuple[nn.Parameter, str], torch.Tensor]]:
        parameters = self._parameters()
        for name, tensor in tensors.items():
            index, key = name.split(".")
            parameter = parameters[int(index)]
            value = tensor.to(self.device)
            if value.shape == parameter.shape:
                # In the parameter's own memory order: the fused optimiser reads both as they lie in memory.
                value = torch.empty_like(parameter).copy_(value)
            yield (parameter, key), value

    def _checkpoint(self, whole: bool) -> Checkpoint:
        tensors = {f"network.{key}": value.cpu() for key, value in self.network.state_dict().items()}
        if whole:
            tensors |= {f"objective.{key}": value.cpu() for key, value in self.objective.state_dict().items()}
            for index, parameter in enumerate(self._parameters()):
                for key, value in self.optimiser.state[parameter].items():
                    tensors[f"optimiser.{index}.{key}"] = value.cpu()
        progress = {"epoch": self.epoch, "batch": self.batch, "identities": self.crops.identities}
        return Checkpoint(self.recipe, self.trained_on, progress, tensors)

    def save(self) -> None:
        """Write `last.safetensors`."""
        write_checkpoint(self.folder / LAST, self._checkpoint(whole=True))

    def train(self) -> Path:
        """Run to the end of the recipe, saving every few minutes and when interrupted; returns `model.safetensors`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = time.monotonic()
        with open(self.folder / METRICS, "a", encoding="utf-8") as metrics, deferred_interrupts() as interrupts:
            while self.epoch < self.recipe.epochs:
                for record in self._train_epoch():
                    if record is not None:
                        metrics.write(json.dumps(record) + "\n")
                        metrics.flush()
                    due = time.monotonic() - saved > 60 * self.pace.checkpoint_minutes
                    if due or interrupts.signal is not None:
                        self.save()
                        saved = time.monotonic()
                        interrupts.leave()
                self.epoch, self.batch = self.epoch + 1, 0
        self.save()
        final = self.folder / FINAL
        write_checkpoint(final, self._checkpoint(whole=False))
        return final

    def _train_epoch(self) -> Iterator[dict[str, float] | None]:
        """One epoch; after each update a place to stop, with a record of metrics every few of them."""
        recipe, epoch = self.recipe, self.epoch
        rule = LongestSide(size_at(recipe, epoch))
        order = epoch_order(self.crops, rule, recipe, epoch)
        augmentation = Augmentation(rule, recipe, largest_extent(epoch / recipe.epochs, recipe.cut_out))
        self.network.train()
        started, seen = time.monotonic(), 0
        progress = tqdm(
            batches(self.crops, augmentation, order[self.batch :], epoch),
            desc=f"epoch {epoch + 1}/{recipe.epochs} at {rule.size}",
            total=len(order),
            initial=self.batch,
            disable=None,
        )
        for images, labels in progress:
            rate = learning_rate_at(recipe, epoch + self.batch / len(order))
            loss, agreement = self._step(torch.from_numpy(images), torch.from_numpy(labels), rate)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at epoch {epoch + 1}, batch {self.batch + 1}; the last checkpoint is "
                    "untouched: lower the learning rate in the recipe and start a new run"
                )
            self.batch += 1
            seen += len(labels)
            if self.batch % self.pace.metrics_batches and self.batch != len(order):
                yield None
                continue
            progress.set_postfix(loss=f"{loss:.3f}", agreement=f"{agreement:.3f}")
            yield {
                "epoch": epoch,
                "batch": self.batch,
                "loss": round(loss, 5),
                "agreement": round(agreement, 4),
                "learning_rate": rate,
                "size": rule.size,
                "images_per_second": round(seen / (time.monotonic() - started), 2),
            }

    def _step(self, images: torch.Tensor, labels: torch.Tensor, rate: float) -> tuple[float, float]:
        """One optimiser step; (loss, agreement) before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            embeddings = self.network(images.to(self.device))
        loss, agreement = self.objective(embeddings, labels.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.item(), agreement.item()
