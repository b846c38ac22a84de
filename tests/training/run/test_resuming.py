"""Every stage, killed at random updates and while it writes a checkpoint, goes on to the very same weights."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("matplotlib", reason="needs the extra train")

from safetensors.torch import load_file

from training.run.checkpoint import read_checkpoint
from training.run.record import read_metrics

from ..tiny import RECIPE, STAGES, in_process, make_run

pytestmark = pytest.mark.usefixtures("tiny_backbone")


def same_tensors(whole, killed):
    """The last checkpoint's tensors, which are the same in both folders."""
    expected, actual = (load_file(folder / "last.safetensors") for folder in (whole, killed))
    assert expected.keys() == actual.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, actual[name]), name
    return actual


def test_a_resumed_run_goes_on_where_parts_of_the_trunk_are_fixed(tmp_path):
    """The optimiser's memory is kept by its parameters' places, which are fewer then."""
    recipe = replace(RECIPE, fixed=("0", "1"))
    assert in_process(tmp_path / "whole", "classification", recipe) == 0
    assert in_process(tmp_path / "killed", "classification", recipe, at=5) == -9
    assert in_process(tmp_path / "killed", "classification", recipe) == 0
    actual = same_tensors(tmp_path / "whole", tmp_path / "killed")
    assert sum(name.startswith("optimiser.") for name in actual) == 3 * 7, (
        "a convolution's, its norm's two, the layer's two, the neck's and the classifier's are left"
    )


def test_a_resumed_run_goes_on_with_the_neck_that_its_finished_model_has_taken_in(tmp_path):
    complete, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_process(complete, "classification") == 0
    assert in_process(killed, "classification", at=5) == -9
    assert in_process(killed, "classification") == 0
    assert "network.neck.running_var" in same_tensors(complete, killed)
    last, model = (read_checkpoint(complete / name) for name in ("last.safetensors", "model.safetensors"))
    assert not any("neck" in name for name in model.tensors)
    assert last.weights_digest == model.weights_digest
    resumed = make_run(complete, "classification")
    resumed.resume()
    images = torch.randint(0, 256, (4, 32, 16, 3), dtype=torch.uint8)
    with torch.inference_mode():
        trained, plain = resumed.stage.network.eval()(images), model.network()(images)
    torch.testing.assert_close(trained, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(stage, tmp_path):
    assert in_process(tmp_path / "whole", stage) == 0
    updates = make_run(tmp_path / "unused", stage).stage.updates
    random = np.random.default_rng(STAGES.index(stage))
    first, second, third = sorted(random.choice(np.arange(1, updates), 3, replace=False).tolist())
    killed = tmp_path / "killed"
    assert in_process(killed, stage, at=first) == -9
    assert in_process(killed, stage, at=second, during="writing") == -9
    half_written = [path for path in killed.iterdir() if path.name.endswith(".part")]
    assert half_written, "the kill came in the middle of a checkpoint"
    assert in_process(killed, stage, at=third) == -9
    assert not (killed / "model.safetensors").exists()
    assert in_process(killed, stage) == 0

    same_tensors(tmp_path / "whole", killed)
    records = [
        [(record["update"], record.get("loss"), record.get("held_out_map")) for record in read_metrics(folder)]
        for folder in (tmp_path / "whole", killed)
    ]
    assert [update for update, _, _ in records[0]] == [update for update, _, _ in records[1]], "each record once"
    assert [scored for _, _, scored in records[0]] == [scored for _, _, scored in records[1]]


def test_the_pool_of_a_resumed_run_has_the_vectors_of_the_weights_that_it_was_embedded_with(tmp_path):
    """Refreshed every 3 updates: a run stopped after 5 goes on with vectors of update 3, not of update 5."""
    assert in_process(tmp_path, "ranking", RECIPE, at=5) == -9
    resumed = make_run(tmp_path, "ranking")
    assert resumed.resume()
    assert resumed.update == 5
    kept = resumed.stage.pool.vectors.copy()
    resumed.stage._mine(5)
    assert np.array_equal(resumed.stage.pool.vectors, kept)
    resumed.stage._mine(6)
    assert not np.array_equal(resumed.stage.pool.vectors, kept)
