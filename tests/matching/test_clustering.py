import numpy as np
import pytest

from reid_runtime.errors import OptionsError
from reid_runtime.matching.clustering import Constraint, ConstraintError, group, read_links
from reid_runtime.matching.linkage import Links, average_linkage, joined, nothing_known, numbered
from reid_runtime.matching.margin import best_groups
from reid_runtime.matching.units import Sightings, Window, apart, number_units, pool_units


def pile(people=12, crops=6, spread=0.6, seed=0, dimension=16):
    """(N, D) vectors of people in a random order, and whose each is."""
    generator = np.random.default_rng(seed)
    whose = generator.permutation(np.repeat(np.arange(people), crops))
    own = generator.normal(size=(people, dimension))
    vectors = own[whose] + spread * generator.normal(size=(len(whose), dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), whose


def pairs(*values):
    return np.array(values, np.int64).reshape(-1, 2)


def scipy_groups(vectors, threshold, cannot=()):
    """The reference: a dense matrix, in which what must not be joined is too far away for any mean."""
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    distances = 1 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    for one, other in cannot:
        distances[one, other] = distances[other, one] = 1e9
    np.fill_diagonal(distances, 0)
    tree = hierarchy.linkage(distance.squareform(distances, checks=False), "average")
    return hierarchy.fcluster(tree, 1 - threshold, "distance")


def same(one, other):
    return np.array_equal(one[:, None] == one[None], other[:, None] == other[None])


@pytest.mark.parametrize("threshold", [0.8, 0.6, 0.4, 0.2])
@pytest.mark.parametrize("spread", [0.4, 1.0])
def test_groups_are_those_of_scipys_average_linkage(threshold, spread):
    vectors, _ = pile(people=30, crops=10, spread=spread)
    (labels,) = average_linkage(vectors, nothing_known(), [threshold])
    assert same(labels, scipy_groups(vectors, threshold))


@pytest.mark.slow
def test_five_thousand_crops_are_grouped_as_from_the_dense_matrix():
    """Adjusted Rand index of at least 0.99, where the rounding of ties may differ."""
    metrics = pytest.importorskip("sklearn.metrics")
    vectors, _ = pile(people=700, crops=7, spread=1.0, dimension=64)
    vectors = np.concatenate([vectors, pile(people=100, crops=1, seed=1, dimension=64)[0]])
    for threshold, labels in zip((0.5, 0.3), average_linkage(vectors, nothing_known(), [0.5, 0.3]), strict=True):
        assert metrics.adjusted_rand_score(scipy_groups(vectors, threshold), labels) >= 0.99


def test_groups_that_neighbours_hide_are_joined_all_the_same(monkeypatch):
    monkeypatch.setattr("reid_runtime.matching.neighbours.MOST", 3)
    vectors, whose = pile(people=4, crops=40, spread=0.3)
    (labels,) = average_linkage(vectors, nothing_known(), [0.5])
    assert same(labels, whose)


@pytest.mark.parametrize("people", [100, pytest.param(250, marks=pytest.mark.slow)])
@pytest.mark.parametrize("most", [64, 5])
def test_the_widest_margin_is_that_of_all_pairs(monkeypatch, people, most):
    """2,000 and 5,000 rows: SciPy's groups under every threshold, and every similarity of every row to every group."""
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    monkeypatch.setattr("reid_runtime.matching.neighbours.MOST", most)
    monkeypatch.setattr("reid_runtime.matching.linkage._HEAP", 300)
    monkeypatch.setattr("reid_runtime.matching.margin._SAMPLE", 500)
    vectors, _ = pile(people=people, crops=20, spread=1.0, dimension=48)
    choice = best_groups(vectors, nothing_known(), 0.5, 0.0)
    similarities = vectors @ vectors.T
    distances = distance.squareform(1 - similarities.astype(np.float64), checks=False)
    tree = hierarchy.linkage(np.maximum(distances, 0), "average")
    rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:500])
    tried = []
    for value in np.round(np.arange(0.65, 0.145, -0.01), 2).tolist():
        labels = numbered(hierarchy.fcluster(tree, 1 - value, "distance").astype(np.int64))
        sizes = np.bincount(labels)
        order = np.argsort(labels, kind="stable")
        sums = np.add.reduceat(similarities[rows][:, order], np.cumsum(sizes) - sizes, axis=1)
        own = np.arange(len(rows)), labels[rows]
        rest = (sums[own] - 1) / np.maximum(sizes[labels[rows]] - 1, 1)
        means = sums / sizes
        means[own] = -1
        first, second = -np.partition(-means, 1, axis=1)[:, :2].T
        margin = np.where(sizes[labels[rows]] == 1, 1 - first - second, rest - first).mean()
        tried.append((margin, value, labels))
    _, value, labels = max(tried, key=lambda each: each[0])
    assert choice.value == value
    assert np.array_equal(choice.labels, labels)


def test_falling_thresholds_give_what_each_gives_alone():
    vectors, _ = pile(spread=0.9)
    together = average_linkage(vectors, nothing_known(), [0.7, 0.5, 0.3])
    alone = [average_linkage(vectors, nothing_known(), [threshold])[0] for threshold in (0.7, 0.5, 0.3)]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))


def test_cannot_and_must_links_hold():
    vectors, whose = pile(people=6, crops=8, spread=0.5)
    cannot = [tuple(np.flatnonzero(whose == person)[:2]) for person in range(6)]
    must = [tuple(np.flatnonzero(whose == person)[[3, 4]]) for person in range(6)] + [
        (np.flatnonzero(whose == 0)[5], np.flatnonzero(whose == 1)[5])
    ]
    (labels,) = average_linkage(vectors, Links(pairs(*must), pairs(*cannot)), [0.4])
    assert all(labels[one] != labels[other] for one, other in cannot)
    assert all(labels[one] == labels[other] for one, other in must)
    (bounded,) = average_linkage(vectors, Links(pairs(), pairs(*cannot)), [0.4])
    assert same(bounded, scipy_groups(vectors, 0.4, cannot))


def test_constraints_that_contradict_each_other_are_named():
    ids, units = np.array(["a", "b", "c", "d"]), np.array([0, 1, 2, -1])
    said = [Constraint("a", "b", "must"), Constraint("b", "c", "must"), Constraint("a", "c", "cannot")]
    with pytest.raises(ConstraintError, match="a and c are said to be two people"):
        read_links(ids, units, said, [])
    with pytest.raises(ConstraintError, match="'x', and no crop"):
        read_links(ids, units, [Constraint("a", "x", "must")], [])
    with pytest.raises(ConstraintError, match="of one track"):
        read_links(ids, np.array([0, 0, 1, 2]), [Constraint("a", "b", "cannot")], [])
    # A person's word holds against two boxes of one frame.
    assert not read_links(ids, units, said[:2], [(0, 2)]).cannot.size


def test_a_track_is_one_unit_and_counts_by_quality():
    sightings = Sightings(np.array(["a", "a", "b", "a", "a"]), np.array(["1", "1", "1", "", ""]))
    units = number_units(sightings, np.array([True, True, True, True, False]))
    assert units.tolist() == [0, 0, 1, 2, -1]
    vectors = np.eye(5, dtype=np.float32)
    pooled = pool_units(vectors, units, np.array([3.0, 1, 1, 1, 1]))
    assert np.allclose(pooled[0], np.array([3, 1, 0, 0, 0]) / np.sqrt(10))
    assert np.array_equal(pooled[1:], vectors[2:4])


def test_who_cannot_be_one_by_frames_times_and_windows():
    camera = np.array(["a", "a", "a", "b", "b"])
    tracks = np.array(["1", "2", "3", "1", "1"])
    frames = np.array([1, 1, 5, 1, 2])
    sightings = Sightings(camera, tracks, None, frames)
    units = number_units(sightings, np.ones(5, np.bool_))
    assert {*apart(sightings, units, {})} == {(0, 1)}
    timed = Sightings(camera, tracks, np.array([0.0, 9.0, 5.0, 20.0, 30.0]))
    assert {*apart(timed, units, {("a", "b"): Window(12, 18)})} == {(0, 3), (1, 3)}
    spans = Sightings(np.array(["a"] * 4), np.array(["1", "1", "2", "2"]), np.array([0.0, 10, 5, 15]))
    assert {*apart(spans, number_units(spans, np.ones(4, np.bool_)), {})} == {(0, 1)}


def test_undecidable_units_are_unsure():
    def at(*degrees):
        radians = np.radians(degrees)
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)

    # Two people of three crops, one crop near the first and alone by a constraint, one far from all.
    vectors = at(0, 4, 8, 90, 94, 98, 20, 180)
    links = Links(pairs(), pairs((6, 0), (6, 1), (6, 2)))
    grouping = group(vectors, np.arange(8), links, None, threshold=0.9)
    assert grouping.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 3]  # barred from the first, and far from the others
    grouping = group(vectors, np.arange(8), nothing_known(), None, threshold=0.997)
    assert grouping.groups[6] == -1
    assert grouping.groups[7] >= 0
    kept = group(vectors, np.arange(8), Links(pairs((6, 7)), pairs()), None, threshold=0.997)
    assert kept.groups[6] == kept.groups[7] >= 0


def test_a_threshold_comes_from_somewhere():
    vectors, _ = pile()
    with pytest.raises(OptionsError, match="no calibration"):
        group(vectors, np.arange(len(vectors)), nothing_known(), None)
    with pytest.raises(OptionsError, match="expected a cosine"):
        group(vectors, np.arange(len(vectors)), nothing_known(), None, threshold=2.0)


def test_components_are_numbered_by_their_first_members():
    assert joined(6, [(5, 1), (3, 2), (1, 4)]).tolist() == [0, 1, 2, 2, 1, 1]
