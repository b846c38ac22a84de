from pathlib import Path

import numpy as np
import pytest

import reid_runtime
from reid_runtime.matching import read_calibration
from reid_runtime.matching.calibration import FORMAT, Calibration, Source
from reid_runtime.matching.clustering import group
from reid_runtime.matching.linkage import Links, nothing_known
from reid_runtime.matching.prior import sample_pairs
from reid_runtime.matching.rates import Histograms

from .test_clustering import pile


def measured(vectors, whose):
    """A calibration on these crops."""
    ones, others = np.triu_indices(len(whose), 1)
    similarities, edges = (vectors @ vectors.T)[ones, others].clip(-1, 1), np.linspace(-1, 1, 201)
    mated = whose[ones] == whose[others]
    counts = [tuple(np.histogram(similarities[each], edges)[0].tolist()) for each in (mated, ~mated)]
    source = Source("labels", "here", True, len({*whose}), 1, 1, 1, False, len(whose))
    return Calibration(
        operating_points=(), histograms=Histograms(tuple(edges.tolist()), *counts), format=FORMAT, contract_id="x",
        artefact_id="y", precision="float32", source=source, refused=(), strata=(), search=(),
    )  # fmt: skip


def f1(labels, whose):
    """Pairwise."""
    ones, others = np.triu_indices(len(whose), 1)
    predicted, right = labels[ones] == labels[others], whose[ones] == whose[others]
    return 2 * (predicted & right).sum() / (predicted.sum() + right.sum())


@pytest.mark.parametrize(("people", "crops"), [(8, 25), (100, 3)])
def test_the_share_of_mated_pairs_is_that_of_the_pile_and_not_of_the_calibration(people, crops):
    calibration = measured(*pile(people=40, crops=10, seed=1))
    vectors, whose = pile(people, crops, seed=2)
    sample = sample_pairs(calibration, vectors, nothing_known().cannot)
    true = (whose[:, None] == whose[None]).sum() - len(whose)
    assert sample.mated_share == pytest.approx(true / (len(whose) * (len(whose) - 1)), rel=0.35)


@pytest.mark.parametrize("spread", [1.5, 1.0])
def test_groups_without_labels_are_as_good_as_the_best_with_labels(spread):
    """Also where the calibration is of another place, in which people look more alike from one image to the next."""
    calibration = measured(*pile(people=60, crops=8, spread=spread, seed=3, dimension=64))
    vectors, whose = pile(people=40, crops=10, spread=1.5, seed=4, dimension=64)
    units = np.arange(len(whose))
    grouping = group(vectors, units, nothing_known(), calibration)
    best = max(
        f1(group(vectors, units, nothing_known(), None, threshold).groups, whose)
        for threshold in np.arange(0.05, 0.8, 0.05)
    )
    alone = np.where(grouping.groups < 0, 1000 + units, grouping.groups)
    assert f1(alone, whose) > best - 0.03
    assert grouping.least <= 40 <= grouping.most < 80


def test_known_strangers_say_how_much_alike_people_look_here():
    vectors, whose = pile(people=60, crops=6, spread=0.6, seed=5)
    calibration = measured(*pile(people=60, crops=6, spread=0.6, seed=6))
    # The same people in a place where all crops share a background.
    shifted = vectors + np.eye(1, vectors.shape[1], dtype=np.float32) * 1.5
    shifted /= np.linalg.norm(shifted, axis=1, keepdims=True)
    strangers = np.argwhere(np.triu(whose[:, None] != whose[None]))[::40]
    units = np.arange(len(whose))
    blind = group(shifted, units, nothing_known(), calibration)
    informed = group(shifted, units, Links(nothing_known().must, strangers), calibration)
    scores = [f1(np.where(each.groups < 0, 1000 + units, each.groups), whose) for each in (blind, informed)]
    assert scores[1] > scores[0] + 0.2
    assert "strangers" in informed.threshold.source


@pytest.mark.parametrize("crops", [2, 3, 5])
@pytest.mark.parametrize(("cosine", "is_one"), [(0.1, False), (0.2, False), (0.65, True), (0.9, True)])
def test_a_few_crops_are_one_person_or_as_many_as_they_are(crops, cosine, is_one):
    """All pairs are as near: no other pair says what is usual here."""
    calibration = read_calibration(Path(reid_runtime.__file__).parent / "models" / "base.calibration.json")
    vectors = np.sqrt(1 - cosine) * np.eye(crops, crops + 1) + np.sqrt(cosine) * np.eye(crops + 1)[-1]
    vectors = vectors.astype(np.float32)
    grouping = group(vectors, np.arange(crops), nothing_known(), calibration)
    assert len({*grouping.groups.tolist()}) == (1 if is_one else crops)
    assert grouping.groups.min() >= 0
    assert 0.4 < sample_pairs(calibration, vectors, np.empty((0, 2), np.int64)).similarity < 0.65
