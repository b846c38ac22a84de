"""The boxes of a video, frame by frame: which of them are embedded, and what each is called."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import DatasetError
from reid_runtime.jobs.labels import Texts

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


class BoxesError(DatasetError):
    """A file of boxes is not what its format says, or does not fit its video."""


@dataclass(frozen=True)
class Boxes:
    """N boxes.

    Raises:
        BoxesError: Where a track has two boxes in one frame.
    """

    name: str
    """Of the file, for messages."""
    frame: Integers
    """(N,) the numbers of their frames, as the file has them, or, after `of_frames`, from 1."""
    corners: Numbers
    """(N, 4) x1, y1, x2, y2 in pixels."""
    track: Texts
    """(N,) empty where a box has none."""
    score: Numbers
    """(N,) the detector's; NaN where it is not known."""
    number: Integers
    """(N,) among the boxes of their frames in the file, from 1."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many boxes of the file are not among them, by reason."""

    def __post_init__(self) -> None:
        rows = np.flatnonzero(self.track != "")
        pairs = np.stack([self.frame[rows].astype(np.str_), self.track[rows]], axis=1)
        different, first = np.unique(pairs, axis=0, return_index=True)
        if len(different) < len(rows):
            frame, track = pairs[np.setdiff1d(np.arange(len(rows)), first)[0]]
            raise BoxesError(f"{self.name}: track {track} has two boxes in frame {frame}; a track is one person")

    @classmethod
    def of(
        cls,
        name: str,
        frame: npt.ArrayLike,
        corners: npt.ArrayLike,
        track: npt.ArrayLike | None = None,
        score: npt.ArrayLike | None = None,
        left_out: Mapping[str, int] | None = None,
    ) -> "Boxes":
        """Boxes by their columns; tracks and scores may be unknown."""
        frames = np.asarray(frame, np.int64).reshape(-1)
        order = np.argsort(frames, kind="stable")
        number = np.empty_like(frames)
        number[order] = np.arange(len(frames)) - np.searchsorted(frames[order], frames[order]) + 1
        return cls(
            name, frames, np.asarray(corners, np.float64).reshape(-1, 4),
            np.full(len(frames), "") if track is None else np.asarray(track).astype(np.str_).reshape(-1),
            np.full(len(frames), np.nan) if score is None else np.asarray(score, np.float64).reshape(-1),
            number, left_out or {},
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.frame)

    def of_frames(self, first_frame: int | None = None, every: int = 1, min_score: float | None = None) -> "Boxes":
        """The boxes that are embedded, by their frames.

        Args:
            first_frame: The number that the file gives the video's first frame; None for 0 where a box has that
                number, else 1.
            every: Only every n-th frame, of the first, is taken.
            min_score: Boxes of a lower score are left out; those of an unknown one are not.

        Returns:
            The boxes, whose frames are counted from 1, in the order of the frames and then of the file.

        Raises:
            BoxesError: For boxes before the first frame, or where no box is left.
        """
        first = self.first_frame if first_frame is None else first_frame
        if len(self) and self.frame.min() < first:
            raise BoxesError(
                f"{self.name}: it has boxes of frame {self.frame.min()}, which is before the first, {first}: pass "
                f"--first-frame {self.frame.min()}, or the number that the file gives the video's first frame"
            )
        frame = self.frame - first + 1
        is_low = np.zeros(len(self), np.bool_) if min_score is None else self.score < min_score
        is_passed_over = (frame - 1) % every != 0
        left_out = {
            f"score below {min_score}": int(is_low.sum()),
            f"of frames between those of every {every}": int((is_passed_over & ~is_low).sum()),
        }
        rows = np.flatnonzero(~is_low & ~is_passed_over)
        rows = rows[np.argsort(frame[rows], kind="stable")]
        named = {**self.left_out, **{reason: count for reason, count in left_out.items() if count}}
        boxes = replace(replace(self, frame=frame).take(rows), left_out=named)
        if not len(boxes):
            reasons = ", ".join(f"{count} {reason}" for reason, count in named.items())
            raise BoxesError(f"{self.name}: it has no box to embed{f': left out are {reasons}' if reasons else ''}")
        return boxes

    @property
    def first_frame(self) -> int:
        """The number that the first frame has by these boxes: 0 where one of them says so, else 1."""
        return 0 if len(self) and self.frame.min() == 0 else 1

    def take(self, rows: Integers) -> "Boxes":
        """These boxes, in this order."""
        names = ("frame", "corners", "track", "score", "number")
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in names}
        return replace(self, **columns)

    def names(self, video: str) -> tuple[str, ...]:
        """`VIDEO#FRAME/TRACK` for each box; the number in its frame, from 1, for one without a track.

        Where some boxes have tracks and others not, that is `box-N`.
        """
        prefix = "box-" if (self.track != "").any() else ""
        each = zip(self.frame.tolist(), self.track.tolist(), self.number.tolist(), strict=True)
        return tuple(f"{video}#{frame}/{track or f'{prefix}{number}'}" for frame, track, number in each)

    def digest(self) -> bytes:
        """SHA-256 over the boxes."""
        digest = hashlib.sha256()
        for column in (self.frame.astype("<i8"), self.corners.astype("<f8")):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update("\n".join(self.track.tolist()).encode())
        return digest.digest()
