"""Which boxes are embedded on a budget, and what the others have."""

import numpy as np
import pytest

from reid_runtime.errors import OptionsError
from reid_runtime.tracking import Budget, EmbedOnBudget

from .people import Colours, street


def test_a_box_that_goes_on_alone_keeps_its_vector():
    model = Colours()
    embed = EmbedOnBudget(model)
    for step in range(10):
        vectors = embed(*street((0, 40 + 4 * step), (1, 300)))
        assert vectors.argmax(axis=1).tolist() == [0, 1]
    assert (model.crops, embed.budget.embedded) == (2, 2)
    assert embed.budget.skipped == {"changes nothing": 18, "over budget": 0}


def test_who_is_near_another_one_is_looked_at():
    model = Colours()
    embed = EmbedOnBudget(model)
    for step in range(10):
        frame, boxes = street((0, 40 + 20 * step), (1, 240 - 4 * step))
        assert np.array_equal(embed(frame, boxes), Colours()(frame, boxes))
    assert 4 < model.crops < 20


def test_vectors_are_renewed_in_time_and_boxes_that_jump_are_new():
    model = Colours()
    embed = EmbedOnBudget(model, stale=4)
    for _ in range(9):
        embed(*street((0, 40)))
    assert model.crops == 3
    embed(*street((0, 400)))
    assert model.crops == 4


def test_over_the_budget_a_known_box_keeps_its_vector_and_a_new_one_has_none():
    embed = EmbedOnBudget(Colours(), Budget(crops=1))
    first = embed(*street((0, 40), (1, 300)))
    assert sorted(first.any(axis=1).tolist()) == [False, True]
    assert embed(*street((0, 40), (1, 300))).any(axis=1).all()
    assert embed.budget.skipped == {"changes nothing": 1, "over budget": 1}
    assert embed(np.zeros((9, 9, 3), np.uint8), np.empty((0, 4))).shape == (0, 4)


def test_milliseconds_are_counted_by_what_crops_took(monkeypatch):
    clock = iter(np.arange(0, 100, 0.01))  # ten milliseconds a call
    monkeypatch.setattr("reid_runtime.tracking.budget.time.perf_counter", lambda: next(clock))
    budget = Budget(milliseconds=6)
    frame, boxes = street(*((person, 100 * person) for person in range(4)))
    assert len(budget.spend(Colours(), frame, boxes, [0, 1, 2, 3])) == 4  # nothing is known yet: 2.5 ms each
    assert list(budget.spend(Colours(), frame, boxes, [3, 1, 2, 0])) == [3, 1]
    with pytest.raises(OptionsError, match="a budget of one crop or more"):
        Budget(crops=0)
