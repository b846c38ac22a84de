import numpy as np
import pytest

from benchmarks.across_cameras import _cut, _overlapping
from benchmarks.clusters import agreement


def test_agreement_is_that_of_the_definitions():
    people = np.array(["a", "a", "a", "b", "b", "c"])
    groups = np.array([1, 1, 2, 2, 2, 3])
    found = agreement(groups, people)
    # 2 of 4 joined pairs are right, of 4 that there are.
    assert found.f1 == pytest.approx(0.5)
    precision = (1 + 1 + 1 / 3 + 2 / 3 + 2 / 3 + 1) / 6
    recall = (2 / 3 + 2 / 3 + 1 / 3 + 1 + 1 + 1) / 6
    assert found.b_cubed == pytest.approx(2 * precision * recall / (precision + recall))


def test_tracks_are_cut_at_gaps_and_joined_by_overlap():
    moment = np.array([1, 3, 5, 20, 22])
    assert _cut(np.array([7] * 5), moment).tolist() == ["7-0"] * 3 + ["7-1"] * 2
    box = np.array([[0, 0, 10, 20], [50, 0, 60, 20], [1, 0, 11, 20], [52, 0, 62, 20], [200, 0, 210, 20.0]])
    tracks = _overlapping(box, np.array([1, 1, 3, 3, 3]), np.ones(5, np.bool_))
    assert tracks[0] == tracks[2] != tracks[1] == tracks[3]
    assert tracks[4] not in tracks[:4]
