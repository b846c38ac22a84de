"""A stage as one call, from images to the file of the finished model; it resumes its own run."""

from dataclasses import dataclass, field
from pathlib import Path

import click
import torch

from reid_runtime.embedder import Embedder
from reid_runtime.model_file.contract import TrainedOn
from training.data.training_set import TrainingCrops
from training.models.frozen import freeze_parts
from training.models.network import EmbeddingNetwork
from training.models.weights import initialise
from training.recipe import Architecture, Recipe
from training.run.checkpoint import Checkpoint, build, read_checkpoint
from training.run.cpu import keep_freed_memory, repair_bfloat16
from training.run.trainer import LAST, LogConfig, Trainer, TrainingError
from training.run.validation import hold_out, score_people
from training.stages.base import StageInputs, StageKind


@dataclass(frozen=True)
class Job:
    """What a stage's run needs besides images and recipe."""

    out: Path
    """The run folder; a run in it is resumed."""
    terms: str
    """The data's terms of use, for the contract."""
    weights: Path | str | None = None
    """ImageNet weights that a new run starts from: a file, or "imagenet" for the published ones."""
    start: Path | None = None
    """A checkpoint of an earlier stage that a new run starts from, instead."""
    teacher: Embedder | None = None
    """Of a stage that has one."""
    device: str = "cpu"
    log: LogConfig = field(default_factory=LogConfig)


def run_stage(kind: StageKind, crops: TrainingCrops, recipe: Recipe, job: Job) -> Path:
    """Start or resume the stage's run.

    Args:
        kind: One of `training.stages.registry.STAGES`.
        crops: The training split; some people of it are held out, as the recipe says.
        recipe: Every choice.
        job: Where the run is kept, and what it starts from.

    Returns:
        The file of the finished model.

    Raises:
        TrainingError: For a run that cannot start, be resumed or go on; further the errors of weights, checkpoint,
            teacher, mining and run folder.
    """
    if job.weights is not None and job.start is not None:
        raise TrainingError("expected one of --weights and --start, found both")
    if job.weights is None and job.start is None and not (job.out / LAST).exists():
        raise TrainingError(
            "expected --weights or --start for a new run: a re-ID set is too small to learn from random weights"
        )
    kept, held_out = _hold_out(crops, recipe)
    device = usable_device(job.device)
    network = _network(kind.architecture(recipe), recipe, device)
    stage = kind.make(StageInputs(network, kept, recipe, device, job.out, job.teacher))

    def score(network: EmbeddingNetwork) -> dict[str, float]:
        assert held_out is not None
        return score_people(network, held_out, stage.architecture.rule)

    terms = "; ".join(filter(None, (job.terms, stage.terms)))
    seen = TrainedOn(kept.name, terms, kept.identities, len(kept.images))
    run = Trainer(job.out, stage, recipe, (seen,), kept.digest, job.log, None if held_out is None else score)
    if run.resume():
        click.echo(f"resumed at update {run.update} of {stage.updates}", err=True)
    elif job.weights is not None:
        initialise(stage.network.trunk, stage.architecture.backbone, job.weights)
    elif job.start is not None:
        earlier = read_checkpoint(job.start)
        start_from(stage.network, stage.architecture, earlier)
        own, theirs = stage.state(), earlier.part("stage")
        if earlier.progress.stage == stage.name and _shapes(own) == _shapes(theirs):
            stage.restore(theirs)
        # What the start was trained on, and may be used for, holds for what comes of it.
        run.trained_on += tuple(other for other in earlier.trained_on if other != seen)
    if run.update == 0:
        stage.prepare()
    return run.train()


def _hold_out(crops: TrainingCrops, recipe: Recipe) -> tuple[TrainingCrops, TrainingCrops | None]:
    kept, held_out = hold_out(crops, recipe.validation, recipe.seed)
    if held_out is None and recipe.validation.share:
        click.echo(
            f"nobody is held out: {recipe.validation.share:g} of {crops.identities} people makes no two who can be "
            "found again, and spared; without a measure of progress, judge the result on other data",
            err=True,
        )
    return kept, held_out


def usable_device(name: str) -> torch.device:
    """The device of that name; raises TrainingError for one that cannot be used here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"the device {name!r} cannot be used: {error}; pass --device cpu") from error
    return device


def _network(architecture: Architecture, recipe: Recipe, device: torch.device) -> EmbeddingNetwork:
    torch.manual_seed(recipe.seed)
    network = build(architecture)
    freeze_parts(network.trunk, recipe.fixed)
    if device.type == "cpu":
        keep_freed_memory()
        repair_bfloat16(network)
    return network.to(device)


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def start_from(network: EmbeddingNetwork, architecture: Architecture, checkpoint: Checkpoint) -> None:
    """Take the trunk of an earlier stage; what comes after it too, where it has the same shape."""
    backbone = checkpoint.architecture.backbone
    if backbone != architecture.backbone:
        raise TrainingError(f"--start holds {backbone!r}, the recipe wants {architecture.backbone!r}")
    own = network.state_dict()
    earlier = checkpoint.part("network") if "neck.weight" in own else checkpoint.weights()
    fitting = {key for key in own if key in earlier and earlier[key].shape == own[key].shape}
    missing = [key for key in own if key.startswith("trunk.") and key not in fitting]
    if missing:
        raise TrainingError(f"--start lacks {len(missing)} of {backbone}'s tensors, the first is {missing[0]!r}")
    network.load_state_dict({key: earlier[key] if key in fitting else own[key] for key in own})
