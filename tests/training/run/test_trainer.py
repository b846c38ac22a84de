"""The engine, with each of the stages: it learns, records, saves, stops and refuses."""

import json
import os
import re
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("matplotlib", reason="needs the extra train")

from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from reid_runtime.errors import ReidRuntimeError, StorageError
from reid_runtime.install import install_line
from training.recipe import read_recipe
from training.run import checkpoint
from training.run.record import Metrics, read_metrics
from training.run.trainer import TrainingError
from training.run_folder import RunFolderError

from ..tiny import RECIPE, STAGES, in_process, make_crops, make_run

pytestmark = pytest.mark.usefixtures("tiny_backbone")

EAGER = replace(
    RECIPE,
    augmentation=replace(RECIPE.augmentation, cut_out=0.0),
    classification=replace(RECIPE.classification, epochs=20, learning_rate=0.02),
    ranking=replace(
        RECIPE.ranking, updates=60, learning_rate=0.01, halve_every=60, mining=replace(RECIPE.ranking.mining, pool=60)
    ),
    validation=replace(RECIPE.validation, share=0.0),
)


@pytest.mark.parametrize(
    ("stage", "classifier"), [("classification", "cosine"), ("classification", "bnneck"), ("ranking", "cosine")]
)
def test_a_stage_learns_who_is_who(stage, classifier, tmp_path, quiet):
    recipe = replace(EAGER, classification=replace(EAGER.classification, classifier=classifier))
    make_run(tmp_path, stage, recipe, make_crops(people=8, each=9, light=60), minutes=1e9).train()
    records = read_metrics(tmp_path)
    told = [record for record in records if "loss" in record]
    assert told[-1]["agreement"] > 0.9 > told[0]["agreement"] + 0.3
    assert told[-1]["loss"] < 0.2 * told[0]["loss"]
    assert not any("held_out_map" in record for record in records), "nobody was held out"


def test_a_run_folder_tells_the_whole_run(tmp_path):
    make_run(tmp_path, "ranking", minutes=1e9).train()
    assert {path.name for path in tmp_path.iterdir()} == {
        "curriculum.png", "last.safetensors", "metrics.jsonl", "model.safetensors", "plots.png", "recipe.toml",
        "run.json",
    }  # fmt: skip
    assert read_recipe(tmp_path / "recipe.toml") == RECIPE
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["stage"], record["seed"]) == ("ranking", RECIPE.seed)
    assert record["sessions"][0]["training"].startswith("sha256:")
    metrics = read_metrics(tmp_path)
    records = [line for line in metrics if "loss" in line]
    assert [line["update"] for line in records] == [2, 4, 6, 8, 10]
    assert all(line["seconds_mining"] >= 0 < line["seconds_updating"] for line in records)
    assert [line["update"] for line in metrics if "held_out_map" in line] == [0, 4, 8, 10]
    for name, least in (("plots.png", 400), ("curriculum.png", 200)):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) >= least
            assert np.asarray(image.convert("L")).std() > 5
    tensors = load_file(tmp_path / "model.safetensors")
    assert all(name.startswith("network.") for name in tensors), "the finished model is free of optimiser state"


def test_progress_without_a_terminal_is_lines(tmp_path, quiet, capfd, monkeypatch):
    make_run(tmp_path / "some", "ranking", minutes=1e9).train()
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == f"ranking: 10 updates on cpu, in {tmp_path / 'some'}"
    assert [line.split(",")[0].split("0.")[0] for line in lines[1:]] == [
        f"update {update} of 10: loss " for update in (2, 4, 6, 8, 10)
    ]
    monkeypatch.setattr("training.run.progress.SILENCE", 0.0)
    make_run(tmp_path / "all", "ranking", minutes=1e9).train()
    assert "\nupdate 3 of 10\n" in capfd.readouterr().err, "updates that take long are told one by one"


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_run_saves_where_it_is_and_goes_on_to_the_same_weights(
    stage, tmp_path, quiet, capfd, monkeypatch
):
    torch.set_num_threads(1)
    monkeypatch.setattr("training.run.interrupts.PATIENCE", 600.0)
    complete = make_run(tmp_path / "whole", stage, minutes=1e9)
    complete.train()
    stopped = make_run(tmp_path / "stopped", stage, minutes=1e9)
    step, done = stopped.stage.optimiser.step, 0

    def interrupted():
        nonlocal done
        done += 1
        if done == 5:
            # In the middle of an update: half of one must not become a state of the run.
            os.kill(os.getpid(), signal.SIGTERM)
        step()

    stopped.stage.optimiser.step = interrupted
    with pytest.raises(SystemExit):
        stopped.train()
    assert "stopping after this update" in capfd.readouterr().err
    resumed = make_run(tmp_path / "stopped", stage, minutes=1e9)
    assert resumed.resume()
    assert resumed.update == done == 5
    resumed.train()
    for key, value in complete.stage.network.state_dict().items():
        assert torch.equal(resumed.stage.network.state_dict()[key], value), key
    assert len(json.loads((tmp_path / "stopped" / "run.json").read_text())["sessions"]) == 2


@pytest.mark.parametrize("stage", STAGES)
def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(stage, tmp_path, quiet):
    run = make_run(tmp_path, stage)
    step, kept = run.stage.optimiser.step, None

    def poisoned():
        nonlocal kept
        step()
        if run.update == 3:
            kept = (tmp_path / "last.safetensors").read_bytes()
            with torch.no_grad():
                run.stage.network.projection.bias.fill_(float("nan"))

    run.stage.optimiser.step = poisoned
    with pytest.raises(TrainingError, match="lower the learning rate") as caught:
        run.train()
    # After every update there is a checkpoint due: one with broken weights must not be written either.
    assert "no longer finite" in str(caught.value)
    assert (tmp_path / "last.safetensors").read_bytes() == kept

    again = make_run(tmp_path, stage)
    assert again.resume()
    assert again.update == 3
    with torch.no_grad():
        again.stage.network.projection.bias.fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"the loss is nan at update 4 .* untouched, --start takes it"):
        list(again._updates(Metrics(tmp_path, 3)))
    assert (tmp_path / "last.safetensors").read_bytes() == kept


def test_weights_so_large_that_no_vector_is_finite_stop_the_run_where_people_are_scored(tmp_path, quiet):
    run = make_run(tmp_path, "ranking", minutes=1e9)

    def exploded():
        with torch.no_grad():
            run.stage.network.projection.weight.fill_(1e38)

    run.stage.optimiser.step = exploded
    run.recipe = replace(RECIPE, validation=replace(RECIPE.validation, every=1))
    with pytest.raises(TrainingError, match=r"cannot be scored .* lower the learning rate"):
        run.train()


def test_matplotlib_is_required_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ReidRuntimeError, match=re.escape(install_line("train"))):
        make_run(tmp_path / "run", "ranking").train()
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_with_another_recipe_data_or_stage(tmp_path, quiet):
    make_run(tmp_path, "ranking", minutes=1e9).train()
    other = replace(RECIPE, ranking=replace(RECIPE.ranking, margin=0.2))
    with pytest.raises(TrainingError, match=r"another recipe or data \(ranking.margin\)"):
        make_run(tmp_path, "ranking", other).resume()
    with pytest.raises(TrainingError, match="the stage, ranking"):
        make_run(tmp_path, "distillation").resume()
    crops = make_crops()
    crops.images[3] = crops.images[3] // 2
    with pytest.raises(TrainingError, match="the data"):
        make_run(tmp_path, "ranking", crops=crops).resume()
    run = make_run(tmp_path, "ranking")
    run.trained_on = (replace(run.trained_on[0], terms="other terms"),)
    with pytest.raises(TrainingError, match=r"\(the data's name or terms\)"):
        run.resume()
    assert make_run(tmp_path, "ranking").resume()


def test_truncated_checkpoint_is_an_error_with_a_remedy(tmp_path, quiet):
    make_run(tmp_path, "ranking", minutes=1e9).train()
    last = tmp_path / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=r"last\.safetensors.* truncated .* remove it to begin anew"):
        make_run(tmp_path, "ranking").resume()


def test_an_update_that_takes_long_is_given_up_and_the_one_before_is_kept(tmp_path, quiet):
    torch.set_num_threads(1)
    assert in_process(tmp_path / "stuck", "ranking", at=3, during="gradients") == 128 + signal.SIGHUP
    resumed, complete = (make_run(tmp_path / name, "ranking", minutes=1e9) for name in ("stuck", "whole"))
    assert resumed.resume()
    assert resumed.update == 3
    for each in (complete, resumed):
        each.train()
    for key, value in complete.stage.network.state_dict().items():
        assert torch.equal(resumed.stage.network.state_dict()[key], value), key


@pytest.mark.parametrize("failing", ["training.run.checkpoint.save_file", "training.run.trainer.write_plots"])
def test_a_full_disk_stops_the_run_and_what_was_saved_goes_on(failing, tmp_path, monkeypatch, quiet):
    run, real = make_run(tmp_path, "ranking"), checkpoint.save_file
    kept = None

    def full(*arguments):
        nonlocal kept
        if run.update < 4:
            return real(*arguments) if "save_file" in failing else None
        kept = (tmp_path / "last.safetensors").read_bytes()
        if "save_file" in failing:
            arguments[1].write_bytes(b"the half of it")
            raise SafetensorError("No space left on device (os error 28)")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(failing, full)
        with pytest.raises(RunFolderError, match=r"No space left .* untouched.* give the same command again"):
            run.train()
    assert (tmp_path / "last.safetensors").read_bytes() == kept
    assert not list(tmp_path.glob(".*.part")), "it makes no room worse"
    again = make_run(tmp_path, "ranking", minutes=1e9)
    assert again.resume()
    assert again.update == 3
    again.train()


def test_impossible_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunFolderError, match=r"cannot be written: .*folder that may be written to"):
        make_run(tmp_path / "file" / "run", "ranking").train()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no lock that ends with its process")
def test_two_runs_do_not_share_a_folder(tmp_path, quiet):
    run = make_run(tmp_path, "ranking", minutes=1e9)
    step = run.stage.optimiser.step

    def beside():
        with pytest.raises(StorageError, match="another run is going on in"):
            make_run(tmp_path, "classification").train()
        step()

    run.stage.optimiser.step = beside
    run.train()
    assert read_recipe(tmp_path / "recipe.toml") == RECIPE
    assert make_run(tmp_path, "ranking").resume()


def test_what_was_written_after_the_last_checkpoint_is_written_again(tmp_path):
    with Metrics(tmp_path, 0) as metrics:
        for update in (1, 2, 3):
            metrics.add(1.0, 0.5, 8, 32, {"mining": 0.25})
            metrics.write(update, 0.1)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"update": 4, "lo')
    with Metrics(tmp_path, 2) as metrics:
        for loss in (2.0, 4.0):
            metrics.add(loss, 0.5, 8, 32, {"mining": 0.25})
        metrics.write(4, 0.1)
    records = read_metrics(tmp_path)
    assert [record["update"] for record in records] == [1, 2, 4]
    assert (records[-1]["loss"], records[-1]["seconds_mining"]) == (3.0, 0.5)
