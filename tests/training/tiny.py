"""A backbone, a recipe and images so small that whole stages run in a second; and runs in processes to be killed."""

import multiprocessing
import os
import signal
import time

import numpy as np
import torch
from torch import nn

from reid_runtime.images.resize import LongestSide
from training.data.training_set import TrainingCrops
from training.models.backbones import BACKBONES
from training.models.base import Backbone
from training.models.frozen import freeze_parts
from training.recipe import (
    Adaptation,
    Architecture,
    Augmentation,
    Classification,
    Distillation,
    Mining,
    Ranking,
    Recipe,
    Validation,
)
from training.run import checkpoint as checkpoints
from training.run import trainer as engine
from training.run.trainer import LogConfig, Trainer
from training.run.validation import hold_out, score_people
from training.stages.adaptation import adaptation_stage
from training.stages.base import StageInputs
from training.stages.distillation import distillation_stage
from training.stages.registry import STAGES as STAGE_KINDS


class _Trunk(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 5, stride=4, padding=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )


TINY = Backbone("tiny", 16, _Trunk, published=dict)

RECIPE = Recipe(
    network=Architecture("tiny", dimension=8, size=32),
    augmentation=Augmentation(cut_out=0.3, flip=True, crop=0.1),
    classification=Classification(epochs=3, batch=8, sizes=(24, 32), learning_rate=5e-3, warmup_epochs=0.5),
    ranking=Ranking(
        updates=10, triplets=6, learning_rate=0.02, halve_every=4, mining=Mining(pool=20, refresh_every=3, hardest=4)
    ),
    adaptation=Adaptation(epochs=3, batch=8, views=2, learning_rate=5e-3, low_resolution_scale=(0.3, 0.6)),
    distillation=Distillation(epochs=3, batch=8, views=2, learning_rate=5e-3, low_resolution_scale=(0.3, 0.6)),
    validation=Validation(share=0.34, every=4),
)


def make_crops(people=6, each=6, light=0):
    """People who differ in colour, under two cameras, in pictures of three shapes, by `light` darker or lighter."""
    random = np.random.default_rng(0)
    images, identities, cameras = [], [], []
    for person in range(people):
        colour = np.array([person & 1, person >> 1 & 1, person >> 2 & 1]) * 150 + 50
        for number in range(each):
            noise = random.normal(0, 20, (40, (20, 14, 17)[number % 3], 3))
            images.append((colour + noise + random.uniform(-light, light)).clip(0, 255).astype(np.uint8))
            identities.append(person + 1)
            cameras.append(number % 2)
    return TrainingCrops(images, np.array(identities), np.array(cameras), "drawn")


KINDS = {
    "classification": (STAGE_KINDS["classify"], None),
    "ranking": (STAGE_KINDS["rank"], None),
    "distillation": (STAGE_KINDS["distil"], distillation_stage),
    "adaptation": (STAGE_KINDS["adapt"], adaptation_stage),
}
"""By name: the kind, and what makes one of random vectors in a teacher's place."""
STAGES = tuple(KINDS)


def make_stage(name, recipe, crops):
    """The stage with random weights."""
    torch.manual_seed(recipe.seed)
    kind, taught = KINDS[name]
    network = checkpoints.build(kind.architecture(recipe))
    freeze_parts(network.trunk, recipe.fixed)
    inputs = StageInputs(network, crops, recipe, torch.device("cpu"), folder=None)
    if taught is None:
        return kind.make(inputs)
    count = getattr(recipe, name).views * len(crops.images)
    targets = torch.randn(count, recipe.network.dimension, generator=torch.Generator().manual_seed(5))
    return taught(inputs, nn.functional.normalize(targets, dim=1))


def make_run(folder, name, recipe=RECIPE, crops=None, minutes=0.0):
    """The run as `training.run.entry` makes it, but for its start, which is random, and the teacher, likewise."""
    from reid_runtime.model_file.contract import TrainedOn

    kept, held_out = hold_out(crops or make_crops(), recipe.validation, recipe.seed)
    stage = make_stage(name, recipe, kept)
    facts = (TrainedOn("drawn", "none", kept.identities, len(kept.images)),)

    def score(network):
        return score_people(network, held_out, LongestSide(recipe.network.size))

    return Trainer(folder, stage, recipe, facts, kept.digest, LogConfig(minutes, 2), score if held_out else None)


def _killed_run(folder, name, recipe, at, during):
    """In a process of its own: train until update `at` (the end, where it is None), and there kill the process, or send
    it a signal while an update goes on.
    """
    torch.set_num_threads(1)
    BACKBONES[TINY.name] = TINY
    run = make_run(folder, name, recipe)
    run.resume()
    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    step, save = run.stage.optimiser.step, checkpoints.save_file

    def dying_step():
        if during == "update" and run.update == at:
            kill()
        step()

    def dying_save(tensors, path, metadata):
        save(tensors, path, metadata)
        if during == "writing" and run.update == at:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            kill()

    def endless(*arguments):
        measures = accumulate(*arguments)
        if during == "gradients" and run.update == at:
            for buffer in run.stage.network.buffers():
                buffer.add_(1)
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(600)
        return measures

    accumulate, run.stage.accumulate = getattr(run.stage, "accumulate", None), endless
    run.stage.optimiser.step, checkpoints.save_file = dying_step, dying_save
    engine.write_plots = lambda folder: None  # half of the time, and tested elsewhere
    run.train()


def in_process(folder, name, recipe=RECIPE, at=None, during="update"):
    """Runs `_killed_run` in a real process; gives its exit code, -9 where it was killed.

    From a fork server, which imports torch once for all of them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_killed_run, args=(folder, name, recipe, at, during))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        raise AssertionError("the run hangs")
    return process.exitcode
