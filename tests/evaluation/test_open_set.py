"""FPIR and FNIR of an evaluation: of its queries in its gallery, without distractors, at stated sizes."""

import dataclasses

import numpy as np
import pytest

from reid_runtime.errors import OptionsError
from reid_runtime.evaluation import score_rows
from reid_runtime.evaluation.open_set import open_set_points
from reid_runtime.evaluation.saved import eval_set_of_rows

from ..cli.test_compare import PEOPLE, planted


def evaluation(people=PEOPLE, distractors=0):
    rows = planted(0.9)
    rows = rows.take(np.flatnonzero(rows.identity.astype(int) <= people))
    role = np.where((np.arange(len(rows)) >= len(rows) - distractors), "distractor", "")
    rows = dataclasses.replace(rows, role=role, identity=np.where(role == "", rows.identity, ""))
    return score_rows(eval_set_of_rows(rows, "planted"), rows, "model")


def test_rates_are_those_of_the_queries_in_all_of_the_gallery():
    made = evaluation()
    points = open_set_points(made, [39])
    assert {point.gallery_people for point in points} == {PEOPLE - 1}
    cosines = made.query_vectors @ made.gallery_vectors.T
    right = made.eval_set.query.identities[:, None] == made.eval_set.gallery.identities
    for point in points:
        false_positives = (np.where(right, -1, cosines) >= point.threshold).any(axis=1).mean()
        assert point.fpir - 0.02 <= false_positives <= point.fpir
        np.testing.assert_allclose(point.fnir, (np.where(right, cosines, -1).max(axis=1) < point.threshold).mean())
        assert point.fpir_interval[0] < point.fpir < point.fpir_interval[1]
    assert len(points) >= 1


def test_sizes_and_what_has_none():
    assert {point.gallery_people for point in open_set_points(evaluation())} == {10, 20, 39}
    assert open_set_points(evaluation(15)) == ()
    with pytest.raises(OptionsError, match="expected 20"):
        open_set_points(evaluation(15), [10])
    with pytest.raises(OptionsError, match="has 40 people"):
        open_set_points(evaluation(), [40])
    fewer = open_set_points(evaluation(distractors=8), [20])
    assert fewer != open_set_points(evaluation(), [20])
