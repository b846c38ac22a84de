"""The commands, from folders of pictures to a file that `reid-runtime embed` takes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("matplotlib", reason="needs the extra train")

from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.resize import LongestSide
from training.__main__ import main
from training.data.training_set import load_training
from training.models.backbones import BACKBONES
from training.models.bn_calibration import BatchNormError, calibrate_batch_norm
from training.models.network import EmbeddingNetwork
from training.recipe import read_recipe
from training.run.checkpoint import read_checkpoint, untrained, write_checkpoint
from training.run.trainer import TrainingError
from training.run.validation import hold_out

from ..miniature import write_crops
from .folders import write_people

ROOT = Path(__file__).parents[2]
TERMS = "drawn by the project"

RECIPE = """
[network]
backbone = "{backbone}"
dimension = {dimension}
size = 32
[classification]
dimension = 16
epochs = 2
batch = 8
[ranking]
updates = 3
triplets = 4
triplets_together = 4
mining = {{ pool = 20, hardest = 5 }}
[distillation]
epochs = 2
views = 2
batch = 8
[adaptation]
epochs = 2
views = 2
batch = 8
[validation]
share = 0.34
every = 100
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Six people under two cameras, two pictures in each."""
    return write_people(tmp_path_factory.mktemp("people"), 6, 2, 2)


def prepared(folder, backbone, dimension=8):
    """Arguments that all stages take: the recipe, and weights in ImageNet's place."""
    (folder / "recipe.toml").write_text(RECIPE.format(backbone=backbone, dimension=dimension))
    torch.manual_seed(0)
    trunk = BACKBONES[backbone].build()
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        trunk(torch.randn(16, 3, 64, 32))  # statistics that fit the weights, or every image gives one vector
    save_file(trunk.state_dict(), folder / "imagenet.safetensors")
    return ["--recipe", str(folder / "recipe.toml"), "--terms", TERMS, "--device", "cpu"]


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if isinstance(result.exception, ReidRuntimeError):
        raise result.exception
    return result


def trunks(command, people, folder, change):
    """(what a run makes of the trunk, the trunk that it began with), of a recipe whose text is changed."""
    common, recipe = prepared(folder, "tiny"), folder / "recipe.toml"
    recipe.write_text(change(recipe.read_text()))
    invoke(command, people, *common, "--weights", folder / "imagenet.safetensors", "-o", folder / "run")
    given = BACKBONES["tiny"].build().eval()
    given.load_state_dict(load_file(folder / "imagenet.safetensors"))
    return read_checkpoint(folder / "run" / "model.safetensors").network().trunk, given


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_all_the_stages_follow_each_other_on_a_plain_folder(people, tiny_model, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra cpu")
    common = prepared(tmp_path, "tiny")
    first, second, third = (tmp_path / name for name in ("classified", "ranked", "distilled"))
    classified = invoke("classify", people, *common, "--weights", tmp_path / "imagenet.safetensors", "-o", first)
    assert classified.output.strip().endswith(f"wrote {first / 'model.safetensors'}")
    ranked = invoke("rank", people, *common, "--start", first / "model.safetensors", "-o", second)
    assert ranked.exit_code == 0, ranked.output
    start = ["--start", first / "model.safetensors"]
    distilled = invoke("distil", people, *common, *start, "--teacher", tiny_model, "-o", third)
    assert distilled.exit_code == 0, distilled.output

    checkpoints = [read_checkpoint(folder / "model.safetensors") for folder in (first, second, third)]
    assert [each.progress.stage for each in checkpoints] == ["classification", "ranking", "distillation"]
    assert [each.architecture.dimension for each in checkpoints] == [16, 8, 8]
    images = torch.zeros(1, 32, 16, 3, dtype=torch.uint8)
    assert [each.network()(images).shape[1] for each in checkpoints] == [16, 8, 8]
    facts = checkpoints[2].trained_on
    assert [seen.terms for seen in facts] == [f"{TERMS}; vectors of tiny as targets", TERMS]
    assert (facts[0].identities, facts[0].crops) == (4, 16), "two of the six were held out"
    assert [len(each.trained_on) for each in checkpoints] == [1, 1, 2]

    again = invoke("rank", people, *common, "--start", first / "model.safetensors", "-o", second)
    assert "resumed at update 3 of 3" in again.output


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_a_stage_begins_with_the_trunk_that_it_is_given(people, tmp_path):
    still = "updates = 1\nlearning_rate = 1e-12"
    actual, given = trunks("rank", people, tmp_path, lambda text: text.replace("updates = 3", still))
    images = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(actual(images), given(images), rtol=1e-5, atol=1e-5)
    # The same features, from weights that ranking's frozen statistics need otherwise.
    assert all(
        torch.allclose(norm.running_var, torch.ones(1), atol=1e-4)
        for norm in actual.modules()
        if isinstance(norm, torch.nn.BatchNorm2d)
    )


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_ranking_takes_statistics_anew_where_the_recipe_says_so(people, tmp_path):
    anew = "updates = 1\nlearning_rate = 1e-12\nbn_calibration = "
    actual, trunk = trunks("rank", people, tmp_path, lambda text: text.replace("updates = 3", f"{anew}100"))
    given, recipe = EmbeddingNetwork("tiny", 8), read_recipe(tmp_path / "recipe.toml")
    given.trunk = trunk
    images = hold_out(load_training(people), recipe.validation, recipe.seed)[0].images
    pixels = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        before = given.eval().trunk(pixels)
        assert calibrate_batch_norm(given, images, LongestSide(32), torch.device("cpu"), "float32") == 2
        torch.testing.assert_close(actual(pixels), given.trunk(pixels), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(actual(pixels), before, rtol=1e-2, atol=1e-2)
    (tmp_path / "few").mkdir()
    with pytest.raises(BatchNormError, match=r"'bn_calibration' in \[ranking\]"):
        # Of 8 pictures in two shapes, no 8 are of one.
        trunks("rank", people, tmp_path / "few", lambda text: text.replace("updates = 3", f"{anew}8"))


@pytest.mark.usefixtures("quiet", "tiny_backbone")
@pytest.mark.parametrize("command", ["classify", "rank"])
def test_fixed_parts_of_the_trunk_compute_what_they_did(command, people, tmp_path):
    decay = "updates = 3\nweight_decay = 9.0"
    actual, given = trunks(
        command, people, tmp_path, lambda text: f'fixed = ["0", "1"]\n{text.replace("updates = 3", decay)}'
    )
    images = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(actual[1](actual[0](images)), given[1](given[0](images)), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(actual(images), given(images), rtol=1e-3, atol=1e-3), "all else has learnt"


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_a_network_learns_another_size_from_images_without_labels(people, tiny_model, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra cpu")
    images = tmp_path / "images"
    images.mkdir()
    for number, path in enumerate(sorted(people.rglob("*.png"))):
        shutil.copy(path, images / f"{number}.png")
    common = prepared(tmp_path, "tiny")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("size = 32", "size = 32\narea = 400\nstep = 4", 1))
    run = ["--teacher", tiny_model, "--weights", tmp_path / "imagenet.safetensors", "-o", tmp_path / "adapted"]
    with pytest.raises(ReidRuntimeError):
        invoke("adapt", images, *common, *run)
    result = invoke("adapt", images, *common, *run, "--unlabelled")
    assert result.exit_code == 0, result.output
    assert "nobody is held out" in result.output
    assert "the fully connected layer is fitted: mean cosine" in result.output
    adapted = read_checkpoint(tmp_path / "adapted" / "model.safetensors")
    assert adapted.progress.stage == "adaptation"
    assert str(adapted.architecture.rule) == "about 400 pixels, aspect ratio kept, sides multiples of 4"
    assert (adapted.trained_on[0].data, adapted.trained_on[0].crops) == ("images", 24)
    with pytest.raises(ReidRuntimeError, match="two images or more, found 0"):
        invoke("adapt", tmp_path / "adapted" / "nothing", *common, *run, "--unlabelled")


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_a_new_run_needs_one_start(people, tiny_model, tmp_path):
    common = [*prepared(tmp_path, "tiny"), "-o", tmp_path / "run"]
    for command in (["rank"], ["distil", "--teacher", tiny_model], ["adapt", "--teacher", tiny_model]):
        with pytest.raises(TrainingError, match="expected --weights or --start"):
            invoke(*command, people, *common)
    with pytest.raises(TrainingError, match="found both"):
        invoke("rank", people, *common, "--weights", "imagenet", "--start", tmp_path / "imagenet.safetensors")
    assert not (tmp_path / "run").exists(), "not even the teacher was asked"


@pytest.mark.usefixtures("quiet", "tiny_backbone")
@pytest.mark.parametrize("device", ["gpu0", "cpu:cpu"])
def test_unknown_device_is_an_error(device, people, tmp_path):
    common = [*prepared(tmp_path, "tiny"), "-o", tmp_path / "run", "--device", device]
    with pytest.raises(TrainingError, match="--device cpu"):
        invoke("rank", people, *common, "--weights", tmp_path / "imagenet.safetensors")
    write_checkpoint(tmp_path / "one.safetensors", untrained("tiny", 8))
    with pytest.raises(TrainingError, match="--device cpu"):
        invoke(
            "whiten", tmp_path / "one.safetensors", people, "--terms", TERMS, "--device", device, "-o", tmp_path / "x"
        )


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_a_start_of_another_backbone_is_refused(people, tmp_path):
    common = [*prepared(tmp_path, "tiny"), "-o", tmp_path / "run"]
    write_checkpoint(tmp_path / "other.safetensors", untrained("resnet18", 8))
    with pytest.raises(TrainingError, match="--start holds 'resnet18', the recipe wants 'tiny'"):
        invoke("rank", people, *common, "--start", tmp_path / "other.safetensors")


@pytest.mark.usefixtures("quiet", "tiny_backbone")
@pytest.mark.parametrize("command", ["classify", "rank", "distil", "adapt"])
def test_every_stage_refuses_bad_data_before_it_begins(command, tiny_model, tmp_path):
    write_people(tmp_path / "people", 3, 1, 1)
    common = [*prepared(tmp_path, "tiny"), "-o", tmp_path / "run", "--weights", tmp_path / "imagenet.safetensors"]
    common += ["--teacher", tiny_model] if command in ("distil", "adapt") else []
    with pytest.raises(ReidRuntimeError, match="has one image"):
        invoke(command, tmp_path / "people", *common)
    write_people(tmp_path / "people", 3, 1, 2)
    with pytest.raises(ReidRuntimeError, match="--one-camera"):
        invoke(command, tmp_path / "people", *common)
    assert not (tmp_path / "run").exists()
    result = invoke(command, tmp_path / "people", *common, "--one-camera")
    assert result.exit_code == 0, result.output
    assert "nobody is held out" in result.output


@pytest.mark.usefixtures("tiny_backbone")
def test_a_checkpoint_is_whitened_and_no_file_is_lost(people, tmp_path):
    write_checkpoint(tmp_path / "before.safetensors", untrained("tiny", 8))
    command = ["whiten", tmp_path / "before.safetensors", people, "--terms", TERMS, "--size", 48, "--device", "cpu"]
    command += ["-o", tmp_path / "after.safetensors"]
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    actual = read_checkpoint(tmp_path / "after.safetensors")
    assert (actual.architecture.size, actual.progress.stage) == (48, "whitening")
    assert [(seen.identities, seen.crops) for seen in actual.trained_on] == [(6, 24), (0, 0)]
    with pytest.raises(ReidRuntimeError, match="--force"):
        invoke(*command)
    assert invoke(*command, "--force").exit_code == 0


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_a_checkpoint_is_brought_to_another_size_by_the_statistics_of_whom_it_knows(people, tmp_path):
    common = prepared(tmp_path, "tiny")
    weights = tmp_path / "imagenet.safetensors"
    invoke("rank", people, *common, "--weights", weights, "-o", tmp_path / "run")
    model, out = tmp_path / "run" / "model.safetensors", tmp_path / "larger.safetensors"
    command = ["recalibrate", model, people, "--terms", TERMS, "--size", 48, "--device", "cpu", "-o", out]
    assert invoke(*command).stdout.strip() == f"wrote {out}"
    before, after = read_checkpoint(model), read_checkpoint(out)
    assert (before.architecture.size, after.architecture.size) == (32, 48)
    assert after.trained_on == before.trained_on, "the same data once"
    assert (after.progress.stage, after.trained_on[0].identities) == ("bn_calibration", 4), "two of six were held out"
    kept = hold_out(load_training(people), before.recipe.validation, before.recipe.seed)[0].images
    expected = before.network()
    calibrate_batch_norm(expected, kept, LongestSide(48), torch.device("cpu"), "float32")
    pixels = torch.randint(0, 256, (2, 48, 24, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(after.network()(pixels), expected(pixels), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(expected(pixels), before.network()(pixels), atol=1e-3)
    with pytest.raises(ReidRuntimeError, match="raise --images"):
        # Of 8 pictures in two shapes, no 8 are of one.
        invoke(*command, "--images", 8, "--force")
    content = out.read_bytes()
    with pytest.raises(ReidRuntimeError, match="--force"):
        invoke(*command)
    assert out.read_bytes() == content


@pytest.mark.usefixtures("quiet", "tiny_backbone")
def test_a_stage_that_starts_from_its_own_checkpoint_goes_on_with_its_classifier(people, tmp_path):
    common = prepared(tmp_path, "tiny")
    invoke("classify", people, *common, "--weights", tmp_path / "imagenet.safetensors", "-o", tmp_path / "first")
    text = (tmp_path / "recipe.toml").read_text()
    (tmp_path / "recipe.toml").write_text(text.replace("[classification]", "[classification]\nlearning_rate = 1e-12"))
    first, second = ({} for _ in range(2))
    for start, tensors in (("last", first), ("model", second)):
        out = tmp_path / f"from-{start}"
        invoke("classify", people, *common, "--start", tmp_path / "first" / f"{start}.safetensors", "-o", out)
        tensors.update(load_file(out / "last.safetensors"))
    before = load_file(tmp_path / "first" / "last.safetensors")
    for name in ("stage.weight", "network.neck.weight", "network.projection.weight"):
        torch.testing.assert_close(first[name], before[name], rtol=0, atol=1e-6)
    assert (second["stage.weight"] - before["stage.weight"]).abs().max() > 1e-4


def test_the_help_names_the_stages_in_their_order():
    text = " ".join(invoke("--help").output.split())
    places = [text.index(word) for word in ("ImageNet", "classify", "rank", "distil")]
    assert places == sorted(places)
    for word in ("416", "max pooling", "cut-out", "hard triplets", "1/2 max(0, m + |q - d+|^2 - |q - d-|^2)"):
        assert word.lower() in text.lower()


@pytest.mark.slow
def test_from_a_folder_of_pictures_to_vectors(tmp_path):
    """As the README has it, with a real backbone and in real processes; the first one is killed on the way."""
    pytest.importorskip("onnx", reason="needs the extra export")
    people, common = tmp_path / "people", prepared(tmp_path, "mobilenetv2", dimension=64)
    write_crops(people, identities=6)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def python(module, *arguments):
        code = f"import runpy; runpy.run_module({module!r}, run_name='__main__')"
        if module == "reid_runtime.cli":
            code = "from reid_runtime.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)

    run = ["training", "classify", people, *common, "-o", tmp_path / "run", "--checkpoint-minutes", "0"]
    run += ["--weights", tmp_path / "imagenet.safetensors"]
    first = python(*run)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "last.safetensors").exists():
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    second = python(*run)
    assert "resumed at update" in second.communicate()[1]
    start = ["--start", tmp_path / "run" / "model.safetensors"]
    for step in (
        ("training", "rank", people, *common, *start, "-o", tmp_path / "ranked"),
        ("export.to_onnx", tmp_path / "ranked" / "model.safetensors", "-o", tmp_path / "model.onnx"),
        ("reid_runtime.cli", "embed", people, "--model", tmp_path / "model.onnx", "-o", tmp_path / "v.npz"),
    ):
        last = python(*step)
        errors = last.communicate()[1]
        assert last.returncode == 0, errors
    with np.load(tmp_path / "v.npz") as file:
        assert file["embedding"].shape == (24, 64)
        np.testing.assert_allclose(np.linalg.norm(file["embedding"], axis=1), 1, atol=1e-4)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["sessions"][1]["from_update"] > 0
