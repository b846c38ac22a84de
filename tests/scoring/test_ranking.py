"""CMC, mAP and mINP against hand-computed rankings, the definitions spelt out, and scikit-learn."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_runtime.scoring import ranking
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Labels
from reid_runtime.scoring.ranking import ranked_list, score, score_similarities

from .brute_force import all_results, unit_rows


def labels(identities, cameras):
    return Labels(np.array(identities, dtype=np.int64), np.array(cameras, dtype=np.int64))


def table(similarities):
    """A source of similarities that are there already."""
    rows = np.array(similarities, dtype=np.float32)
    rows.setflags(write=False)
    return lambda start, stop: rows[start:stop]


ANY = st.integers(2, 40)
"""How many different similarities there are: so few that ties abound."""
MANY = st.just(2**20)


@st.composite
def rankings(draw, levels=ANY):
    """A few queries against a gallery with junk, distractors and ties."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    queries, items = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    people, cameras = draw(st.integers(1, 5)), draw(st.integers(2, 4))
    query = labels(rng.integers(-1, people + 1, queries), rng.integers(1, cameras + 1, queries))
    gallery = labels(rng.integers(-1, people + 1, items), rng.integers(1, cameras + 1, items))
    similarities = rng.integers(0, draw(levels), (queries, items)).astype(np.float32) / 64 - 0.25
    return query, gallery, similarities


def compare(query, gallery, similarities):
    expected = all_results(similarities, query, gallery)
    if not any(expected):
        with pytest.raises(ScoringError):
            score_similarities(table(similarities), query, gallery)
        return
    scores = score_similarities(table(similarities), query, gallery)
    assert scores.valid.tolist() == [result is not None for result in expected]
    assert scores.without_answer.tolist() == [row for row, result in enumerate(expected) if result is None]
    for row, result in enumerate(expected):
        actual = scores.ap_finite_sum[row], scores.ap_trapezoid[row], scores.inp[row]
        values = (np.nan,) * 3 if result is None else (result.finite_sum, result.trapezoid, result.inp)
        assert actual == pytest.approx(values, abs=1e-12, nan_ok=True)
        assert scores.first_hit[row] == (0 if result is None else result.first_hit)
    valid = [result for result in expected if result]
    ranks = {f"rank_{length}": np.mean([any(result.hits[:length]) for result in valid]) for length in (1, 5, 10)}
    assert asdict(scores.summary()) == pytest.approx(
        ranks
        | {
            "map_finite_sum": np.mean([result.finite_sum for result in valid]),
            "map_trapezoid": np.mean([result.trapezoid for result in valid]),
            "minp": np.mean([result.inp for result in valid]),
            "queries": len(expected),
            "valid_queries": len(valid),
            "gallery": np.count_nonzero(gallery.identities != -1),
        }
    )


@settings(deadline=None, max_examples=300)
@given(rankings())
def test_as_the_definitions_say_with_junk_distractors_and_ties(drawn):
    compare(*drawn)


@settings(deadline=None)
@given(rankings())
def test_blocks_of_one_query_change_nothing(drawn):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(ranking, "BLOCK_BYTES", 1)
        compare(*drawn)


@settings(deadline=None, max_examples=200)
@given(rankings(levels=MANY))
def test_finite_sum_is_scikit_learns_average_precision(drawn):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the independent judge here")
    query, gallery, similarities = drawn
    try:
        scores = score_similarities(table(similarities), query, gallery)
    except ScoringError:
        return
    for row in np.flatnonzero(scores.valid):
        same = gallery.identities == query.identities[row]
        kept = (gallery.identities != -1) & ~(same & (gallery.cameras == query.cameras[row]))
        if np.unique(similarities[row, kept]).size < np.count_nonzero(kept):
            continue  # scikit-learn has another rule for ties
        expected = metrics.average_precision_score(same[kept], similarities[row, kept])
        assert scores.ap_finite_sum[row] == pytest.approx(expected)


@given(rankings())
@settings(deadline=None)
def test_the_trapezoid_is_never_larger(drawn):
    query, gallery, similarities = drawn
    try:
        scores = score_similarities(table(similarities), query, gallery)
    except ScoringError:
        return
    assert (scores.ap_trapezoid[scores.valid] <= scores.ap_finite_sum[scores.valid] + 1e-12).all()


def test_a_ranking_worked_out_by_hand():
    # Ranked: wrong, right, wrong, right, besides one junk, and one of the same person and camera before them all.
    query = labels([7], [1])
    gallery = labels([7, -1, 3, 7, 0, 7], [1, 2, 1, 2, 2, 3])
    scores = score_similarities(table([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]]), query, gallery)
    assert scores.first_hit.tolist() == [2]
    assert scores.ap_finite_sum[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert scores.ap_trapezoid[0] == pytest.approx(((0 / 1 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert scores.inp[0] == pytest.approx(2 / 4)
    assert scores.gallery == 5
    assert scores.cmc(4).tolist() == [0, 1, 1, 1]


def test_queries_without_a_right_answer_are_reported():
    gallery = labels([1, 1], [2, 3])
    scores = score_similarities(table(np.zeros((3, 2))), labels([1, 8, 0], [1, 4, 1]), gallery)
    line = "2 of 3 queries have no right answer and are not averaged, the first is row 1: identity 8 of camera 4"
    assert scores.describe_without_answer() == line
    assert scores.describe_without_answer(["a", "b", "c"]) == line.replace("row 1", "b")
    assert score_similarities(table([[0, 0]]), labels([1], [1]), gallery).describe_without_answer() is None


def test_equal_similarities_keep_the_order_of_the_gallery():
    query = labels([1], [1])
    behind = score_similarities(table([[0.5, 0.5, 0.5]]), query, labels([2, 1, 3], [2, 2, 2]))
    ahead = score_similarities(table([[0.5, 0.5, 0.5]]), query, labels([1, 2, 3], [2, 2, 2]))
    assert (behind.first_hit[0], ahead.first_hit[0]) == (2, 1)


def test_the_same_camera_with_another_person_stays():
    scores = score_similarities(table([[0.9, 0.1]]), labels([1], [1]), labels([2, 1], [1, 2]))
    assert scores.first_hit.tolist() == [2]


def test_vectors_are_ranked_by_their_dot_products():
    rng = np.random.default_rng(5)
    query = labels(rng.integers(1, 9, 30), rng.integers(1, 4, 30))
    gallery = labels(rng.integers(-1, 9, 200), rng.integers(1, 4, 200))
    vectors = unit_rows(rng, 30, 16), unit_rows(rng, 200, 16)
    by_vectors = score(vectors[0], query, vectors[1], gallery)
    by_table = score_similarities(table(vectors[0] @ vectors[1].T), query, gallery)
    np.testing.assert_array_equal(by_vectors.ap_finite_sum, by_table.ap_finite_sum)
    np.testing.assert_array_equal(by_vectors.first_hit, by_table.first_hit)


def test_a_ranked_list_leaves_out_what_the_scores_ignore():
    gallery = labels([7, -1, 3, 7, 0, 7], [1, 2, 1, 2, 2, 3])
    similarity = np.array([0.9, 0.8, 0.4, 0.6, 0.4, 0.7], dtype=np.float32)
    assert ranked_list(similarity, 7, 1, gallery, 10).tolist() == [5, 3, 2, 4]
    assert ranked_list(similarity, 7, 1, gallery, 1).tolist() == [5]


def refused(match, query_vectors=None, gallery_vectors=None, query=None, gallery=None):
    rng = np.random.default_rng(0)
    with pytest.raises(ScoringError, match=match):
        score(
            unit_rows(rng, 3, 4) if query_vectors is None else query_vectors,
            query or labels([1, 2, 3], [1, 1, 2]),
            unit_rows(rng, 4, 4) if gallery_vectors is None else gallery_vectors,
            gallery or labels([1, 2, 3, 3], [2, 2, 1, 2]),
        )


def spoilt(rows, value):
    vectors = unit_rows(np.random.default_rng(0), 4, 4)
    vectors[rows, 1] = value
    return vectors


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_vectors_that_are_not_finite(value):
    refused(r"2 of 4 gallery vectors hold NaN or infinity, the first is row 1", gallery_vectors=spoilt([1, 3], value))


def test_vectors_and_labels_that_are_refused():
    rng = np.random.default_rng(0)
    refused(r"1 of 4 gallery vectors are not of unit length, the first is row 2", gallery_vectors=spoilt([2], 5))
    refused(r"shape \(4, 4\); expected \(3, D\)", query_vectors=unit_rows(rng, 4, 4))
    refused(r"shape \(4,\)", gallery_vectors=np.ones(4, dtype=np.float32))
    refused(r"5 dimensions, gallery vectors 4", query_vectors=unit_rows(rng, 3, 5))
    refused(r"int64; expected float32", query_vectors=np.ones((3, 4), dtype=np.int64))
    refused(r"shapes \(3,\) and \(2,\)", query=labels([1, 2, 3], [1, 1]))
    refused(r"gallery is empty", gallery=labels([], []), gallery_vectors=np.zeros((0, 4), dtype=np.float32))
    refused(r"1 of 3 query identities are below -1, the first is -5 in row 1", query=labels([1, -5, 3], [1, 1, 2]))
    refused("one camera only", query=labels([1, 2, 3], [4, 4, 4]), gallery=labels([1, 2, 3, 3], [4, 4, 4, 4]))
    refused("none of 3 queries has a right answer, the first is identity 8", query=labels([8, 9, 0], [1, 1, 2]))


def test_similarities_that_are_not_finite_or_of_another_shape_are_refused():
    pair = labels([1], [1]), labels([1, 2], [2, 2])
    with pytest.raises(ScoringError, match="not finite, the first is query 0"):
        score_similarities(table([[0.5, np.nan]]), *pair)
    with pytest.raises(ScoringError, match="shape"):
        score_similarities(table([[0.5]]), *pair)
