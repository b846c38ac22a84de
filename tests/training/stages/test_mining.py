import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.stages.mining import MiningError, Pool, draw_rows, draw_triplets, hardest_pairs


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def loss(pool, query, positive, negative, margin=0.1):
    """The paper's, in float64, before the hinge: that one hides who is the hardest among those without a loss."""
    q, p, n = (pool.vectors[row].astype(np.float64) for row in (query, positive, negative))
    return 0.5 * (margin + ((q - p) ** 2).sum() - ((q - n) ** 2).sum())


@st.composite
def pools(draw):
    labels = draw(st.lists(st.integers(0, 3), min_size=3, max_size=14))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = unit(random.normal(size=(len(labels), 3)))
    for row in range(draw(st.integers(0, 3))):  # the same picture twice: ties
        vectors[row] = vectors[-1]
    return Pool(np.arange(len(labels)), np.array(labels, np.int64), vectors)


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(1, 30))
def test_no_pair_that_was_left_out_is_harder_than_a_chosen_one(pool, hardest):
    for query in range(len(pool.labels)):
        same = np.flatnonzero(pool.labels == pool.labels[query])
        positives = same[same != query]
        negatives = np.flatnonzero(pool.labels != pool.labels[query])
        if not len(positives) or not len(negatives):
            continue
        similarity = pool.vectors @ pool.vectors[query]
        chosen = {tuple(pair) for pair in hardest_pairs(similarity, positives, negatives, hardest).tolist()}
        every = {(p, n) for p in positives.tolist() for n in negatives.tolist()}
        assert chosen <= every
        assert len(chosen) == min(hardest, len(every))
        left_out = [loss(pool, query, *pair) for pair in every - chosen]
        if left_out:
            assert min(loss(pool, query, *pair) for pair in chosen) >= max(left_out) - 1e-6


@settings(max_examples=40, deadline=None)
@given(pools(), st.integers(0, 5), st.integers(0, 1000))
def test_a_triplet_is_of_two_pictures_of_one_person_and_one_of_another(pool, hardest, seed):
    labels, counts = np.unique(pool.labels, return_counts=True)
    random = np.random.default_rng(seed)
    if len(labels) < 2 or counts.max() < 2:
        with pytest.raises(MiningError, match=r"raise 'pool' in \[ranking.mining\]"):
            draw_triplets(pool, 5, hardest, random)
        return
    for query, positive, negative in draw_triplets(pool, 5, hardest, random).tolist():
        assert query != positive
        assert pool.labels[query] == pool.labels[positive] != pool.labels[negative]


def test_rows_are_those_of_the_training_images_and_not_places_in_the_pool():
    pool = Pool(np.array([70, 30, 50]), np.array([1, 1, 2]), unit(np.eye(3)))
    for query, positive, negative in draw_triplets(pool, 20, 3, np.random.default_rng(0)).tolist():
        assert {query, positive} == {70, 30}
        assert negative == 50


def test_mined_triplets_are_harder_than_random_ones():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 10)
    pool = Pool(np.arange(200), labels, unit(random.normal(size=(20, 8))[labels] + 0.5 * random.normal(size=(200, 8))))
    mined, any_of_them = (
        np.mean([loss(pool, *triplet) for triplet in draw_triplets(pool, 100, hardest, random).tolist()])
        for hardest in (25, 0)
    )
    assert mined > any_of_them + 0.2


def test_all_of_the_hardest_come_up_and_nothing_else():
    pool = Pool(np.arange(5), np.array([0, 0, 0, 1, 1]), unit([[1, 0], [0.8, 0.6], [0.6, 0.8], [0.9, 0.4], [-1, 0]]))
    drawn = {tuple(row) for row in draw_triplets(pool, 400, 2, np.random.default_rng(0)).tolist() if row[0] == 0}
    assert drawn == {(0, 2, 3), (0, 1, 3)}


def test_random_triplets_need_no_vectors():
    pool = Pool(np.arange(4), np.array([0, 0, 1, 1]), None)
    assert draw_triplets(pool, 8, 0, np.random.default_rng(0)).shape == (8, 3)
    with pytest.raises(MiningError, match="vectors"):
        draw_triplets(pool, 8, 25, np.random.default_rng(0))


def test_a_pools_rows_are_drawn_once_each():
    assert sorted(draw_rows(10, 50, np.random.default_rng(0)).tolist()) == list(range(10))
    rows = draw_rows(100, 30, np.random.default_rng(0)).tolist()
    assert len(set(rows)) == 30
    assert rows != draw_rows(100, 30, np.random.default_rng(1)).tolist()
