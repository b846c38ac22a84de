"""The best crops of each track, by quality: found in a first reading of the video, without vectors."""

import os
from contextlib import closing

import numpy as np

from reid_runtime.errors import ImageError
from reid_runtime.images.quality import DEFAULT_POLICY
from reid_runtime.images.video import VideoFile
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.jobs.video.boxes import Boxes, Numbers
from reid_runtime.jobs.video.cutting import Crop, cut_boxes

_AHEAD = 64
"""Crops that are judged ahead."""


def best_of_tracks(video: VideoFile, boxes: Boxes, count: int) -> Boxes:
    """The `count` boxes of each track with the best crops, and all boxes without a track, in their order.

    Of two crops of one quality the earlier is taken. A track none of whose boxes can be cut keeps its first one, so
    that it is not passed over in silence.
    """
    quality = qualities(video, boxes)
    rows = np.arange(len(boxes))
    kept = boxes.track == ""
    by_track = rows[np.lexsort((rows, -np.nan_to_num(quality, nan=-1.0), boxes.track))]
    by_track = by_track[~kept[by_track]]
    _, starts, lengths = np.unique(boxes.track[by_track], return_index=True, return_counts=True)
    rank = np.arange(len(by_track)) - np.repeat(starts, lengths)
    chosen = (rank == 0) | ((rank < count) & np.isfinite(quality[by_track]))
    kept[by_track[chosen]] = True
    return boxes.take(np.flatnonzero(kept))


def qualities(video: VideoFile, boxes: Boxes) -> Numbers:
    """(N,) the quality of each box's crop, from 0 to 1; NaN for one that cannot be cut."""

    def judged(crop: Crop) -> float:
        return np.nan if isinstance(crop.pixels, ImageError) else DEFAULT_POLICY.judge(crop.pixels)[0]

    threads = os.cpu_count() or 1
    with closing(cut_boxes(video, boxes, StageTimes())) as crops:
        return np.fromiter(parallel_map(judged, crops, threads, prefetch=_AHEAD), np.float64, len(boxes))
