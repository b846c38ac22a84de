"""What trackers of others take from here: the look of tracks, people who come back, and crops on a budget."""

from reid_runtime.tracking.appearance import Appearance, qualities_of
from reid_runtime.tracking.budget import Budget, EmbedOnBudget
from reid_runtime.tracking.memory import TrackMemory
from reid_runtime.tracking.reassociate import ReassociateTracks
from reid_runtime.tracking.trackers import deepsort_input, norfair_detections, norfair_distance

__all__ = [
    "Appearance",
    "Budget",
    "EmbedOnBudget",
    "ReassociateTracks",
    "TrackMemory",
    "deepsort_input",
    "norfair_detections",
    "norfair_distance",
    "qualities_of",
]
