"""People behind tracks: who comes back is who they were, whoever was mixed up turns back, and nobody is taken twice."""

from types import SimpleNamespace

import numpy as np
import pytest

from reid_runtime import EmbedBoxes
from reid_runtime.errors import OptionsError
from reid_runtime.tracking import Budget, ReassociateTracks, TrackMemory

from .people import Colours, street


@pytest.fixture
def people():
    return ReassociateTracks(Colours(), 0.7, memory=TrackMemory(crops=4, apart=1), decide=2)


def follow(people, frames):
    """The people of the last frame; frames of (colour, left, track)."""
    for places in frames:
        frame, boxes = street(*((colour, left) for colour, left, _ in places))
        numbers = people(frame, boxes, [track for _, _, track in places])
    return numbers.tolist()


def test_who_comes_back_is_who_they_were(people):
    assert follow(people, [[(0, 40, 1), (1, 300, 2)]] * 4) == [1, 2]
    assert follow(people, [[(1, 300, 2)]] * 3) == [2]
    assert follow(people, [[(1, 300, 2), (0, 500, 3)]] * 3) == [2, 1]
    assert follow(people, [[(1, 300, 2), (0, 500, 3), (2, 40, 4)]] * 5) == [2, 1, 4]
    assert people.became == {3: 1}


def test_nobody_is_in_two_places(people):
    follow(people, [[(0, 40, 1)]] * 4)
    assert follow(people, [[(0, 40, 1), (0, 300, 2)]] * 5) == [1, 2]  # a look-alike, beside the person
    follow(people, [[]] * 2)
    assert sorted(follow(people, [[(0, 40, 5), (0, 300, 6)]] * 5)) == [1, 2]  # each of the lost ones once


def test_a_lost_track_that_its_tracker_finds_again_too_late(people):
    follow(people, [[(0, 40, 1), (1, 300, 2)]] * 4)
    assert follow(people, [[(1, 300, 2), (0, 500, 3)]] * 4) == [2, 1]
    assert follow(people, [[(2, 40, 1), (1, 300, 2), (0, 500, 3)]] * 4) == [4, 2, 1]


def test_two_that_were_mixed_up_turn_back(people):
    follow(people, [[(0, 40, 1), (1, 300, 2)]] * 4)
    meeting = [[(0, left, 1), (1, left + 20, 2)] for left in (100, 120, 140)]
    assert follow(people, meeting) == [1, 2]
    assert follow(people, [[(1, 40, 1), (0, 300, 2)]] * 3) == [2, 1]  # the tracker has taken one for the other
    assert follow(people, [[(1, 40, 1), (0, 300, 2)]] * 6) == [2, 1]


def test_two_that_met_and_went_on_stay(people):
    follow(people, [[(0, 40, 1), (1, 300, 2)]] * 4)
    follow(people, [[(0, left, 1), (1, left + 20, 2)] for left in (100, 120, 140)])
    assert follow(people, [[(0, 300, 1), (1, 40, 2)]] * 6) == [1, 2]


def test_a_track_that_went_over_to_somebody_else(people):
    follow(people, [[(0, 40, 1), (1, 300, 2)]] * 4)
    follow(people, [[(0, left, 1), (1, left + 20, 2)] for left in (100, 120)])
    assert follow(people, [[(1, 140, 1)]] * 4) == [2]  # track 1 goes on with the second one
    assert follow(people, [[(1, 140, 1), (0, 400, 3)]] * 4) == [2, 1]


def test_few_crops_are_embedded_and_the_rest_is_counted():
    people = ReassociateTracks(Colours(), 0.7, budget=Budget(crops=1))
    for step in range(40):
        people(*street((0, 40 + step), (1, 300)), [1, 2])
    budget = people.budget
    assert budget.embedded == people.embed.crops < 30
    assert budget.embedded + sum(budget.skipped.values()) == 80
    assert set(budget.skipped) == {"changes nothing", "over budget"}


def test_of_two_that_met_both_are_looked_at_on_any_budget():
    people = ReassociateTracks(Colours(), 0.7, memory=TrackMemory(crops=4, apart=1), budget=Budget(crops=1), decide=2)
    follow(people, [[(0, 40, 1), (1, 300, 2)]] * 9)
    follow(people, [[(0, left, 1), (1, left + 20, 2)] for left in (100, 120)])
    before = people.budget.embedded
    assert follow(people, [[(1, 40, 1), (0, 300, 2)]] * 9) == [2, 1]
    assert people.budget.embedded - before < 9


def test_lost_people_are_forgotten_in_time():
    people = ReassociateTracks(Colours(), 0.7, memory=TrackMemory(apart=1), decide=2, keep=5)
    follow(people, [[(0, 40, 1)]] * 4)
    follow(people, [[]] * 6)
    assert len(people.memory) == 0
    assert follow(people, [[(0, 40, 2)]] * 4) == [2]


def test_boxes_without_a_track_and_supervisions_detections(people):
    frame, boxes = street((0, 40), (1, 300))
    assert people(frame, SimpleNamespace(xyxy=boxes, tracker_id=np.array([5, -1]))).tolist() == [1, -1]
    assert people(frame, np.empty((0, 4)), []).tolist() == []
    for tracks, said in (([1], "a track number for each of 2 boxes, found 1"), ([3, 3], "each track once")):
        with pytest.raises(OptionsError, match=said):
            people(frame, boxes, tracks)


def test_the_threshold_is_the_calibrations(default, tiny):
    people = ReassociateTracks.calibrated(EmbedBoxes(default, "bgr"), fmr=0.01)
    assert people.threshold == default.calibration.stratum("nxn", "within").threshold(0.01)
    with pytest.raises(OptionsError, match="no calibration beside it"):
        ReassociateTracks.calibrated(EmbedBoxes(tiny, "bgr"))
