"""Trackers of others over given boxes, each as its package has it, without vectors and with them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.tracker_scores import Boxed
from reid_runtime.images.resize import Pixels
from reid_runtime.tracking import Appearance, deepsort_input, norfair_detections, norfair_distance
from reid_runtime.tracking.appearance import Corners, Numbers
from reid_runtime.vectors import Vectors


@dataclass(frozen=True)
class Detected:
    """One frame, and what a detector found in it."""

    number: int
    frame: Pixels
    """(H, W, 3) uint8 RGB."""
    boxes: Corners
    scores: Numbers


@dataclass
class Remembered:
    """An appearance model that embeds each box of a frame once, however many trackers ask for it."""

    model: Appearance
    known: dict[tuple[int, tuple[float, ...]], Vectors] = field(default_factory=dict)
    number: int = 0
    """The frame's."""

    def __call__(self, frame: Pixels, boxes: Any) -> Vectors:
        """As `Appearance` says."""
        keys = [(self.number, tuple(box)) for box in np.asarray(boxes, dtype=np.float64).round(2).tolist()]
        lacking = [row for row, key in enumerate(keys) if key not in self.known]
        if lacking or not keys:
            rows = self.model(frame, np.asarray(boxes)[lacking].reshape(-1, 4))
            self.known |= {keys[row]: vector for row, vector in zip(lacking, rows, strict=True)}
            if not keys:
                return rows
        return np.stack([self.known[key] for key in keys])


Tracker = Callable[[Detected], Boxed]
"""Called frame after frame; boxes without a track are left out."""


def roboflow(name: str, rate: float) -> Tracker:
    """One of Roboflow's `trackers` (Apache-2.0), which have no hook for vectors."""
    import supervision
    import trackers

    tracker = getattr(trackers, name)(frame_rate=rate)

    def track(seen: Detected) -> Boxed:
        detections = supervision.Detections(
            xyxy=seen.boxes, confidence=seen.scores, class_id=np.zeros(len(seen.boxes), dtype=np.int64)
        )
        tracked = tracker.update(detections)
        kept = tracked[tracked.tracker_id >= 0]
        return Boxed(np.asarray(kept.xyxy, dtype=np.float64).reshape(-1, 4), np.asarray(kept.tracker_id, np.int64))

    return track


def norfair(rate: float, embed: Remembered | None, threshold: float) -> Tracker:
    """Norfair, which asks for vectors once a track is lost, for a minute."""
    from norfair import Tracker as Norfair

    tracker = Norfair(
        "iou", 0.7, initialization_delay=2, hit_counter_max=max(3, round(rate)), past_detections_length=8,
        reid_distance_function=None if embed is None else norfair_distance, reid_distance_threshold=1 - threshold,
        reid_hit_counter_max=None if embed is None else round(60 * rate),
    )  # fmt: skip

    def track(seen: Detected) -> Boxed:
        good = seen.scores >= 0.5
        boxes = seen.boxes[good]
        vectors = np.zeros((len(boxes), 1), np.float32) if embed is None else embed(seen.frame, boxes)
        tracked = tracker.update(norfair_detections(boxes, vectors, seen.scores[good]))
        # One that goes on by prediction alone has no box of this frame.
        rows = [(each.last_detection.data, each.id) for each in tracked if each.last_detection.age == each.age]
        return Boxed(boxes[[row for row, _ in rows]], np.array([number for _, number in rows], dtype=np.int64))

    return track


def deepsort(rate: float, embed: Appearance, threshold: float) -> Tracker:
    """deep-sort-realtime (MIT), with a vector for each box."""
    from deep_sort_realtime.deepsort_tracker import DeepSort

    tracker = DeepSort(embedder=None, max_cosine_distance=1 - threshold, max_age=max(5, round(10 * rate)), nn_budget=50)

    def track(seen: Detected) -> Boxed:
        good = seen.scores >= 0.5
        boxes = seen.boxes[good]
        detections, embeds = deepsort_input(boxes, embed(seen.frame, boxes), seen.scores[good])
        tracks = tracker.update_tracks(detections, embeds=embeds)
        shown = [each for each in tracks if each.is_confirmed() and each.time_since_update == 0]
        corners = np.array([each.to_ltrb(orig=True) for each in shown], dtype=np.float64).reshape(-1, 4)
        return Boxed(corners, np.array([int(each.track_id) for each in shown], dtype=np.int64))

    return track


def followed(tracker: Tracker, frames: Sequence[Detected], embed: Remembered) -> Iterator[Boxed]:
    """What a tracker makes of the frames."""
    for seen in frames:
        embed.number = seen.number
        yield tracker(seen)
