"""Seconds and images by stage: where the time of a job goes."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Stage = Literal["decode", "resize", "infer", "write"]
"""`decode` reads a file too, `resize` also judges the quality, `write` is a job's alone."""


@dataclass(frozen=True)
class StageTotal:
    """What a stage has done."""

    images: int
    seconds: float


class StageTimes:
    """Sums by stage, to which threads may add at once.

    Stages run beside each other, and decoding in several threads: their seconds may add up to more than have passed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, StageTotal] = {}

    @contextmanager
    def measure(self, stage: Stage, images: int = 1) -> Iterator[None]:
        """Add the time that the block takes, also of one that raises, and the images that are in it."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            with self._lock:
                before = self._totals.get(stage, StageTotal(0, 0.0))
                self._totals[stage] = StageTotal(before.images + images, before.seconds + seconds)

    def totals(self, since: Mapping[str, StageTotal] | None = None) -> dict[str, StageTotal]:
        """The sums, without those that an earlier call gave."""
        with self._lock:
            now = dict(self._totals)
        nothing = StageTotal(0, 0.0)
        before = {stage: (since or {}).get(stage, nothing) for stage in now}
        return {
            stage: StageTotal(total.images - before[stage].images, total.seconds - before[stage].seconds)
            for stage, total in now.items()
        }
