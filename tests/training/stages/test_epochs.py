"""Stages of epochs: what is shown when, and that nothing is left out."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.images.resize import LongestSide
from training.stages.epochs import MIN_BATCH, epoch_order, learning_rate_at, size_at

from ..tiny import RECIPE, make_crops, make_stage

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.mark.parametrize("shapes", [1, 3, 36])
def test_an_epoch_shows_every_image_once_in_full_updates_of_groups_of_one_shape(shapes):
    images = [np.zeros((60, 10 + row % shapes, 3), np.uint8) for row in range(36)]
    rule = LongestSide(60)
    shown = [rule.shape(*image.shape[:2]) for image in images]
    order = epoch_order(shown, 8, seed=1, epoch=3)
    assert sorted(row for update in order for group in update for row in group) == list(range(36))
    for update in order:
        for group in update:
            assert len({images[row].shape for row in group}) == 1
    sizes = [sum(map(len, update)) for update in order]
    assert max(sizes) <= 8
    assert len(sizes) <= 6, "leftovers of many shapes go together"
    assert order == epoch_order(shown, 8, seed=1, epoch=3)
    assert order != epoch_order(shown, 8, seed=1, epoch=4)
    assert order != epoch_order(shown, 8, seed=2, epoch=3)


def test_a_run_begins_anywhere_with_what_would_have_come_there():
    stage = make_stage("classification", RECIPE, make_crops())
    every = list(stage._from(0))
    assert len(every) == stage.updates
    for update in range(stage.updates + 1):
        assert list(stage._from(update)) == every[update:]


def test_a_mixed_update_has_the_mean_gradient_of_its_images():
    stage = make_stage("distillation", RECIPE, make_crops())
    stage.network.eval()
    random = np.random.default_rng(0)
    images = [torch.from_numpy(random.integers(0, 256, (n, 32, w, 3), dtype=np.uint8)) for n, w in ((5, 16), (2, 12))]
    labels = [torch.arange(5), torch.arange(5, 7)]
    stage._accumulate(list(zip(images, labels, strict=True)))
    grads = [parameter.grad.clone() for parameter in stage.network.parameters()]
    stage.network.zero_grad()
    stage.network.eval()
    vectors = torch.cat([stage.network(part) for part in images])
    stage.objective(vectors, torch.cat(labels))[0].backward()
    for parameter, grad in zip(stage.network.parameters(), grads, strict=True):
        torch.testing.assert_close(grad, parameter.grad, rtol=1e-4, atol=1e-7)


def test_only_groups_that_are_large_enough_give_statistics():
    stage = make_stage("distillation", RECIPE, make_crops())
    norm = stage.network.trunk[1]
    for count, learns in ((MIN_BATCH - 1, False), (MIN_BATCH, True)):
        before = norm.running_mean.clone()
        stage._accumulate([(torch.zeros(count, 32, 16, 3, dtype=torch.uint8), torch.arange(count))])
        assert torch.equal(norm.running_mean, before) is not learns


def test_the_schedules():
    choices = replace(RECIPE.classification, epochs=4, warmup_epochs=1.0, learning_rate=2e-3)
    assert [size_at((32, 48), 4, epoch) for epoch in range(4)] == [32, 32, 48, 48]
    rates = [learning_rate_at(choices, epoch / 10) for epoch in range(41)]
    assert rates[0] < 0.01 * choices.learning_rate
    assert max(rates) == pytest.approx(choices.learning_rate)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    stage = make_stage("classification", replace(RECIPE, classification=choices), make_crops())
    actual = [stage.learning_rate(update) for update in range(stage.updates)]
    assert actual[0] == rates[0]
    assert 0 < actual[-1] < actual[-2] < max(actual) <= choices.learning_rate


def test_small_images_come_first_and_the_last_are_the_models_own():
    stage = make_stage("classification", RECIPE, make_crops())
    assert [stage.rule(epoch).size for epoch in range(3)] == [24, 24, 32]
    plain = replace(RECIPE, classification=replace(RECIPE.classification, sizes=()))
    assert {make_stage("classification", plain, make_crops()).rule(epoch).size for epoch in range(3)} == {32}


def test_an_error_while_images_are_made_reaches_the_run():
    stage = make_stage("classification", RECIPE, make_crops())

    def broken(row, epoch, rule):
        raise IndexError("no such picture")

    stage.show = broken
    with pytest.raises(IndexError, match="no such picture"):
        next(stage.accumulate_each_update(0))
