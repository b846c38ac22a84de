"""The real trackers, each with vectors: they arrive with their boxes, and a person who was away is known again."""

import numpy as np
import pytest

from reid_runtime import EmbedBoxes
from reid_runtime.tracking import ReassociateTracks, TrackMemory, deepsort_input, norfair_detections, norfair_distance

from .people import Colours, street

AWAY = 12
"""Frames in which the first person is out of view: more than any tracker here waits."""


def frames(back=lambda step: 500 - step):
    """Two people; the first one goes, and comes back at another place."""
    for step in range(60):
        shown = [(0, 40 + step)] if step < 20 else [(0, back(step))] if step >= 20 + AWAY else []
        yield street(*shown, (1, 300))


def reassociated():
    return ReassociateTracks(Colours(), 0.7, memory=TrackMemory(apart=1), decide=2)


@pytest.mark.parametrize("name", ["ByteTrackTracker", "SORTTracker", "OCSORTTracker", "BoTSORTTracker"])
def test_roboflows_trackers(name):
    """They have no hook for vectors: people are told from their tracks."""
    trackers = pytest.importorskip("trackers", reason="needs trackers")
    supervision = pytest.importorskip("supervision")
    tracker, people = getattr(trackers, name)(lost_track_buffer=5), reassociated()
    tracks, persons = set(), set()
    for frame, boxes in frames():
        detections = supervision.Detections(
            xyxy=boxes, confidence=np.full(len(boxes), 0.9), class_id=np.zeros(len(boxes), dtype=int)
        )
        tracked = tracker.update(detections)
        tracked.data["person"] = people(frame, tracked)
        tracks |= {number for number in tracked.tracker_id.tolist() if number >= 0}
        persons |= {number for number in tracked.data["person"].tolist() if number >= 0}
    assert (len(tracks), len({people.became.get(number, number) for number in persons})) == (3, 2)


def test_deepsort():
    """It looks for a lost person only where they may have walked to: here they come out from behind something."""
    deepsort = pytest.importorskip("deep_sort_realtime.deepsort_tracker", reason="needs deep-sort-realtime")

    def numbers(embed):
        tracker = deepsort.DeepSort(embedder=None, max_cosine_distance=0.3, max_age=30, n_init=2)
        seen = set()
        for frame, boxes in frames(lambda step: 40 + step):
            vectors = embed(frame, boxes)
            detections, embeds = deepsort_input(boxes, vectors, np.full(len(boxes), 0.9))
            seen |= {
                track.track_id for track in tracker.update_tracks(detections, embeds=embeds) if track.is_confirmed()
            }
        return len(seen)

    assert numbers(Colours()) == 2
    random = np.random.default_rng(0)
    noise = lambda frame, boxes: random.normal(size=(len(boxes), 64)).astype(np.float32)  # noqa: E731
    assert numbers(noise) > 2


def test_deepsort_keeps_vectors_with_their_boxes():
    """It drops a box without an area, and not its vector: a box outside would shift all that follow."""
    deepsort = pytest.importorskip("deep_sort_realtime.deepsort_tracker", reason="needs deep-sort-realtime")
    boxes = np.array([(5, 5, 5, 40), (10, 10, 30, 60), (50, 10, 70, 60)])
    vectors = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], dtype=np.float32)
    detections, embeds = deepsort_input(boxes, vectors)
    tracker = deepsort.DeepSort(embedder=None, n_init=1)
    tracks = tracker.update_tracks(detections, embeds=embeds)
    kept = {tuple(track.to_ltwh().tolist()): track.get_feature().tolist() for track in tracks}
    assert kept == {(10, 10, 20, 50): [1, 0, 0], (50, 10, 20, 50): [0, 1, 0]}


def test_norfair():
    norfair = pytest.importorskip("norfair", reason="needs norfair-enough")

    def numbers(distance):
        tracker = norfair.Tracker(
            "iou", 0.7, hit_counter_max=5, initialization_delay=2, reid_distance_function=distance,
            reid_distance_threshold=0.3, reid_hit_counter_max=50,
        )  # fmt: skip
        embed, seen = Colours(), set()
        for frame, boxes in frames():
            seen |= {each.id for each in tracker.update(norfair_detections(boxes, embed(frame, boxes)))}
        return len(seen)

    assert (numbers(norfair_distance), numbers(None)) == (2, 3)


def test_norfair_knows_nothing_of_boxes_without_pixels():
    pytest.importorskip("norfair", reason="needs norfair-enough")
    from types import SimpleNamespace

    nothing, something = norfair_detections(np.zeros((2, 4)), np.array([[0, 0], [0, 1]], np.float32), [0.5, 0.9])
    assert (nothing.embedding, something.scores.tolist(), something.data) == (None, [0.9, 0.9], 1)
    objects = [SimpleNamespace(past_detections=[each]) for each in (nothing, something)]
    assert norfair_distance(*objects) == np.inf


def test_supervisions_detections_keep_people_and_vectors(tiny):
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    people = ReassociateTracks(EmbedBoxes(tiny, "bgr"), 0.99)
    frame, boxes = street((0, 40), (1, 300))
    detections = supervision.Detections(xyxy=boxes, tracker_id=np.array([8, 9]))
    detections.data["person"] = people(frame, detections)
    detections.data["embedding"] = EmbedBoxes(tiny, "bgr")(frame, detections)
    last = detections[detections.tracker_id == 9]
    assert last.data["person"].tolist() == [2]
    assert np.array_equal(last.data["embedding"], tiny.embed_boxes(frame, boxes[1:], "bgr"))
