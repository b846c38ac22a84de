"""One update of the ranking stage: images one by one or together, and what is frozen meanwhile."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.images.resize import LongestSide
from training.models.embedding import embed_images
from training.stages.losses import TripletLoss
from training.stages.mining import MiningError

from ..tiny import RECIPE, make_crops, make_stage

pytestmark = pytest.mark.usefixtures("tiny_backbone")


def stage_with(**choices):
    return make_stage("ranking", replace(RECIPE, ranking=replace(RECIPE.ranking, **choices)), make_crops())


def gradients(stage):
    return {name: parameter.grad for name, parameter in stage.network.named_parameters()}


def some_triplets(count=7):
    random = np.random.default_rng(0)
    return np.stack([random.integers(0, 36, count) for _ in range(3)], axis=1)


def differences(one, other):
    return [((one[name] - other[name]).norm() / one[name].norm()).item() for name in one]


@pytest.mark.parametrize("together", [2, 3, 64])
def test_images_together_give_the_gradients_of_images_one_by_one(together):
    alone, grouped = stage_with(margin=2.5), stage_with(margin=2.5, triplets_together=together)
    triplets = some_triplets()
    assert len({alone.show(triplets, 3, row, stream).shape for row in range(7) for stream in range(3)}) > 2
    seen = []
    grouped.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[0]))
    assert alone.accumulate(triplets, 3) == pytest.approx(grouped.accumulate(triplets, 3), rel=1e-6)
    assert max(seen) > 1, "some went together"
    assert max(seen) <= 3 * together
    assert max(differences(gradients(alone), gradients(grouped))) <= 1e-5


def test_the_gradient_is_that_of_the_mean_loss_over_the_updates_triplets():
    stage, triplets = stage_with(margin=2.5), some_triplets()
    loss, _ = stage.accumulate(triplets, 3)
    reference = stage_with(margin=2.5)
    reference.network.eval()
    vectors = torch.cat(
        [
            reference.network(torch.from_numpy(stage.show(triplets, 3, row, stream)[None].copy()))
            for row in range(7)
            for stream in range(3)
        ]
    ).reshape(7, 3, -1)
    expected = TripletLoss(2.5)(*vectors.unbind(1))[0].mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert max(differences(gradients(reference), gradients(stage))) <= 1e-5


def test_one_by_one_is_one_image_a_pass_each_at_its_own_size():
    stage, triplets, seen = stage_with(), some_triplets(), []
    stage.network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    stage.accumulate(triplets, 0)
    assert len(seen) == 21
    rule = LongestSide(RECIPE.network.size)
    expected = [(1, *rule.shape(*stage.crops.images[row].shape[:2]), 3) for row in triplets.reshape(-1)]
    assert seen == expected
    assert {max(shape[1:3]) for shape in seen} == {32}


def test_statistics_are_frozen_and_all_else_learns():
    stage = stage_with(margin=2.5)
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    stage.accumulate(some_triplets(), 0)
    assert all(parameter.grad.abs().sum() > 0 for parameter in stage.network.parameters())
    after = stage.network.state_dict()
    for name, value in before.items():
        assert torch.equal(after[name], value), "no statistic moved, and nothing else before the step"


def test_triplets_without_a_loss_leave_a_gradient_of_zero_and_not_none():
    stage = stage_with(margin=1e-9)
    same = np.repeat(np.arange(3)[:, None], 3, axis=1)
    same[:, 2] = 30
    stage.show = lambda triplets, update, number, stream: stage.crops.images[triplets[number, stream]]
    loss, agreement = stage.accumulate(same, 0)
    assert (loss, agreement) == (0.0, 1.0)
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in stage.network.parameters())


def test_the_pool_is_embedded_anew_every_few_updates_with_the_weights_of_then():
    stage = stage_with()
    stage._mine(0)
    first = stage.pool
    stage._mine(2)
    assert stage.pool is first
    with torch.no_grad():
        stage.network.projection.weight.add_(0.3)
    stage._mine(3)
    assert stage.pool is not first
    assert len(stage.pool.rows) == 20
    images = [stage.crops.images[row] for row in stage.pool.rows]
    expected = embed_images(stage.network, images, stage.rule, stage.device, "float32")
    assert np.array_equal(stage.pool.vectors, expected)
    alone = stage.network(
        torch.from_numpy(images[0][None].copy())
    )  # 40 pixels high: not what the runtime would show it
    assert not np.allclose(alone.detach().numpy(), expected[0], atol=1e-4)


def test_random_triplets_do_not_embed_the_pool():
    stage = stage_with(mining=replace(RECIPE.ranking.mining, hardest=0))
    assert stage._mine(0).shape == (6, 3)
    assert stage.pool.vectors is None
    restored = stage_with(mining=replace(RECIPE.ranking.mining, hardest=0))
    restored.restore(stage.state())
    assert np.array_equal(restored._mine(1), stage._mine(1))


def test_pool_without_a_positive_is_refused_before_embedding():
    stage = stage_with(mining=replace(RECIPE.ranking.mining, pool=1))
    stage.network.forward = None
    with pytest.raises(MiningError, match="raise 'pool'"):
        stage._mine(0)


def test_the_learning_rate_is_halved_every_so_many_updates():
    stage = stage_with(learning_rate=0.8, halve_every=4)
    assert [stage.learning_rate(update) for update in (0, 3, 4, 7, 8)] == [0.8, 0.8, 0.4, 0.4, 0.2]
