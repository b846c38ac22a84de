"""A stage on small data: it learns, it saves, and a killed run goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from safetensors.torch import load_file, save_file
from torch.nn import functional

from reid_runtime.errors import ImageError
from reid_runtime.resize import LongestSide
from reid_runtime.scoring.layouts.market1501 import read_split
from training.backbones import BACKBONES
from training.data import Augmentation, TrainingCrops, batches, epoch_order
from training.losses import IdentityClassifier, TeacherVectors
from training.network import EmbeddingNetwork
from training.recipe import read_recipe
from training.stage import Pace, Run, TrainingError, learning_rate_at, size_at

ROOT = Path(__file__).parents[2]
RECIPE = replace(
    read_recipe(ROOT / "training" / "recipes" / "default.toml"),
    backbone="resnet18",
    dimension=16,
    sizes=(32, 48),
    epochs=4,
    batch=8,
    learning_rate=2e-3,
    cut_out=0.3,
    precision="float32",
)


@pytest.fixture(scope="module")
def crops():
    """Four identities that differ in colour, eight crops each, of two shapes."""
    random = np.random.default_rng(0)
    images = []
    for row in range(32):
        noise = random.normal(0, 20, (40, 20 if row % 3 else 14, 3))
        images.append((np.eye(4, 3)[row % 4] * 180 + 40 + noise).clip(0, 255).astype(np.uint8))
    return TrainingCrops(images, np.arange(32) % 4, 4)


def make_run(folder, crops, recipe=RECIPE, objective=None):
    torch.manual_seed(recipe.seed)
    network = EmbeddingNetwork(recipe.backbone, recipe.dimension)
    if objective is None:
        objective = IdentityClassifier(recipe.dimension, crops.identities, recipe.scale, recipe.margin, 0.0)
    trained_on = {"data": "drawn", "terms": "none", "identities": crops.identities, "crops": len(crops.images)}
    return Run(folder, recipe, crops, trained_on, network, objective, "cpu", Pace(1e9, 1))


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_learns_and_says_what_it_did(crops, tmp_path):
    plain = IdentityClassifier(RECIPE.dimension, 4, scale=8.0, margin=0.0, label_smoothing=0.0)
    make_run(tmp_path, crops, replace(RECIPE, epochs=10), plain).train()
    seen = metrics(tmp_path)
    assert {record["size"] for record in seen} == {32, 48}
    assert seen[-1]["loss"] < 0.5 * seen[0]["loss"]
    assert seen[-1]["agreement"] > 0.8
    tensors = load_file(tmp_path / "model.safetensors")
    assert all(name.startswith("network.") for name in tensors), "the finished model is free of optimiser state"


@pytest.mark.parametrize("stop_after", [1, 5, 9])
def test_an_interrupted_run_resumes_to_the_same_weights(stop_after, crops, tmp_path):
    torch.set_num_threads(1)
    whole = make_run(tmp_path / "whole", crops)
    whole.train()

    stopped = make_run(tmp_path / "stopped", crops)
    update, done = stopped.optimiser.step, 0

    def interrupted():
        nonlocal done
        done += 1
        if done == stop_after:
            # In the middle of an update: half of one must not become a state of the run.
            os.kill(os.getpid(), signal.SIGTERM)
        update()

    stopped.optimiser.step = interrupted
    with pytest.raises(SystemExit):
        stopped.train()
    assert done == stop_after
    resumed = make_run(tmp_path / "stopped", crops)
    assert resumed.resume()
    resumed.train()
    for key, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[key], value), key


def test_a_student_learns_its_teachers_vectors(crops, tmp_path):
    torch.manual_seed(0)
    directions = functional.normalize(torch.randn(4, RECIPE.dimension), dim=1)
    each_its_own = replace(crops, labels=np.arange(32))
    run = make_run(tmp_path, each_its_own, objective=TeacherVectors(directions[torch.from_numpy(crops.labels)]))
    run.train()
    seen = metrics(tmp_path)
    assert seen[-1]["agreement"] > 0.5 > seen[0]["agreement"] + 0.2
    assert not [name for name in load_file(tmp_path / "last.safetensors") if name.startswith("objective.")]


def test_a_run_is_not_resumed_with_another_recipe(crops, tmp_path):
    make_run(tmp_path, crops, replace(RECIPE, epochs=1)).train()
    with pytest.raises(TrainingError, match="another recipe"):
        make_run(tmp_path, crops, replace(RECIPE, epochs=2)).resume()


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(crops, tmp_path):
    run = make_run(tmp_path, crops)
    run.folder.mkdir(exist_ok=True)
    run.save()
    before = (tmp_path / "last.safetensors").read_bytes()
    with torch.no_grad():
        run.objective.directions.fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan"):
        run.train()
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_a_crop_that_cannot_be_used_is_named(tmp_path):
    for name in ("0001_c1.png", "0002_c1.png"):
        (tmp_path / "bounding_box_train").mkdir(exist_ok=True)
        (tmp_path / "bounding_box_train" / name).write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"0001_c1\.png"):
        TrainingCrops.load(read_split(tmp_path, "bounding_box_train"))


def test_too_little_data_is_told(crops, tmp_path):
    with pytest.raises(TrainingError, match="at least two identities"):
        make_run(tmp_path, TrainingCrops(crops.images, np.zeros(32, np.int64), 1))


def test_batches_are_of_one_shape_and_hold_every_crop_once(crops):
    rule = LongestSide(32)
    order = epoch_order(crops, rule, RECIPE, epoch=3)
    rows = [row for batch in order for row in batch]
    assert len(rows) == len(set(rows)) >= 31
    assert order == epoch_order(crops, rule, RECIPE, epoch=3)
    assert order != epoch_order(crops, rule, RECIPE, epoch=4)
    for (images, labels), batch in zip(batches(crops, Augmentation(rule, RECIPE, 0.3), order, 3), order, strict=True):
        assert images.shape[1:] == (*rule.shape(*crops.images[batch[0]].shape[:2]), 3)
        assert labels.tolist() == crops.labels[batch].tolist()


def test_an_error_while_batches_are_made_reaches_the_run(crops):
    with pytest.raises(IndexError):
        list(batches(crops, Augmentation(LongestSide(32), RECIPE, 0.3), [[0, 99]], 0))


def test_the_schedules():
    assert [size_at(RECIPE, epoch) for epoch in range(4)] == [32, 32, 48, 48]
    rates = [learning_rate_at(RECIPE, epoch / 10) for epoch in range(41)]
    assert rates[0] < 0.01 * RECIPE.learning_rate
    assert max(rates) == pytest.approx(RECIPE.learning_rate)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_command_killed_and_started_again_finishes(tmp_path):
    pytest.importorskip("examples.draw_crops", reason="run from a checkout")
    from examples.draw_crops import write_market

    write_market(tmp_path / "market", identities=6, cameras=2, views=4)
    save_file(BACKBONES["resnet18"].build().state_dict(), tmp_path / "imagenet.safetensors")
    lines = [f"{key} = {json.dumps(value)}" for key, value in replace(RECIPE, epochs=6).as_dict().items()]
    (tmp_path / "recipe.toml").write_text("\n".join(lines))
    command = [sys.executable, "-m", "training", "classify", str(tmp_path / "market"), "-o", str(tmp_path / "run")]
    command += ["--recipe", str(tmp_path / "recipe.toml"), "--weights", str(tmp_path / "imagenet.safetensors")]
    command += ["--checkpoint-minutes", "0", "--terms", "drawn by the project"]
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "last.safetensors").exists():
        assert first.poll() is None, first.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True)
    assert "resumed at epoch" in second.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()
