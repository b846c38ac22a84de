"""The stages as calls: ImageNet, then `classify`, then `rank`; or `distil`. Each resumes its own run."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import torch

from reid_runtime.embedder import Embedder
from reid_runtime.model_file.contract import TrainedOn
from training.data.training_set import AS_TARGETS, TrainingCrops
from training.models.frozen import fix, standardise
from training.models.network import EmbeddingNetwork
from training.models.weights import initialise
from training.postprocess.bn_calibration import drawn, take_statistics
from training.recipe import Architecture, Recipe
from training.run.checkpoint import Checkpoint, build, read_checkpoint
from training.run.cpu import keep_freed_memory, repair_bfloat16
from training.run.trainer import LAST, LogConfig, Trainer, TrainingError
from training.run.validation import hold_out, score_people
from training.stages.adaptation import adaptation_stage, refit
from training.stages.base import Stage
from training.stages.classification import classification_architecture, classification_stage
from training.stages.distillation import distillation_stage
from training.stages.ranking import RankingStage
from training.stages.teacher import teacher_vectors


@dataclass(frozen=True)
class Job:
    """What a stage's call needs besides images and recipe."""

    out: Path
    """The run folder; a run in it is resumed."""
    terms: str
    """The data's terms of use, for the contract."""
    weights: Path | str | None = None
    """ImageNet weights that a new run starts from: a file, or "imagenet" for the published ones."""
    start: Path | None = None
    """A checkpoint of an earlier stage that a new run starts from, instead."""
    device: str = "cpu"
    log: LogConfig = field(default_factory=LogConfig)


def classify(crops: TrainingCrops, recipe: Recipe, job: Job) -> Path:
    """Identity classification; gives the model's file. Raises TrainingError, and the errors of what it is made of."""
    kept, held_out = _split(crops, recipe, job)
    network, place = _network(classification_architecture(recipe), recipe, job.device)
    return _train(classification_stage(network, kept, recipe, place), kept, held_out, recipe, job)


def rank(crops: TrainingCrops, recipe: Recipe, job: Job) -> Path:
    """Ranking, with hard triplets; gives the model's file. Errors as for `classify`, and MiningError."""
    kept, held_out = _split(crops, recipe, job)
    network, place = _network(recipe.network, recipe, job.device)

    def ready(network: EmbeddingNetwork) -> None:
        if recipe.ranking.statistics:
            images = drawn(kept, recipe.ranking.statistics, recipe.seed)
            take_statistics(network, images, recipe.network.rule, place, recipe.precision, recipe.fixed)
        standardise(network)

    return _train(RankingStage(network, kept, recipe, place), kept, held_out, recipe, job, ready)


def distil(crops: TrainingCrops, recipe: Recipe, job: Job, teacher: Embedder) -> Path:
    """Learning a teacher's vectors; gives the model's file. Errors as for `classify`, and TeacherError."""
    kept, held_out = _split(crops, recipe, job)
    network, place = _network(recipe.network, recipe, job.device)
    vectors = teacher_vectors(teacher, kept, recipe, recipe.distillation, job.out)
    stage = distillation_stage(network, kept, recipe, place, vectors)
    terms = f"{job.terms}; {AS_TARGETS.format(teacher.contract.name)}"
    return _train(stage, kept, held_out, recipe, replace(job, terms=terms))


def adapt(crops: TrainingCrops, recipe: Recipe, job: Job, teacher: Embedder) -> Path:
    """Another geometry of the input, learnt from the network's own vectors; errors as for `distil`."""
    kept, held_out = _split(crops, recipe, job)
    network, place = _network(recipe.network, recipe, job.device)
    vectors = teacher_vectors(teacher, kept, recipe, recipe.adaptation, job.out, mirrored=True)
    stage = adaptation_stage(network, kept, recipe, place, vectors)
    terms = f"{job.terms}; {AS_TARGETS.format(teacher.contract.name)}"

    def ready(network: EmbeddingNetwork) -> None:
        if recipe.adaptation.ridge:
            cosine = refit(network, kept, recipe, place, vectors)
            click.echo(f"the fully connected layer is fitted: mean cosine {cosine:.4f} to the teacher", err=True)

    return _train(stage, kept, held_out, recipe, replace(job, terms=terms), ready)


def _split(crops: TrainingCrops, recipe: Recipe, job: Job) -> tuple[TrainingCrops, TrainingCrops | None]:
    """Those to train on and those held out, once it is clear that there is something to start from."""
    if job.weights is not None and job.start is not None:
        raise TrainingError("expected one of --weights and --start, found both")
    if job.weights is None and job.start is None and not (job.out / LAST).exists():
        raise TrainingError(
            "expected --weights or --start for a new run: a re-ID set is too small to learn from random weights"
        )
    kept, held_out = hold_out(crops, recipe.validation, recipe.seed)
    if held_out is None and recipe.validation.share:
        click.echo(
            f"nobody is held out: {recipe.validation.share:g} of {crops.identities} people makes no two who can be "
            "found again, and spared; without a measure of progress, judge the result on other data",
            err=True,
        )
    return kept, held_out


def device_called(name: str) -> torch.device:
    """The device of that name; raises TrainingError for one that cannot be used here."""
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"the device {name!r} cannot be used: {error}; pass --device cpu") from error
    return place


def _network(architecture: Architecture, recipe: Recipe, device: str) -> tuple[EmbeddingNetwork, torch.device]:
    place = device_called(device)
    torch.manual_seed(recipe.seed)
    network = build(architecture)
    fix(network.trunk, recipe.fixed)
    if place.type == "cpu":
        keep_freed_memory()
        repair_bfloat16(network)
    return network.to(place), place


def _train(
    stage: Stage,
    crops: TrainingCrops,
    held_out: TrainingCrops | None,
    recipe: Recipe,
    job: Job,
    ready: Callable[[EmbeddingNetwork], object] = lambda network: None,
) -> Path:
    """Start or resume the stage's run; `ready` does what a new run wants done to the weights that it starts from."""

    def score(network: EmbeddingNetwork) -> dict[str, float]:
        assert held_out is not None
        return score_people(network, held_out, stage.architecture.rule)

    seen = TrainedOn(crops.name, job.terms, crops.identities, len(crops.images))
    run = Trainer(job.out, stage, recipe, (seen,), crops.digest, job.log, None if held_out is None else score)
    if run.resume():
        click.echo(f"resumed at update {run.update} of {stage.updates}", err=True)
    elif job.weights is not None:
        initialise(stage.network.trunk, stage.architecture.backbone, job.weights)
    elif job.start is not None:
        earlier = read_checkpoint(job.start)
        start_from(stage.network, stage.architecture, earlier)
        own, found = stage.state(), earlier.part("stage")
        if earlier.progress.stage == stage.name and _shapes(own) == _shapes(found):
            stage.restore(found)
        # What the start was trained on, and may be used for, holds for what comes of it.
        run.trained_on += tuple(other for other in earlier.trained_on if other != seen)
    if run.update == 0:
        ready(stage.network)
    return run.train()


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
