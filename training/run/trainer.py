"""The trainer of any stage: its folder, record, checkpoints, validation and interrupts.

A stage accumulates the gradients of each update in its network's parameters; the trainer does all the rest.
"""

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from torch import nn

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.text import in_one_line
from reid_runtime.model_file.contract import TrainedOn
from reid_runtime.scoring.errors import ScoringError
from training.config import differing
from training.models.network import EmbeddingNetwork, fold_neck
from training.recipe import Recipe
from training.run.checkpoint import Checkpoint, CheckpointError, Progress, read_checkpoint, write_checkpoint
from training.run.interrupts import deferred_interrupts
from training.run.plots import check_plots, write_plots
from training.run.progress import ProgressLog
from training.run.record import Metrics, write_preview, write_record
from training.run_folder import run_folder
from training.stages.base import Stage

LAST, FINAL = "last.safetensors", "model.safetensors"


class TrainingError(ReidRuntimeError):
    """A run that cannot start, go on, or be resumed."""


@dataclass(frozen=True)
class LogConfig:
    """How often a run records its measures and saves."""

    checkpoint_minutes: float = 3.0
    metrics_updates: int = 20


Score = Callable[[EmbeddingNetwork], dict[str, float]]
"""Scores of the held-out people, by name."""


class Trainer:
    """A stage in a folder: its record, `last.safetensors` to resume from, and in the end `model.safetensors`."""

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        recipe: Recipe,
        trained_on: tuple[TrainedOn, ...],
        data: str,
        log: LogConfig,
        score: Score | None = None,
    ) -> None:
        """`data` is the digest of the training images; without `score` nobody is held out."""
        self.folder, self.stage, self.recipe, self.trained_on, self.data = folder, stage, recipe, trained_on, data
        self.log, self.score = log, score
        self.update = 0
        self._step = threading.Lock()
        self._finished: dict[str, torch.Tensor] = {}
        """What an update changes before its step, as it was after the one before."""

    def resume(self) -> bool:
        """Take up `last.safetensors` where there is one; says whether there was. Raises TrainingError for another's."""
        path, stage = self.folder / LAST, self.stage
        if not path.exists():
            return False
        try:
            saved = read_checkpoint(path)
        except CheckpointError as error:
            raise TrainingError(f"{error}; put a copy of it back, or remove it to begin anew") from error
        other = differing(self.recipe.as_dict(), saved.recipe.as_dict())
        if saved.progress.stage != stage.name:
            other.append(f"the stage, {saved.progress.stage}")
        if saved.progress.data != self.data:
            other.append("the data")
        elif saved.trained_on[0] != self.trained_on[0]:
            other.append("the data's name or terms")
        if other:
            raise TrainingError(
                f"{path} was made with another recipe or data ({', '.join(other)}); put these back, choose another "
                "run folder, or remove this one"
            )
        stage.network.load_state_dict(saved.part("network"))
        stage.restore(saved.part("stage"))
        for parameter, key, value in self._slots(saved.part("optimiser")):
            stage.optimiser.state[parameter][key] = value
        self.update, self.trained_on = saved.progress.update, saved.trained_on
        return True

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.stage.optimiser.param_groups for parameter in group["params"]]

    def _slots(self, tensors: dict[str, torch.Tensor]) -> Iterator[tuple[nn.Parameter, str, torch.Tensor]]:
        parameters = self._parameters()
        for name, tensor in tensors.items():
            index, key = name.split(".")
            parameter = parameters[int(index)]
            value = tensor.to(self.stage.device)
            if value.shape == parameter.shape:
                # In the parameter's own memory order: the fused optimiser reads both as they lie in memory.
                value = torch.empty_like(parameter).copy_(value)
            yield parameter, key, value

    def _checkpoint(self, resumable: bool) -> Checkpoint:
        self._check_weights()
        stage = self.stage
        state = stage.network.state_dict()
        tensors = {f"network.{key}": value.cpu() for key, value in (state if resumable else fold_neck(state)).items()}
        if resumable:
            tensors |= {f"stage.{key}": value.cpu() for key, value in stage.state().items()}
            for index, parameter in enumerate(self._parameters()):
                for key, value in stage.optimiser.state[parameter].items():
                    if value is not None:
                        tensors[f"optimiser.{index}.{key}"] = value.cpu()
            tensors |= self._finished
        progress = Progress(stage.name, self.update, self.data)
        return Checkpoint(self.recipe, stage.architecture, self.trained_on, progress, tensors)

    def _check_weights(self) -> None:
        """Before they are saved or scored: an update with a finite loss may have had other gradients."""
        weights = self.stage.network.state_dict().values()
        broken = sum(not bool(torch.isfinite(value).all()) for value in weights)
        if broken:
            raise self._diverged(f"{broken} of the network's tensors are no longer finite")

    def _diverged(self, what: str) -> TrainingError:
        last = self.folder / LAST
        kept = f"{last} is untouched, --start takes it" if last.exists() else "nothing was saved yet"
        return TrainingError(
            f"{what} at update {self.update + 1} of {self.stage.updates}; {kept}: lower the learning rate in the "
            'recipe (or take precision = "float32") and start a new run, in another folder'
        )

    def save(self) -> None:
        """Write `last.safetensors`, as the last update left the run; in the midst of one from another thread."""
        with self._step:
            write_checkpoint(self.folder / LAST, self._checkpoint(resumable=True))

    def _save_finished(self) -> None:
        if self.update:
            self.save()

    def _note(self) -> None:
        network = self.stage.network
        kept = {key for key, _ in network.named_buffers()}
        buffers = {f"network.{key}": value.clone().cpu() for key, value in network.state_dict().items() if key in kept}
        self._finished = buffers | {f"stage.{key}": value.cpu() for key, value in self.stage.state().items()}

    def train(self) -> Path:
        """Run to the end, saving every few minutes and when interrupted; returns `model.safetensors`.

        Raises TrainingError where loss or weights are no longer finite, and what `run_folder` does.
        """
        check_plots()
        with run_folder(self.folder):
            return self._train()

    def _train(self) -> Path:
        stage = self.stage
        write_record(self.folder, self.recipe, stage.name, str(stage.device), self.data, self.update)
        click.echo(
            in_one_line(f"{stage.name}: {stage.updates - self.update} updates on {stage.device}, in {self.folder}"),
            err=True,
        )
        if self.update == 0:
            write_preview(self.folder, stage.preview())
        self._note()
        with Metrics(self.folder, self.update) as metrics, deferred_interrupts(self._save_finished) as interrupts:
            if self.update == 0:
                self._validate(metrics)
            saved = time.monotonic()
            with closing(self._updates(metrics)) as updates:
                for _ in updates:
                    due = time.monotonic() - saved > 60 * self.log.checkpoint_minutes
                    if due or interrupts.signal is not None:
                        self.save()
                        saved = time.monotonic()
                        interrupts.leave()
        self.save()
        final = self.folder / FINAL
        write_checkpoint(final, self._checkpoint(resumable=False))
        write_plots(self.folder)
        return final

    def _updates(self, metrics: Metrics) -> Generator[None, None, None]:
        """Every update that is left; after each a place to stop."""
        stage = self.stage
        progress = ProgressLog(stage.name, stage.updates, self.update)
        with progress, closing(stage.accumulate_each_update(self.update)) as all_measures:
            for measures in all_measures:
                if not math.isfinite(measures.loss):
                    raise self._diverged(f"the loss is {measures.loss}")
                rate = stage.learning_rate(self.update)
                for group in stage.optimiser.param_groups:
                    group["lr"] = rate
                with self._step:
                    stage.optimiser.step()
                    stage.optimiser.zero_grad(set_to_none=True)
                    self.update += 1
                    self._note()
                progress.update()
                metrics.add(**vars(measures))
                last = self.update == stage.updates
                if last or self.update % self.log.metrics_updates == 0:
                    progress.show(metrics.write(self.update, rate))
                if last or self.update % self.recipe.validation.every == 0:
                    self._validate(metrics)
                yield

    def _validate(self, metrics: Metrics) -> None:
        """Score the people who are held out, and draw the run so far."""
        if self.score is not None:
            self._check_weights()
            try:
                scores = self.score(self.stage.network)
            except ScoringError as error:
                # Weights may be finite, and so large that the vectors are not.
                raise self._diverged(f"the people who are held out cannot be scored ({error})") from error
            metrics.write_scores(self.update, scores)
        write_plots(self.folder)
