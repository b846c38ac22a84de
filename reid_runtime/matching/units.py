"""What is grouped: tracks and single crops as units, and which of them cannot be one person.

Two boxes of one frame are two people. So are two tracks of one camera that overlap in time, and appearances under two
cameras between which nobody can walk in the time between them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Sightings:
    """Where and when N crops were seen; what is not known is None as a whole, or empty or NaN in a row."""

    camera: Texts
    """(N,) of several files, with the file's number where the cameras have no names."""
    track: Texts | None = None
    time: Numbers | None = None
    """(N,) seconds, of one clock."""
    frame: Integers | None = None
    """(N,) of each camera's own count."""


@dataclass(frozen=True)
class Window:
    """How long people take from one camera to another, in seconds: less or more is another person."""

    least: float
    most: float


Windows = Mapping[tuple[str, str], Window]
"""By (camera that is left, camera that is entered)."""


def number_units(sightings: Sightings, usable: npt.NDArray[np.bool_]) -> Integers:
    """(N,) the unit of each crop, from 0 in the order of their first crops: its track, or the crop alone; -1: none."""
    units = np.full(len(usable), -1, np.int64)
    seen: dict[object, int] = {}
    for row in np.flatnonzero(usable).tolist():
        track = "" if sightings.track is None else str(sightings.track[row])
        units[row] = seen.setdefault((str(sightings.camera[row]), track) if track else row, len(seen))
    return units


def pool_units(vectors: Vectors, units: Integers, weights: Numbers) -> Vectors:
    """(U, D) the mean of each unit's vectors, weighted by the (N,) quality of the crops, of unit length."""
    rows = np.flatnonzero(units >= 0)
    if not rows.size:
        return np.empty((0, vectors.shape[1]), np.float32)
    order = rows[np.argsort(units[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(units[order], prepend=-1))
    weighted = vectors[order] * np.maximum(weights[order], 1e-3).astype(np.float32)[:, None]
    return normalise(np.add.reduceat(weighted, starts, axis=0), "pooled")


def apart(sightings: Sightings, units: Integers, windows: Windows) -> Iterator[Pair]:
    """Pairs of units that cannot be one person; a pair may come twice."""
    moments = sightings.frame if sightings.frame is not None else sightings.time
    if moments is not None:
        yield from _same_frame(sightings.camera, moments, units)
    seconds = sightings.time if sightings.time is not None else sightings.frame
    if seconds is not None:
        yield from _in_time(sightings, np.asarray(seconds, np.float64), units, windows)


def _same_frame(cameras: Texts, moments: Integers | Numbers, units: Integers) -> Iterator[Pair]:
    frames: dict[tuple[str, object], set[int]] = {}
    for camera, moment, unit in zip(cameras.tolist(), moments.tolist(), units.tolist(), strict=True):
        if unit >= 0 and moment == moment:  # NaN is not
            frames.setdefault((camera, moment), set()).add(unit)
    for members in frames.values():
        yield from combinations(sorted(members), 2)


def _in_time(sightings: Sightings, seconds: Numbers, units: Integers, windows: Windows) -> Iterator[Pair]:
    """Tracks of one camera that overlap, and appearances that the windows between cameras rule out."""
    spans = [*_spans(sightings, seconds, units)]
    by_camera: dict[str, list[tuple[float, float, int]]] = {}
    for camera, begin, end, unit in spans:
        by_camera.setdefault(camera, []).append((begin, end, unit))
    for each in by_camera.values():
        each.sort()
        open_spans: list[tuple[float, float, int]] = []
        for span in each:
            open_spans = [other for other in open_spans if other[1] >= span[0]]
            yield from ((other[2], span[2]) for other in open_spans)
            open_spans.append(span)
    if sightings.time is None:
        return
    for (left, entered), window in windows.items():
        for _, end, one in by_camera.get(left, ()):
            for begin, _, other in by_camera.get(entered, ()):
                if begin >= end and not window.least <= begin - end <= window.most:
                    yield one, other


def _spans(sightings: Sightings, seconds: Numbers, units: Integers) -> Iterable[tuple[str, float, float, int]]:
    """(camera, first and last moment, unit) of each track; a crop without a track has a span of one moment."""
    rows = np.flatnonzero((units >= 0) & np.isfinite(seconds))
    if not rows.size:
        return
    order = rows[np.argsort(units[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(units[order], prepend=-1))
    begins, ends = np.minimum.reduceat(seconds[order], starts), np.maximum.reduceat(seconds[order], starts)
    for place, begin, end in zip(starts.tolist(), begins.tolist(), ends.tolist(), strict=True):
        yield str(sightings.camera[order[place]]), begin, end, int(units[order[place]])
