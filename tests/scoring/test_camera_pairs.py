"""mAP per camera pair against the definition, one pair at a time."""

import numpy as np
import pytest

from reid_runtime.scoring.camera_pairs import score_camera_pairs
from reid_runtime.scoring.labels import Labels

from .brute_force import result, unit_rows


def test_each_pair_is_scored_alone():
    rng = np.random.default_rng(0)
    query = Labels(rng.integers(0, 7, 40), rng.integers(1, 4, 40))
    gallery = Labels(rng.integers(-1, 7, 120), rng.integers(2, 6, 120))
    vectors = unit_rows(rng, 40, 8), unit_rows(rng, 120, 8)
    pairs = score_camera_pairs(vectors[0], query, vectors[1], gallery)
    assert pairs.query_cameras.tolist() == [1, 2, 3]
    assert pairs.gallery_cameras.tolist() == [2, 3, 4, 5]
    for row, of_query in enumerate(pairs.query_cameras):
        for column, of_gallery in enumerate(pairs.gallery_cameras):
            kept = gallery.cameras == of_gallery
            part = vectors[1][kept], gallery.identities[kept], gallery.cameras[kept]
            results = [
                result(vectors[0][i] @ part[0].T, query.identities[i], of_query, *part[1:])
                for i in np.flatnonzero(query.cameras == of_query)
            ]
            precisions = [answer.finite_sum for answer in results if answer]
            assert pairs.valid_queries[row, column] == len(precisions)
            if of_query == of_gallery:
                assert not precisions
            expected = np.mean(precisions) if precisions else np.nan
            assert pairs.map_finite_sum[row, column] == pytest.approx(expected, nan_ok=True)


def test_a_camera_that_saw_no_query_is_empty():
    query = Labels(np.array([1]), np.array([1]))
    gallery = Labels(np.array([1, 2, 5]), np.array([2, 3, 3]))
    vectors = unit_rows(np.random.default_rng(0), 3, 4)
    pairs = score_camera_pairs(vectors[:1], query, vectors, gallery)
    assert pairs.valid_queries.tolist() == [[1, 0]]
    assert np.isnan(pairs.map_finite_sum[0, 1])
