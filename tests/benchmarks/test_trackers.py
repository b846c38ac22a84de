"""Tracks with vectors and without: the scores of a known case, and every tracker on every kind of boxes."""

import numpy as np
import pytest

from benchmarks.scenes import visible_shares, wander
from benchmarks.tracker_runs import Remembered
from benchmarks.tracker_scores import Boxed, score_tracks
from benchmarks.trackers import measure, people_of, table
from reid_runtime.scoring.layouts.mot import read_sequence

from ..scoring.layouts import miniatures
from ..tracking.people import Colours

BOXES = np.array([(0, 0, 20, 40), (100, 0, 120, 40)], dtype=np.float64)


def test_two_who_change_numbers_halfway():
    pytest.importorskip("trackeval", reason="needs trackeval")
    truth = [Boxed(BOXES, np.array([5, 9]))] * 10
    perfect = score_tracks(truth, [Boxed(BOXES, np.array([70, 3]))] * 10)
    assert (perfect.hota, perfect.idf1, perfect.switches, perfect.people) == (1, 1, 0, 2)
    turned = score_tracks(truth, [Boxed(BOXES, np.array([1, 2]))] * 5 + [Boxed(BOXES, np.array([2, 1]))] * 5)
    assert (turned.idf1, turned.switches, turned.mota) == (0.5, 2, 0.9)


def test_who_came_back_is_one_person(tmp_path):
    sequence = read_sequence(miniatures.mot(tmp_path / "PETS09-S2L1", (1, 19, 7)))
    assert np.unique(people_of(sequence)).tolist() == [1, 7]


def test_every_tracker_on_every_kind_of_boxes(tmp_path):
    for package in ("trackeval", "trackers", "norfair", "deep_sort_realtime"):
        pytest.importorskip(package)
    sequence = read_sequence(miniatures.mot(tmp_path / "S", (1, 2), seconds=5, rate=4))
    model = Colours()
    rows = list(measure(sequence, Remembered(model), (0.7, 0.7), ()))
    assert [row.boxes for row in rows if row.vectors == "none"][::2] == ["truth", "gaps", "gaps, 2.0 frames/s"]
    followed = next(row for row in rows if (row.tracker, row.vectors) == ("ByteTrack", "none"))
    assert (followed.scores.idf1, followed.scores.people, followed.given) == (pytest.approx(1, abs=0.1), 2, 40)
    assert model.crops <= 40 + 40  # of the truth and of the boxes with gaps, once each
    assert table(rows).count("\n") == len(rows) + 2


def test_who_stands_behind_is_covered():
    assert visible_shares(np.array([(0, 0, 10, 10), (5, 2, 15, 12), (50, 0, 60, 10)])).tolist() == [0.6, 1, 1]


def test_people_walk_without_jumps_and_leave_the_picture():
    walk = wander(1, 3, 60)
    places = np.array([walk(0, step / 10)[0] for step in range(600)])
    assert 0.9 < np.linalg.norm(np.diff(places, axis=0), axis=1).max() < 1.7
    assert np.abs(places[:, 0]).max() > 50
