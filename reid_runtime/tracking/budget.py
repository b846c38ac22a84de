"""Crops on a budget: a box is embedded only where its vector can change a decision, and what was skipped is counted."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import OptionsError
from reid_runtime.images.boxes import Frame
from reid_runtime.tracking.appearance import Appearance, Corners, Numbers, corners_of, overlaps_of, qualities_of
from reid_runtime.tracking.memory import BETTER
from reid_runtime.vectors import Vectors


@dataclass
class Budget:
    """How many boxes of a frame may be embedded, and what became of all of them.

    Args:
        crops: At most so many a frame; None for no limit.
        milliseconds: At most about so long a frame, by what crops took so far, and one crop at least; None for no
            limit.

    Raises:
        OptionsError: For a limit below one crop, or no time.
    """

    crops: int | None = None
    milliseconds: float | None = None
    embedded: int = 0
    """Boxes that were embedded so far."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Boxes that were not, by reason: `changes nothing`, `poor crop`, `over budget`."""
    _each: float = field(default=0.0, init=False)
    """Milliseconds a crop, as lately measured."""

    def __post_init__(self) -> None:
        if (self.crops is not None and self.crops < 1) or (self.milliseconds is not None and self.milliseconds <= 0):
            raise OptionsError(f"expected a budget of one crop or more, found {self.crops} and {self.milliseconds} ms")

    def spend(self, embed: Appearance, frame: Frame, boxes: Corners, rows: Sequence[int]) -> dict[int, Vectors]:
        """Embed the boxes of `rows`, the most urgent first, as far as the budget goes: the vector of each row."""
        limits = [len(rows)] if self.crops is None else [len(rows), self.crops]
        if self.milliseconds is not None and self._each:
            limits.append(max(1, int(self.milliseconds / self._each)))
        chosen = list(rows)[: min(limits)]
        self.skipped["over budget"] += len(rows) - len(chosen)
        if not chosen:
            return {}
        started = time.perf_counter()
        vectors = embed(frame, boxes[chosen])
        took = 1000 * (time.perf_counter() - started) / len(chosen)
        self._each = took if not self._each else 0.9 * self._each + 0.1 * took
        self.embedded += len(chosen)
        return dict(zip(chosen, vectors, strict=True))


@dataclass
class _Seen:
    """The boxes of the last frame, and what is carried from them."""

    corners: Corners
    vectors: Vectors
    qualities: Numbers
    moments: Numbers


class EmbedOnBudget:
    """`(frame, boxes) -> (N, D)` for trackers that want a vector for each box, of which few are embedded.

    A box that continues one of the last frame, and that no other box is near to, has that one's vector. Embedded are,
    in this order: boxes that continue none; boxes that overlap another one, where a tracker may take one person for
    the other; crops better than the one that the carried vector is of; vectors older than `stale` frames.

    Args:
        embed: The appearance model, `EmbedBoxes`.
        budget: The limit, which counts as well; None for no limit.
        stale: Frames after which a vector is renewed.
    """

    def __init__(self, embed: Appearance, budget: Budget | None = None, stale: int = 30) -> None:
        self.embed, self.budget, self.stale = embed, Budget() if budget is None else budget, stale
        self._last: _Seen | None = None
        self._moment = 0

    def __call__(self, frame: Frame, boxes: Any) -> Vectors:
        """Embed what has to be.

        Args:
            frame: (H, W, 3) uint8, the next one of one camera.
            boxes: (N, 4) of x1, y1, x2, y2 in pixels, or detections with `.xyxy`.

        Returns:
            (N, D) float32 of unit length; a zero row for a new box over the budget, and one without pixels.
        """
        corners, qualities = corners_of(boxes), qualities_of(frame, boxes)
        last, count = self._last, len(corners)
        self._moment += 1
        source = _continued(corners, None if last is None else last.corners)
        crowded = (overlaps_of(corners, corners) - np.eye(count)).max(axis=1, initial=0) > 0.1
        urgency: dict[int, int] = {}
        for row, before in enumerate(source.tolist()):
            if before < 0 or last is None or not last.vectors[before].any():
                urgency[row] = 0
            elif crowded[row]:
                urgency[row] = 1
            elif qualities[row] > BETTER * last.qualities[before]:
                urgency[row] = 2
            elif self._moment - last.moments[before] >= self.stale:
                urgency[row] = 3
        self.budget.skipped["changes nothing"] += count - len(urgency)
        rows = sorted(urgency, key=lambda row: (urgency[row], -qualities[row]))
        fresh = self.budget.spend(self.embed, frame, corners, rows)
        width = next((len(vector) for vector in fresh.values()), 0 if last is None else last.vectors.shape[1])
        vectors, moments = np.zeros((count, width), np.float32), np.full(count, float(self._moment))
        for row, before in enumerate(source.tolist()):
            if row in fresh:
                vectors[row] = fresh[row]
            elif before >= 0 and last is not None:
                vectors[row], moments[row] = last.vectors[before], last.moments[before]
                qualities[row] = last.qualities[before]
        if width:
            self._last = _Seen(corners, vectors, qualities, moments)
        return vectors if width else self.embed(frame, corners)


def _continued(corners: Corners, before: Corners | None) -> npt.NDArray[np.int64]:
    """(N,) the box before that each box continues: each other's nearest, half of them shared; -1 for none."""
    if before is None or not len(before) or not len(corners):
        return np.full(len(corners), -1, dtype=np.int64)
    shared = overlaps_of(corners, before)
    nearest = shared.argmax(axis=1)
    mutual = shared.argmax(axis=0)[nearest] == np.arange(len(corners))
    continued: npt.NDArray[np.int64] = np.where(mutual & (shared.max(axis=1) >= 0.5), nearest, -1)
    return continued
