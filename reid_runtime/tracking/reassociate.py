"""People behind the tracks of any tracker: a broken track goes on as who it was, and two that were mixed up turn back.

A tracker follows boxes; it loses people behind one another and at the frame's edge, and gives them a new number. Here
each track has the look of its best crops. A new track takes the person of a lost one from the threshold on. After two
tracks met, both are compared with both looks from before.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.adapters import EmbedBoxes
from reid_runtime.errors import OptionsError
from reid_runtime.images.boxes import Frame
from reid_runtime.matching import CalibrationError
from reid_runtime.tracking.appearance import Appearance, Corners, Numbers, corners_of, overlaps_of, qualities_of
from reid_runtime.tracking.budget import Budget
from reid_runtime.tracking.memory import TrackMemory
from reid_runtime.vectors import Vectors

People = npt.NDArray[np.int64]
"""(N,) person numbers, from 1; -1 for a box without a track."""

_MET, _PARTED = 0.3, 0.1
"""Intersection over union from which two tracks meet, and below which they have parted."""
_TURNED = 0.1
"""By how much two tracks have to look more like each other than like themselves, a track, to change places."""


@dataclass
class _Track:
    """What is known of one track of the tracker."""

    person: int
    begun: int
    """The frame number of its first box."""
    last: int
    """The frame number of its last one."""
    settled: bool = False
    """Whether no lost person is looked for any more."""


@dataclass
class _Meeting:
    """Two tracks that met, and their looks since they parted."""

    tracks: tuple[int, int]
    parted: bool = False
    after: dict[int, list[Vectors]] = field(default_factory=dict)

    def asks(self, track: int, count: int) -> bool:
        """Whether a track of it has fewer looks than are compared."""
        return self.parted and track in self.tracks and len(self.after.get(track, ())) < count


class ReassociateTracks:
    """A callable `(frame, boxes, tracks) -> people`, called once a frame, in order, for one camera.

        people = ReassociateTracks.calibrated(EmbedBoxes(Embedder.load(), "bgr"))
        tracked = tracker.update(detections)                 # any tracker's numbers
        numbers = people(frame, tracked)                     # supervision's detections, or boxes and their tracks

    Args:
        embed: The appearance model.
        threshold: The cosine of two tracks' looks from which they are one person; `calibrated` knows it.
        memory: Which crops are kept of a person.
        budget: How many crops a frame may take; it counts what was skipped, and why. None for no limit.
        decide: Crops of a new track before it is compared with lost people.
        keep: Frames after which somebody lost is forgotten; None for never.

    Attributes:
        became: The person that a number turned out to be: a new track has a number of its own until it is known
            again, which a file of tracks can set right afterwards.
    """

    def __init__(
        self,
        embed: Appearance,
        threshold: float,
        *,
        memory: TrackMemory | None = None,
        budget: Budget | None = None,
        decide: int = 3,
        keep: int | None = None,
    ) -> None:
        if not -1 <= threshold <= 1 or decide < 1:
            raise OptionsError(f"expected a cosine and decide from 1, found {threshold} and {decide}")
        self.embed, self.threshold, self.decide, self.keep = embed, threshold, decide, keep
        self.memory = TrackMemory() if memory is None else memory
        self.budget = Budget() if budget is None else budget
        self.became: dict[int, int] = {}
        self._tracks: dict[int, _Track] = {}
        self._seen: dict[int, int] = {}  # the frame number at which each person was last in view
        self._meetings: list[_Meeting] = []
        self._moment = self._people = 0

    @classmethod
    def calibrated(cls, embed: EmbedBoxes, fmr: float = 0.001, **settings: Any) -> "ReassociateTracks":
        """With the threshold that the model's calibration has for means of several crops, within one camera.

        Args:
            embed: Its embedder has the calibration.
            fmr: The false match rate of one comparison: a new track is compared with everybody who is lost.
            **settings: As for the class.

        Raises:
            OptionsError: For a model without a calibration; state a threshold then.
        """
        calibration = embed.embedder.calibration
        if calibration is None:
            raise OptionsError(
                f"{embed.embedder.path.name} has no calibration beside it: pass threshold=, or calibrate"
            )
        try:
            rates = calibration.stratum("nxn", "within")
        except CalibrationError:
            rates = calibration
        return cls(embed, rates.threshold(max(fmr, rates.least_fmr or 0.0)), **settings)

    def __call__(self, frame: Frame, boxes: Any, tracks: Any = None) -> People:
        """Say who is in each box of the next frame.

        Args:
            frame: (H, W, 3) uint8.
            boxes: (N, 4) of x1, y1, x2, y2 in pixels, or detections with `.xyxy` and `.tracker_id`.
            tracks: (N,) the tracker's numbers, negative for none; None to take `boxes.tracker_id`.

        Returns:
            (N,) person numbers; of a track that has not been decided yet, one of its own.

        Raises:
            OptionsError: Where there are not as many tracks as boxes, or one of them twice.
        """
        corners = corners_of(boxes)
        numbers = _track_numbers(boxes, tracks, len(corners))
        self._moment += 1
        row_of = {number: row for row, number in enumerate(numbers) if number >= 0}
        self._see(row_of)
        qualities = qualities_of(frame, corners)
        self._meet(corners, row_of)
        vectors = self._embed(frame, corners, qualities, row_of)
        for row, vector in vectors.items():
            self._learn(numbers[row], vector, float(qualities[row]))
        self._turn_back(row_of)
        self._come_back(row_of)
        self._forget()
        return np.array([self._tracks[number].person if number >= 0 else -1 for number in numbers], dtype=np.int64)

    def _see(self, numbers: Iterable[int]) -> None:
        """Note who is in view; a track that is new, or whose person has gone on in another one, gets a new person."""
        taken: set[int] = set()
        for number in sorted(numbers, key=lambda number: -self._tracks[number].last if number in self._tracks else 0):
            track = self._tracks.get(number)
            if track is None or track.person in taken:
                self._people += 1
                track = self._tracks[number] = _Track(self._people, self._moment, self._moment)
            track.last = self._seen[track.person] = self._moment
            taken.add(track.person)

    def _embed(self, frame: Frame, corners: Corners, qualities: Numbers, row_of: dict[int, int]) -> dict[int, Vectors]:
        """The vectors of the boxes that can change a decision: new tracks first, then those that met, then the rest."""
        urgency: dict[int, int] = {}
        for number, row in row_of.items():
            track = self._tracks[number]
            if qualities[row] < self.memory.least_quality:
                self.budget.skipped["poor crop"] += 1
            elif any(number in each.tracks for each in self._meetings):
                if any(each.asks(number, self.decide) for each in self._meetings):
                    urgency[row] = 1
            elif self.memory.wants(track.person, float(qualities[row]), self._moment):
                urgency[row] = 2 if track.settled else 0
        good = sum(bool(qualities[row] >= self.memory.least_quality) for row in row_of.values())
        self.budget.skipped["changes nothing"] += good - len(urgency)
        rows = sorted(urgency, key=lambda row: (urgency[row], -qualities[row]))
        return self.budget.spend(self.embed, frame, corners, rows)

    def _learn(self, number: int, vector: Vectors, quality: float) -> None:
        if not vector.any():
            return
        meetings = [each for each in self._meetings if number in each.tracks]
        for each in meetings:
            each.after.setdefault(number, []).append(vector)
        if not meetings:
            self.memory.add(self._tracks[number].person, vector, quality, self._moment)

    def _meet(self, corners: Corners, row_of: dict[int, int]) -> None:
        """Note which tracks meet, and which of those that met have parted, or of which one has gone."""
        shared = overlaps_of(corners, corners)
        meetings = {each.tracks: each for each in self._meetings}
        numbers = sorted(row_of)
        for index, one in enumerate(numbers):
            for other in numbers[index + 1 :]:
                overlap = shared[row_of[one], row_of[other]]
                meeting = meetings.get((one, other))
                if overlap >= _MET and meeting is None:
                    if all(self.memory.count(self._tracks[each].person) for each in (one, other)):
                        self._meetings.append(_Meeting((one, other)))
                elif meeting is not None:
                    meeting.parted = overlap < _PARTED
                    if not meeting.parted:
                        meeting.after.clear()
        for each in self._meetings:
            if sum(number in row_of for number in each.tracks) == 1:
                each.parted = True
        self._meetings = [each for each in self._meetings if any(number in row_of for number in each.tracks)]

    def _turn_back(self, row_of: dict[int, int]) -> None:
        """Give two tracks that met the persons that they look like since."""
        for meeting in list(self._meetings):
            present = [number for number in meeting.tracks if number in row_of]
            if not all(len(meeting.after.get(number, ())) >= self.decide for number in present):
                continue
            self._meetings.remove(meeting)
            people = {number: self._tracks[number].person for number in meeting.tracks}
            looks = {number: self.memory.vector(person) for number, person in people.items()}
            own = crossed = 0.0
            for number in present:
                other = meeting.tracks[0] if number == meeting.tracks[1] else meeting.tracks[1]
                mean = np.mean(meeting.after[number], axis=0)
                mean /= max(float(np.linalg.norm(mean)), 1e-9)
                mine, theirs = looks[number], looks[other]
                own += -1.0 if mine is None else float(mean @ mine)
                crossed += -1.0 if theirs is None else float(mean @ theirs)
            if crossed > own + _TURNED * len(present) and crossed >= self.threshold * len(present):
                first, second = meeting.tracks
                self._tracks[first].person, self._tracks[second].person = people[second], people[first]

    def _come_back(self, row_of: dict[int, int]) -> None:
        """Give new tracks the persons that they look like, the most alike first."""
        in_view = {self._tracks[number].person for number in row_of}
        pairs = []
        for number in row_of:
            track = self._tracks[number]
            count = self.memory.count(track.person)
            if track.settled or count < min(self.decide, self.memory.crops):
                continue
            look = self.memory.vector(track.person)
            for person, seen in self._seen.items():
                lost = self.memory.vector(person) if person not in in_view and seen < track.begun else None
                if look is not None and lost is not None and (cosine := float(look @ lost)) >= self.threshold:
                    pairs.append((cosine, number, person))
            track.settled = count >= self.memory.crops
        known: set[int] = set()
        for _, number, person in sorted(pairs, reverse=True):
            if person in in_view or number in known:
                continue
            track = self._tracks[number]
            known.add(number)
            self.memory.merge(track.person, person)
            self.became = {old: person if new == track.person else new for old, new in self.became.items()}
            self.became[track.person] = person
            for other in self._tracks.values():
                other.person = person if other.person == track.person and other is not track else other.person
            del self._seen[track.person]
            track.person, track.settled = person, True
            self._seen[person] = self._moment
            in_view.add(person)

    def _forget(self) -> None:
        if self.keep is None:
            return
        for person in [person for person, seen in self._seen.items() if self._moment - seen > self.keep]:
            self.memory.forget(person)
            del self._seen[person]
        self._tracks = {number: track for number, track in self._tracks.items() if track.person in self._seen}


def _track_numbers(boxes: Any, tracks: Any, count: int) -> list[int]:
    given = getattr(boxes, "tracker_id", None) if tracks is None else tracks
    if given is None and count == 0:
        return []
    numbers = [] if given is None else [int(number) for number in given]
    if len(numbers) != count:
        raise OptionsError(f"expected a track number for each of {count} boxes, found {len(numbers)}")
    followed = [number for number in numbers if number >= 0]
    if len({*followed}) < len(followed):
        raise OptionsError("expected each track once in a frame: two boxes have the same number")
    return numbers
