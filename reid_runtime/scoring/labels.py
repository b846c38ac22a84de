"""Who is in each row, and which camera saw them: what scores need to know of a crop, a tracklet or a file's row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reid_runtime.scoring.errors import ScoringError

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

JUNK = -1
"""The identity of what is ignored altogether."""
DISTRACTOR = 0
"""The identity of what is nobody's right answer, but stays in the ranking."""


@dataclass(frozen=True)
class LabelNames:
    """What the user calls the people and cameras that scores know by number; without a name, the number is it."""

    people: Mapping[int, str] = field(default_factory=dict)
    cameras: Mapping[int, str] = field(default_factory=dict)

    def identity(self, number: int) -> str:
        """A person's name; `junk` and `distractor` are nobody."""
        role = {JUNK: "junk", DISTRACTOR: "distractor"}.get(number)
        return role or self.people.get(number, str(number))

    def camera(self, number: int) -> str:
        """A camera's name; empty where the data set states none."""
        return self.cameras.get(number, str(number))

    @property
    def has_cameras(self) -> bool:
        """Whether the data set states any camera."""
        return not self.cameras or any(self.cameras.values())


class Labelled(Protocol):
    """Anything with a person and a camera for each of its N rows: `Crops`, `Tracklets`, `Labels`."""

    @property
    def identities(self) -> Integers:
        """(N,) person numbers; -1 is junk, 0 a distractor."""

    @property
    def cameras(self) -> Integers:
        """(N,) camera numbers."""


@dataclass(frozen=True)
class Labels:
    """The plainest `Labelled`."""

    identities: Integers
    """(N,) person numbers; -1 is junk, 0 a distractor."""
    cameras: Integers
    """(N,) camera numbers."""


def check_labels(labels: Labelled, name: str) -> None:
    """Raises ScoringError unless `labels` has as many cameras as identities, and some, all of them whole numbers."""
    shapes = labels.identities.shape, labels.cameras.shape
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise ScoringError(f"{name} identities and cameras have the shapes {shapes[0]} and {shapes[1]}; expected (N,)")
    if not shapes[0][0]:
        raise ScoringError(f"the {name} is empty; expected at least one row")
    for kind, column in (("identities", labels.identities), ("cameras", labels.cameras)):
        if not np.issubdtype(column.dtype, np.integer):
            raise ScoringError(f"{name} {kind} are {column.dtype}; expected whole numbers")
    unknown = np.flatnonzero(labels.identities < JUNK)
    if unknown.size:
        raise ScoringError(
            f"{unknown.size} of {shapes[0][0]} {name} identities are below -1, the first is "
            f"{labels.identities[unknown[0]]} in row {unknown[0]}; expected -1 (junk), 0 (distractor) or a person"
        )
