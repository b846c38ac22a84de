import numpy as np
import pytest

from benchmarks.across_cameras import Boxes, _cut, _overlapping, scores
from benchmarks.clusters import agreement

from ..jobs.tables import table


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


def test_scores_are_those_of_the_definitions():
    pytest.importorskip("trackeval", reason="needs the extra integrations")
    rows = table(4, camera=np.array(["1", "1", "2", "2"]), frame=np.array([1, 1, 1, 2]), error=np.full(4, ""))
    boxes = Boxes(rows, np.array([7, 8, 7, 8]))
    assert scores(np.array([0, 1, 0, 1]), boxes) == {"HOTA": 100.0, "AssA": 100.0, "IDF1": 100.0}
    # Each box on its own: of a person's two boxes one is found, and each pair of labels shares one of two boxes.
    assert scores(np.array([0, 1, 2, 3]), boxes) == {"HOTA": 70.7, "AssA": 50.0, "IDF1": 50.0}
