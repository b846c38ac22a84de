"""Sizes of steps: by part of the network, beside its weights, and with what their gradients have in common."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks.step_sizes import Recorded, coherence, norms
from training.stages.losses import TripletLoss


def test_norms_are_by_block_and_of_all() -> None:
    parameters = {
        "trunk.features.4.0.weight": torch.nn.Parameter(torch.full((2, 2), 2.0)),
        "trunk.features.4.1.weight": torch.nn.Parameter(torch.full((4,), 3.0)),
        "projection.weight": torch.nn.Parameter(torch.full((1, 4), 4.0)),
    }
    values = [torch.ones(2, 2), torch.zeros(4), torch.full((1, 4), 0.5)]
    found = norms(parameters, values)
    assert found["trunk.features.4"] == (2, 4)
    assert found["trunk.features.4, batch normalisation"] == (0, 6)
    assert found["projection"] == (1, 8)
    assert found["all"] == pytest.approx((5**0.5, 116**0.5))


def test_coherence_is_the_mean_cosine_of_pairs() -> None:
    first, second, across = torch.tensor([1.0, 0.0]), torch.tensor([5.0, 0.0]), torch.tensor([0.0, 2.0])
    assert coherence([[first], [second]]) == pytest.approx(1)
    assert coherence([[first], [second], [across]]) == pytest.approx(1 / 3)


def test_a_triplet_without_a_loss_is_not_active() -> None:
    vectors = torch.eye(3)
    recorded = Recorded(TripletLoss(0.1))
    recorded(vectors[[0, 0]], vectors[[0, 1]], vectors[[1, 0]])  # the positive is the query itself, then the negative
    found = recorded.triplets()
    assert (found.active, found.wrong, found.positive, found.negative) == (0.5, 0.5, 0.5, 0.5)
    assert found.loss == pytest.approx(1.05 / 2)
    assert recorded.rows == []
