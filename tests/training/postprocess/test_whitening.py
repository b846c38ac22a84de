"""Whitening: what it does to a covariance, and to a network's vectors and no other thing."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.contract import TrainedOn
from training.models.embedding import embed_images
from training.postprocess.whitening import WhiteningError, whiten, whitener, within_person
from training.run.checkpoint import untrained

from ..tiny import make_crops

pytestmark = pytest.mark.usefixtures("tiny_backbone")

RANDOM = np.random.default_rng(0)
PEOPLE = np.repeat(np.arange(40), 5)
SPREAD = np.array([3.0, 1.0, 0.3, 0.1])
VECTORS = (RANDOM.normal(0, 5, (40, 4))[PEOPLE] + RANDOM.normal(0, SPREAD, (200, 4))).astype(np.float32)


def test_the_covariance_is_around_each_persons_own_mean():
    actual = within_person(VECTORS, PEOPLE)
    assert np.sqrt(np.diag(actual)) == pytest.approx(SPREAD, rel=0.15)
    by_hand = sum(np.cov(VECTORS[person == PEOPLE].astype(np.float64).T, ddof=0) * 5 for person in range(40)) / 160
    assert actual == pytest.approx(by_hand, abs=1e-5)


def test_people_with_one_image_teach_nothing_of_themselves():
    more, people = np.concatenate([VECTORS, VECTORS[:7] * 9]), np.concatenate([PEOPLE, 100 + np.arange(7)])
    assert within_person(more, people) == pytest.approx(within_person(VECTORS, PEOPLE), abs=1e-5)


def test_whitened_vectors_differ_alike_in_all_directions():
    after = VECTORS @ whitener(within_person(VECTORS, PEOPLE), shrinkage=1e-9)
    actual = within_person(after.astype(np.float32), PEOPLE)
    assert actual / actual[0, 0] == pytest.approx(np.eye(4), abs=1e-3)
    assert whitener(within_person(VECTORS, PEOPLE), shrinkage=1e6) == pytest.approx(np.eye(4), abs=1e-3)


@pytest.mark.parametrize(
    ("vectors", "people"), [(VECTORS[:9], np.arange(9)), (VECTORS[[0, 0, 5, 5]], PEOPLE[[0, 0, 5, 5]])]
)
def test_images_that_do_not_differ_are_refused(vectors, people):
    with pytest.raises(WhiteningError, match="two different images or more"):
        within_person(vectors, people)


def test_a_whitened_network_gives_the_whitened_vectors_of_the_one_before():
    torch.manual_seed(0)
    before, crops = untrained("tiny", 8), make_crops(light=40)
    after = whiten(before, crops, "none", 40, 0.05, torch.device("cpu"))
    assert (before.architecture.size, after.architecture.size, after.progress.stage) == (256, 40, "whitening")
    assert [seen.data for seen in after.trained_on] == ["drawn", "nothing"]

    def vectors(checkpoint):
        device = torch.device("cpu")
        return embed_images(checkpoint.network(), crops.images, LongestSide(40), device, "float32")

    expected = vectors(before) @ whitener(within_person(vectors(before), crops.people), 0.05)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert vectors(after) == pytest.approx(expected, abs=1e-5)
    trunk = {name for name in before.tensors if name.startswith("network.trunk.")}
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in trunk)
    assert after.weights_digest != before.weights_digest


@pytest.mark.parametrize(("terms", "entries"), [("ours", 1), ("others'", 2)])
def test_data_that_the_checkpoint_was_trained_on_are_named_once(terms, entries):
    before, crops = untrained("tiny", 8), make_crops(light=40)
    seen = TrainedOn("drawn", "ours; vectors of Anna as targets", crops.identities, len(crops.images))
    after = whiten(replace(before, trained_on=(seen,)), crops, terms, 32, 0.05, torch.device("cpu"))
    assert len(after.trained_on) == entries
    assert after.trained_on[-1] == seen
