"""The mean of several checkpoints: of their weights, and of nothing that does not belong together."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from click.testing import CliRunner

from reid_runtime.model_file.contract import TrainedOn
from training.__main__ import main
from training.postprocess.averaging import AveragingError, average
from training.run.checkpoint import read_checkpoint, untrained, write_checkpoint

SEEN, OTHER = (TrainedOn(data=name, terms="ours", identities=2, crops=9) for name in ("one", "two"))


@pytest.fixture(scope="module")
def three():
    """Checkpoints of one network with different weights; the last one is for larger images, and has seen more."""
    checkpoints = []
    for seed in range(3):
        torch.manual_seed(seed)
        checkpoints.append(replace(untrained("resnet18", dimension=16), trained_on=(SEEN,)))
    last = checkpoints[2]
    checkpoints[2] = replace(last, architecture=replace(last.architecture, size=320), trained_on=(OTHER, SEEN))
    return checkpoints


def test_each_counts_alike_and_the_rest_is_the_lasts(three):
    made = average(three)
    for name in ("trunk.layer4.1.conv2.weight", "projection.bias"):
        expected = sum(one.weights()[name] for one in three) / 3
        torch.testing.assert_close(made.weights()[name], expected)
        assert not torch.allclose(made.weights()[name], three[2].weights()[name], atol=1e-3)
    assert made.architecture == three[2].architecture
    assert made.recipe == three[2].recipe
    assert made.trained_on == (OTHER, SEEN)
    assert average(three[::-1]).trained_on == (SEEN, OTHER), "what any of them has seen, once"
    assert made.weights()["trunk.bn1.num_batches_tracked"].dtype == torch.int64


def test_a_normalisation_that_a_stage_trains_with_is_folded_first(three):
    neck = {"weight": 2.0, "bias": 0.0, "running_mean": 1.0, "running_var": 4.0}
    more = {f"network.neck.{name}": torch.full((16,), value) for name, value in neck.items()}
    training = replace(three[0], tensors=three[0].tensors | more)
    made = average([training, three[1]]).weights()
    assert not any(name.startswith("neck") for name in made)
    # Twice the weights, over a deviation of two.
    torch.testing.assert_close(
        made["projection.weight"],
        (three[0].weights()["projection.weight"] + three[1].weights()["projection.weight"]) / 2,
    )
    assert not torch.allclose(made["projection.bias"], average(three[:2]).weights()["projection.bias"])


def test_checkpoints_of_different_runs_have_no_mean(three):
    first, recipe = three[0], three[0].recipe
    with pytest.raises(AveragingError, match="two checkpoints or more, found 1"):
        average([first])
    with pytest.raises(AveragingError, match=r"same networks.*dimension=8"):
        average([untrained("resnet18", dimension=8), first])
    held_out = replace(recipe, validation=replace(recipe.validation, share=0.3))
    for other in (replace(recipe, seed=9), held_out):
        with pytest.raises(AveragingError, match="held out"):
            average([replace(first, recipe=other), first])
    one, other = (replace(first, progress=replace(first.progress, data=f"sha256:{name}")) for name in ("one", "other"))
    with pytest.raises(AveragingError, match="training data"):
        average([other, one])
    elsewhere = replace(first, recipe=replace(recipe, seed=9))
    assert average([elsewhere, one]).progress.data == "sha256:one", "one that no run here has trained held out nobody"


def test_the_command(three, tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path, one in zip(paths, three, strict=True):
        write_checkpoint(path, one)
    out = tmp_path / "mean.safetensors"
    command = ["average", *map(str, paths), "-o", str(out)]
    result = CliRunner().invoke(main, command)
    assert result.output.strip() == f"wrote {out}", result.output
    actual = read_checkpoint(out)
    assert actual.weights_digest == average(three).weights_digest
    assert (actual.progress.stage, actual.progress.update) == ("average", 0)
    assert "--force" in str(CliRunner().invoke(main, command).exception)
