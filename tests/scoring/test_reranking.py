"""k-reciprocal re-ranking against its definition, written down over full matrices."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Labels
from reid_runtime.scoring.ranking import score, score_similarities
from reid_runtime.scoring.reranking import RerankSettings, rerank, score_reranked

from .brute_force import unit_rows


def by_definition(query, gallery, k1, k2, weight):
    """The paper's equations, step by step: (Q, G) distances."""
    vectors = np.concatenate([query, gallery])
    count = len(vectors)
    squared = np.maximum(2 - 2 * (vectors @ vectors.T), 0)
    distance = (squared / squared.max(axis=0)).T
    ranking = np.argsort(distance, axis=1, kind="stable")

    def reciprocal(row, k):
        return {other for other in ranking[row, : k + 1] if row in ranking[other, : k + 1]}

    encoding = np.zeros((count, count))
    for row in range(count):
        neighbours = reciprocal(row, k1)
        expanded = set(neighbours)
        for candidate in neighbours:
            half = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(half & neighbours) > 2 / 3 * len(half):
                expanded |= half
        members = sorted(expanded)
        weights = np.exp(-distance[row, members])
        encoding[row, members] = weights / weights.sum()
    encoding = np.stack([encoding[ranking[row, :k2]].mean(axis=0) for row in range(count)])

    jaccard = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            pair = encoding[i], encoding[len(query) + j]
            jaccard[i, j] = 1 - np.minimum(*pair).sum() / np.maximum(*pair).sum()
    return (1 - weight) * jaccard + weight * distance[: len(query), len(query) :]


def people(seed, count, dimensions, identities):
    """Unit vectors around a few centres, so that neighbourhoods overlap."""
    rng = np.random.default_rng(seed)
    centres = unit_rows(rng, identities, dimensions)
    vectors = centres[rng.integers(0, identities, count)] + 0.6 * unit_rows(rng, count, dimensions)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(1, 25),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.3, 1.0]),
)
@example(1, 10, 60, 20, 6, 0.3)
@example(2, 3, 4, 20, 6, 0.3)
def test_as_the_definition_says(seed, queries, items, k1, k2, weight):
    vectors = people(seed, queries + items, 16, 5)
    query, gallery = vectors[:queries], vectors[queries:]
    actual = rerank(query, gallery, RerankSettings(k1, k2, weight)).distances(0, queries)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, by_definition(query, gallery, k1, k2, weight), atol=1e-5)


def test_the_authors_numbers_are_the_default():
    vectors = people(4, 120, 16, 8)
    actual = rerank(vectors[:20], vectors[20:]).distances(0, 20)
    np.testing.assert_allclose(actual, by_definition(vectors[:20], vectors[20:], 20, 6, 0.3), atol=1e-5)


def test_blocks_are_rows_with_the_sign_turned():
    vectors = people(5, 80, 16, 8)
    reranked = rerank(vectors[:20], vectors[20:])
    # A BLAS may take another kernel for a block of another height: the last bit is its own.
    np.testing.assert_allclose(reranked(7, 12), -reranked.distances(0, 20)[7:12], rtol=0, atol=1e-6)


def test_equal_vectors_do_no_harm():
    vectors = np.repeat(people(6, 3, 16, 3), 30, axis=0)
    actual = rerank(vectors[:5], vectors[5:]).distances(0, 5)
    assert np.isfinite(actual).all()
    # The last of 30 equal vectors is no neighbour of any, not even of itself: its encoding is empty.
    assert np.isfinite(rerank(vectors, vectors[:5], RerankSettings(k2=1)).distances(0, 90)).all()
    same = np.ones((4, 16), dtype=np.float32) / 4
    assert np.isfinite(rerank(same[:2], same[2:]).distances(0, 2)).all()


def test_scores_leave_junk_out_before_neighbours_are_looked_for():
    vectors = people(7, 90, 16, 8)
    rng = np.random.default_rng(7)
    query = Labels(rng.integers(1, 8, 10), rng.integers(1, 4, 10))
    gallery = Labels(rng.integers(-1, 8, 80), rng.integers(1, 4, 80))
    kept = gallery.identities != -1
    distances = rerank(vectors[:10], vectors[10:][kept]).distances(0, 10)
    labels = Labels(gallery.identities[kept], gallery.cameras[kept])
    expected = score_similarities(lambda start, stop: -distances[start:stop], query, labels)
    actual = score_reranked(vectors[:10], query, vectors[10:], gallery)
    np.testing.assert_array_equal(actual.ap_finite_sum, expected.ap_finite_sum)
    assert actual.gallery == np.count_nonzero(kept)


def test_re_ranking_raises_the_map_where_neighbours_agree():
    rng = np.random.default_rng(8)
    centres = unit_rows(rng, 30, 32)
    identities = np.repeat(np.arange(1, 31), 12)
    vectors = centres[identities - 1] + 0.9 * unit_rows(rng, 360, 32)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    cameras = np.tile(np.arange(1, 7), 60)
    asked = np.arange(360) % 12 == 0
    query, gallery = (Labels(identities[rows], cameras[rows]) for rows in (asked, ~asked))
    before = score(vectors[asked], query, vectors[~asked], gallery).summary().map_finite_sum
    after = score_reranked(vectors[asked], query, vectors[~asked], gallery).summary().map_finite_sum
    assert after > before + 0.02


def test_impossible_settings_and_vectors_are_refused():
    for wrong in ({"k1": 0}, {"k2": 0}, {"weight": 1.5}):
        with pytest.raises(ScoringError, match="re-ranking takes"):
            RerankSettings(**wrong)
    vectors = people(9, 10, 16, 2)
    with pytest.raises(ScoringError, match="16 dimensions, gallery vectors 8"):
        rerank(vectors, unit_rows(np.random.default_rng(0), 4, 8))
    with pytest.raises(ScoringError, match="gallery vectors are not of unit length"):
        rerank(vectors, 2 * vectors)
