"""What trackers of others are handed, each in its own form. None is imported before it is used."""

from typing import Any

import numpy as np

from reid_runtime.tracking.appearance import corners_of
from reid_runtime.vectors import Vectors


def deepsort_input(boxes: Any, vectors: Vectors, scores: Any = None) -> tuple[list[Any], list[Vectors]]:
    """Detections and vectors for `update_tracks` of deep-sort-realtime (MIT).

        tracker = DeepSort(embedder=None, max_cosine_distance=1 - threshold)
        detections, embeds = deepsort_input(boxes, appearance(frame, boxes), scores)
        tracks = tracker.update_tracks(detections, embeds=embeds)

    A box without pixels is left out with its vector: the tracker drops boxes without an area, but not their vectors,
    and all that follow would belong to other boxes.

    Args:
        boxes: (N, 4) of x1, y1, x2, y2 in pixels, or detections with `.xyxy`.
        vectors: (N, D), row i for box i; a zero row for one without pixels.
        scores: (N,) of the detector; None for 1.

    Returns:
        M detections `([left, top, width, height], score, None)`, and their M vectors.
    """
    corners = corners_of(boxes)
    confidences = np.ones(len(corners)) if scores is None else np.asarray(scores, dtype=np.float64)
    kept = np.flatnonzero(vectors.any(axis=1) & (corners[:, 2:] > corners[:, :2]).all(axis=1))
    ltwh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [(ltwh[row].tolist(), float(confidences[row]), None) for row in kept], [vectors[row] for row in kept]


def norfair_detections(boxes: Any, vectors: Vectors, scores: Any = None) -> list[Any]:
    """Detections for `Tracker.update` of Norfair (BSD-3-Clause; norfair-enough is its maintained fork).

    Args:
        boxes: (N, 4) of x1, y1, x2, y2 in pixels, or detections with `.xyxy`.
        vectors: (N, D), row i for box i; a zero row, of a box without pixels, becomes no embedding.
        scores: (N,) of the detector; None for none.

    Returns:
        N `norfair.Detection` with the corners as points, `embedding`, and the box's number as `data`.
    """
    from norfair import Detection

    corners = corners_of(boxes)
    given = [None] * len(corners) if scores is None else np.asarray(scores, dtype=np.float64).tolist()
    return [
        Detection(
            box.reshape(2, 2),
            scores=None if score is None else np.full(2, score),
            data=row,
            embedding=vector if vector.any() else None,
        )
        for row, (box, vector, score) in enumerate(zip(corners, vectors, given, strict=True))
    ]


def norfair_distance(new: Any, lost: Any) -> float:
    """1 less the cosine of the mean looks of two of Norfair's objects, for `reid_distance_function`.

    With `reid_distance_threshold=1 - threshold`; the objects keep `past_detections_length` detections each. Nothing is
    known of one without an embedding: its distance is infinite.
    """
    means = []
    for each in (new, lost):
        vectors = [seen.embedding for seen in each.past_detections if seen.embedding is not None]
        if not vectors:
            return float("inf")
        mean = np.sum(vectors, axis=0)
        means.append(mean / max(float(np.linalg.norm(mean)), 1e-9))
    return float(1 - means[0] @ means[1])
