"""The look of each track: the mean of its best crops, and none of those that show hardly anything."""

from dataclasses import dataclass

import numpy as np

from reid_runtime.errors import OptionsError
from reid_runtime.vectors import Vectors

BETTER = 1.1
"""A crop replaces another one from this many times its quality on: a little better changes nothing."""


@dataclass(frozen=True, eq=False)
class _Crop:
    vector: Vectors
    quality: float
    moment: int


class TrackMemory:
    """The best crops of each track, and their mean.

    Args:
        crops: How many are kept of a track.
        apart: Frames between two of them, for neighbours in time show the same; the better one stays.
        first: The first so many are kept however near they are, for a new track has to be told soon.
        least_quality: Crops of less are refused (`qualities_of`).

    Raises:
        OptionsError: For numbers that keep nothing.
    """

    def __init__(self, crops: int = 8, apart: int = 5, first: int = 3, least_quality: float = 0.1) -> None:
        if min(crops, first) < 1 or apart < 0 or not 0 <= least_quality < 1:
            raise OptionsError(
                f"expected crops and first from 1, apart from 0 and least_quality from 0 to 1, found {crops}, {first}, "
                f"{apart} and {least_quality}"
            )
        self.crops, self.apart, self.first, self.least_quality = crops, apart, first, least_quality
        self._kept: dict[int, list[_Crop]] = {}

    def __contains__(self, track: int) -> bool:
        return track in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def count(self, track: int) -> int:
        """How many crops are kept of a track."""
        return len(self._kept.get(track, ()))

    def wants(self, track: int, quality: float, moment: int) -> bool:
        """Whether a crop of this quality, in frame number `moment`, would be kept: whether to embed it at all."""
        if quality < self.least_quality:
            return False
        rivals = self._rivals(track, moment)
        return not rivals or quality > BETTER * min(crop.quality for crop in rivals)

    def add(self, track: int, vector: Vectors, quality: float, moment: int) -> bool:
        """Keep the vector of a crop, (D,) of unit length, if it is wanted; says whether it was kept."""
        if not self.wants(track, quality, moment) or not vector.any():
            return False
        kept = self._kept.setdefault(track, [])
        rivals = self._rivals(track, moment)
        if rivals:
            kept.remove(min(rivals, key=lambda crop: crop.quality))
        kept.append(_Crop(np.array(vector, dtype=np.float32), quality, moment))
        return True

    def vector(self, track: int) -> Vectors | None:
        """The mean of a track's crops by their quality, (D,) float32 of unit length; None where none was good."""
        kept = self._kept.get(track)
        if not kept:
            return None
        mean = np.sum([crop.vector * crop.quality for crop in kept], axis=0)
        length = float(np.linalg.norm(mean))
        if length < 1e-6:  # crops that point against one another show nobody
            return None
        unit: Vectors = (mean / length).astype(np.float32)
        return unit

    def merge(self, track: int, into: int) -> None:
        """Make one track's crops those of another, which goes on: the best of both stay."""
        for crop in self._kept.pop(track, []):
            self.add(into, crop.vector, crop.quality, crop.moment)

    def forget(self, track: int) -> None:
        """Drop a track's crops."""
        self._kept.pop(track, None)

    def _rivals(self, track: int, moment: int) -> list[_Crop]:
        """The crops of which a new one would replace the worst: near in time, or all where there is no room."""
        kept = self._kept.get(track, [])
        if len(kept) < min(self.first, self.crops):
            return []
        near = [crop for crop in kept if abs(crop.moment - moment) < self.apart]
        if near:
            # the best of them, or a run of good crops would drive out itself
            return [max(near, key=lambda crop: crop.quality)]
        return kept if len(kept) >= self.crops else []
