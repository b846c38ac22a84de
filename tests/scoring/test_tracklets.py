"""Pooling of frames, multi-query, and MARS from its files to its scores."""

from pathlib import Path

import numpy as np
import pytest

from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.labels import Labels
from reid_runtime.scoring.layouts.mars import read_mars, read_mars_torchreid
from reid_runtime.scoring.ranking import score
from reid_runtime.scoring.tracklets import Tracklets, multi_query, pool

from .brute_force import unit_rows
from .layouts import miniatures


def bounds(*runs):
    starts, stops = zip(*runs, strict=True)
    return np.array(starts), np.array(stops)


def test_frames_are_pooled_and_then_normalised():
    frames = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    mean = pool(frames, *bounds((0, 2), (0, 3), (2, 3)))
    np.testing.assert_allclose(mean[0], [0.5**0.5, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose(mean[1], np.array([1.6, 1.8]) / np.hypot(1.6, 1.8), atol=1e-6)
    np.testing.assert_allclose(mean[2], [0.6, 0.8], atol=1e-6)
    largest = pool(frames, *bounds((0, 2), (1, 3)), pooling="max")
    np.testing.assert_allclose(largest[0], [0.5**0.5, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose(largest[1], np.array([0.6, 1]) / np.hypot(0.6, 1), atol=1e-6)
    assert mean.dtype == np.float32


@pytest.mark.parametrize("run", [(1, 1), (0, 4), (-1, 2)])
def test_runs_outside_the_frames_are_refused(run):
    frames = unit_rows(np.random.default_rng(0), 3, 4)
    with pytest.raises(ScoringError, match=r"1 of 2 tracklets are empty or reach beyond 3 frames, .* tracklet 1"):
        pool(frames, *bounds((0, 1), run))


def test_frames_that_cancel_out_are_refused():
    frames = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    with pytest.raises(ScoringError, match="1 of 1 mean-pooled vectors are zero, the first is row 0"):
        pool(frames, *bounds((0, 2)))


def test_multi_query_averages_each_person_under_each_camera():
    rng = np.random.default_rng(3)
    crops = Labels(rng.integers(1, 6, 60), rng.integers(1, 4, 60))
    vectors = unit_rows(rng, 60, 8)
    query = Labels(crops.identities[:20], crops.cameras[:20])
    pooled = multi_query(vectors, crops, query)
    for row in range(20):
        same = (crops.identities == query.identities[row]) & (crops.cameras == query.cameras[row])
        mean = vectors[same].mean(axis=0)
        np.testing.assert_allclose(pooled[row], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_query_without_crops_to_average_is_refused():
    crops = Labels(np.array([1, 2]), np.array([1, 1]))
    query = Labels(np.array([1, 2, 1]), np.array([1, 3, 3]))
    with pytest.raises(ScoringError, match="2 of 3 queries have no crop to average, the first is row 1: identity 2"):
        multi_query(unit_rows(np.random.default_rng(0), 2, 4), crops, query)


def test_tracklets_are_taken_in_the_order_asked_for():
    tracklets = Tracklets(Path("x"), ("a", "b", "c"), *bounds((0, 1), (1, 3)), np.array([4, 5]), np.array([1, 2]))
    taken = tracklets.take(np.array([1, 0]))
    assert (taken.starts.tolist(), taken.stops.tolist()) == ([1, 0], [3, 1])
    assert (taken.identities.tolist(), taken.cameras.tolist()) == ([5, 4], [2, 1])
    assert taken.paths == [Path("x/a"), Path("x/b"), Path("x/c")]


def circle(degrees):
    radians = np.deg2rad(np.array(degrees, dtype=np.float32))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_mars_in_miniature_worked_out_by_hand(tmp_path):
    pytest.importorskip("scipy.io", reason="MARS keeps its lists in MATLAB files")
    miniatures.mars(tmp_path)
    # Tracklets, by mean angle: junk 0, distractor 14, person 2: 10 (camera 1), 20 (camera 3), 60 (camera 1),
    # person 4: 40 (camera 1), 26 (camera 6). Queries: person 4 at 26, person 2 at 10 and at 20.
    frames = circle([0, 0, 14, 8, 10, 12, 18, 22, 40, 24, 28, 60])
    official = read_mars(tmp_path)

    def scores(splits):
        vectors = (pool(frames, part.starts, part.stops) for part in (splits.query, splits.gallery))
        query_vectors, gallery_vectors = vectors
        return score(query_vectors, splits.query, gallery_vectors, splits.gallery)

    # 26: 2 at 20, distractor, then person 4 at 40 (a distance of 14 against 12 and 6), rank 3.
    # 10: distractor, then person 2 at 20, rank 2; its own camera's tracklets are ignored.
    # 20: 4 at 26 and the distractor at 14 tie to rounding and come before person 2 at 10; 4 at 40; person 2 at 60.
    actual = scores(official)
    assert actual.first_hit.tolist() == [3, 2, 3]
    np.testing.assert_allclose(actual.ap_finite_sum, [1 / 3, 1 / 2, (1 / 3 + 2 / 5) / 2])
    np.testing.assert_allclose(actual.inp, [1 / 3, 1 / 2, 2 / 5])
    assert actual.gallery == 6

    # Without the queries, the gallery is the distractor at 14, person 4 at 40 and person 2 at 60 (camera 1).
    actual = scores(read_mars_torchreid(tmp_path))
    assert actual.valid.tolist() == [True, False, True], "person 2 under camera 1 is left without a right answer"
    assert actual.first_hit.tolist() == [2, 0, 3]
    assert actual.summary().map_finite_sum == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert actual.gallery == 3
