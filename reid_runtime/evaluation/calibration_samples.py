"""The samples that a calibration is measured on, out of a table of embeddings: by its labels, or by its tracks."""

from collections.abc import Mapping

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.images.quality import WORTHLESS
from reid_runtime.jobs import Embeddings
from reid_runtime.jobs.labels import Texts
from reid_runtime.matching.samples import MOST_PEOPLE, Samples
from reid_runtime.scoring.labels import Integers, Mask
from reid_runtime.scoring.ranking import Fractions

SECONDS_APART, FRAMES_APART = 1.0, 25.0
"""How far apart two boxes of one track have to be, unless another gap is stated."""


def samples_of_labels(rows: Embeddings) -> tuple[Samples, dict[str, int]]:
    """The labelled crops of a table, each id once, and how many were left out by reason.

    Raises StorageError where no row says whose it is, CalibrationError where there are no two people.
    """
    if rows.identity is None or not (rows.identity != "").any():
        raise StorageError(
            "the rows have no identity; expected the column identity, or camera, track and time or frame (--tracks)"
        )
    labelled = rows.identity != ""
    roles = np.full(len(rows), "") if rows.role is None else rows.role
    reasons = {role: roles == role for role in ("junk", "distractor")}
    reasons["no identity"] = (roles == "") & ~labelled
    kept, left_out = _usable(rows, reasons)
    cameras, has_cameras = _cameras(rows, kept)
    people = np.unique(rows.identity[kept], return_inverse=True)[1].astype(np.int64)
    times = np.zeros(len(kept)) if rows.time is None else np.nan_to_num(rows.time[kept])
    return Samples(rows.embedding[kept], people, cameras, has_cameras, _heights(rows, kept), times), left_out


def samples_of_tracks(rows: Embeddings, gap: float | None = None) -> tuple[Samples, dict[str, int]]:
    """The boxes of a table that are in a track of at least two, and how many were left out by reason.

    Args:
        rows: With the column `track`, `frame` or `time`, and `camera` where there are several.
        gap: How far apart two boxes of a track have to be for one comparison: seconds where there is a column `time`,
            else frames; None for a second, or 25 frames.

    Returns:
        The samples, whose people are the tracks.

    Raises:
        StorageError: For a column that is missing, or two boxes of one track in one frame.
    """
    if rows.track is None or (rows.frame is None and rows.time is None):
        absent = "track" if rows.track is None else "frame and no time"
        raise StorageError(f"the rows have no {absent}; expected the columns camera, track, and time or frame")
    reasons = {"no track": rows.track == ""}
    if rows.time is not None:
        reasons["no time"] = ~np.isfinite(rows.time)
    kept, left_out = _usable(rows, reasons)
    cameras, has_cameras = _cameras(rows, kept)
    tracks = np.unique(np.stack([cameras.astype(np.str_), rows.track[kept]], axis=1), axis=0, return_inverse=True)[1]
    tracks = tracks.reshape(-1).astype(np.int64)
    times = (rows.frame if rows.time is None else rows.time)[kept].astype(np.float64)  # type: ignore[index]
    moments = times if rows.frame is None else rows.frame[kept].astype(np.float64)
    frames = np.unique(np.stack([cameras, moments], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    twice = _repeated(np.stack([tracks, frames], axis=1))
    if twice.size:
        raise StorageError(
            f"{twice.size} boxes are of a track that has another box in the same frame, the first is "
            f"{rows.id[kept[twice[0]]]}: a track is one person"
        )
    few = np.bincount(tracks)[tracks] < 2
    chosen = np.flatnonzero(~few & _first_tracks(tracks, times))
    left_out |= {name: count for name, count in (
        ("the only box of its track", int(few.sum())),
        (f"beyond the first {MOST_PEOPLE} tracks", len(tracks) - int(few.sum()) - len(chosen)),
    ) if count}  # fmt: skip
    numbers = np.unique(tracks[chosen], return_inverse=True)[1].astype(np.int64)
    together = _together(numbers, frames[chosen])
    if gap is None:
        gap = FRAMES_APART if rows.time is None else SECONDS_APART
    rows_kept = kept[chosen]
    return Samples(
        rows.embedding[rows_kept], numbers, cameras[chosen], has_cameras, _heights(rows, rows_kept), times[chosen],
        gap, together,
    ), left_out  # fmt: skip


def _usable(rows: Embeddings, reasons: Mapping[str, Mask]) -> tuple[Integers, dict[str, int]]:
    """The rows with a vector and none of the reasons, each id once, and how many were left out by reason."""
    first = np.zeros(len(rows), np.bool_)
    first[np.unique(rows.id, return_index=True)[1]] = True
    left, counts = first, {}
    all_reasons = {"no vector": rows.error != ""} | dict(reasons)
    if rows.reasons is not None:
        codes = [set(text.split(",")) for text in rows.reasons.tolist()]
        all_reasons |= {f"flagged {code}": np.array([code in each for each in codes]) for code in WORTHLESS}
    for name, mask in all_reasons.items():
        counts[name] = int(np.count_nonzero(left & mask))
        left = left & ~mask
    return np.flatnonzero(left), {name: count for name, count in counts.items() if count}


def _cameras(rows: Embeddings, kept: Integers) -> tuple[Integers, bool]:
    names: Texts | None = None if rows.camera is None else rows.camera[kept]
    if names is None or not (names != "").all():
        return np.zeros(len(kept), np.int64), False
    return np.unique(names, return_inverse=True)[1].astype(np.int64), True


def _heights(rows: Embeddings, kept: Integers) -> Integers:
    """Pixels of the crops: of the box where there is one, else of the image."""
    if rows.y1 is not None and rows.y2 is not None:
        heights = np.nan_to_num(rows.y2[kept] - rows.y1[kept])
        rounded: Integers = np.maximum(np.round(heights), 0).astype(np.int64)
        return rounded
    return rows.height[kept].astype(np.int64)


def _repeated(keys: Integers) -> Integers:
    """The rows whose key is that of an earlier one."""
    first = np.unique(keys, axis=0, return_index=True)[1]
    return np.setdiff1d(np.arange(len(keys)), first)


def _first_tracks(tracks: Integers, times: Fractions) -> Mask:
    """Which rows are of the MOST_PEOPLE tracks that begin first: those of one time are seen together."""
    begins = np.full(int(tracks.max(initial=-1)) + 1, np.inf)
    np.minimum.at(begins, tracks, times)
    return np.isin(tracks, np.argsort(begins, kind="stable")[:MOST_PEOPLE])


def _together(tracks: Integers, frames: Integers) -> Mask:
    """(T, T) whether two tracks have a box in one frame."""
    count = int(tracks.max(initial=-1)) + 1
    together = np.zeros((count, count), np.bool_)
    order = np.argsort(frames, kind="stable")
    for part in np.split(tracks[order], np.flatnonzero(np.diff(frames[order])) + 1):
        together[np.ix_(part, part)] = True
    np.fill_diagonal(together, False)
    return together
