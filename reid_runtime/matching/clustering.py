"""Who is who: crops and tracks of unknown people into groups, under a threshold that a calibration gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import OptionsError, ReidRuntimeError
from reid_runtime.io.text import counted
from reid_runtime.matching.calibration import Calibration
from reid_runtime.matching.linkage import Links, average_linkage, joined
from reid_runtime.matching.margin import best_groups, nearness
from reid_runtime.matching.prior import sample_pairs
from reid_runtime.matching.units import Integers, Pair, Texts
from reid_runtime.vectors import Vectors

_MARGIN = 0.05
"""A crop that is alone is unsure where the next group is nearer than the threshold and this."""


class ConstraintError(ReidRuntimeError):
    """Constraints contradict each other, or name what is not there."""


@dataclass(frozen=True)
class Constraint:
    """What a person has said of two crops, by their ids."""

    a: str
    b: str
    kind: Literal["must", "cannot"]


@dataclass(frozen=True)
class Threshold:
    """From which mean similarity on two groups are one person."""

    value: float
    """A cosine."""
    source: str
    """Where it comes from, in words."""
    expected_f1: float | None = None
    """The pairwise F1 that is expected of the groups, by the similarity of each pair alone: a cautious number, as a
    group says more than its pairs. None where somebody has stated the threshold.
    """


@dataclass(frozen=True)
class Grouping:
    """N rows in groups."""

    groups: Integers
    """(N,) the number of each row's group, from 0; -1 for a row that is unsure."""
    threshold: Threshold
    people: int
    least: int
    """The fewest and the most people in groups that are as good, as far as can be told; without a calibration, where
    the threshold is stated, those in the groups.
    """
    most: int


def check_constraints(ids: Iterable[str], constraints: Sequence[Constraint]) -> None:
    """Raise ConstraintError where constraints name an id that is not there."""
    known = {*ids}
    for name in (name for each in constraints for name in (each.a, each.b)):
        if name not in known:
            raise ConstraintError(f"constraints name {name!r}, and no crop has this id")


def read_links(ids: Texts, units: Integers, constraints: Sequence[Constraint], apart: Iterable[Pair]) -> Links:
    """The pairs of units that are known.

    Args:
        ids: (N,) the crops' ids.
        units: (N,) the unit of each; -1 for a crop that has none.
        constraints: What a person has said; it holds against everything else.
        apart: Pairs of units that cannot be one person.

    Returns:
        The links.

    Raises:
        ConstraintError: For an id that is not there, and for two crops that must be and cannot be one person.
    """
    check_constraints(ids.tolist(), constraints)
    rows = {name: row for row, name in enumerate(ids.tolist())}
    pairs_by_word: dict[str, list[Pair]] = {"must": [], "cannot": []}
    for each in constraints:
        pair = int(units[rows[each.a]]), int(units[rows[each.b]])
        if pair[0] == pair[1] != -1:
            if each.kind == "cannot":
                raise ConstraintError(f"{each.a} and {each.b} are of one track and said to be two people")
        elif -1 not in pair:
            pairs_by_word[each.kind].append(pair)
    count = int(units.max(initial=-1)) + 1
    components = joined(count, pairs_by_word["must"])
    for one, other in pairs_by_word["cannot"]:
        if components[one] == components[other]:
            names = [str(ids[np.flatnonzero(units == unit)[0]]) for unit in (one, other)]
            raise ConstraintError(
                f"{names[0]} and {names[1]} are said to be two people, and by way of others to be one: "
                "remove one of these constraints"
            )
    # What a person has joined stays joined: two boxes of one frame may be one person, found twice.
    cannot = {
        (min(pair), max(pair))
        for pair in (*pairs_by_word["cannot"], *apart)
        if components[pair[0]] != components[pair[1]]
    }
    return Links(_array(pairs_by_word["must"]), _array(sorted(cannot)))


def group(
    vectors: Vectors, units: Integers, links: Links, calibration: Calibration | None, threshold: float | None = None
) -> Grouping:
    """Group units by average linkage, and tell which of them nobody can place.

    The threshold is the one whose groups stand apart by the widest margin (`matching.margin`). A unit is unsure where
    another group is at least as similar to it as the rest of its own, and where it is alone and the next group is near
    the threshold; nothing that a person has joined is.

    Args:
        vectors: (U, D) float32 of unit length.
        units: (N,) the unit of each row; -1 for a row that is unsure from the beginning.
        links: Pairs of units that are known.
        calibration: Of the vectors' embedding space; None with a threshold of one's own.
        threshold: A cosine, in place of the best one.

    Returns:
        The groups of the N rows, numbered in the order of their first rows.

    Raises:
        OptionsError: For neither a calibration nor a threshold, or a threshold that is no cosine.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise OptionsError(f"expected a cosine from -1 to 1 as threshold, found {threshold}")
    if threshold is not None:
        labels = average_linkage(vectors, links, [threshold])[0]
        chosen, counts = Threshold(threshold, "as stated"), [int(labels.max(initial=-1)) + 1]
    elif calibration is not None:
        chosen, labels, counts = _best(vectors, links, calibration)
    else:
        raise OptionsError("the model has no calibration: make one (reid-runtime calibrate), or state a threshold")
    unsure = _unsure(vectors, labels, links, chosen.value)
    groups = np.where(unsure, -1, labels)
    sure = groups >= 0
    people, numbers = np.unique(groups[sure], return_inverse=True)
    groups[sure] = numbers.reshape(-1)
    of_rows = np.where(units >= 0, groups[units] if len(groups) else -1, -1)
    return Grouping(of_rows, chosen, len(people), min(*counts, len(people)), max(*counts, len(people)))


def _best(vectors: Vectors, links: Links, calibration: Calibration) -> tuple[Threshold, Integers, list[int]]:
    """The threshold, its labels, and the fewest and the most groups by thresholds that are as good."""
    sample = sample_pairs(calibration, vectors, links.cannot)
    best = best_groups(vectors, links, sample.similarity, sample.stranger)
    source = f"widest margin between people; calibrated on {calibration.source.dataset}"
    if sample.scale != 1:
        source += f"; distances times {sample.scale:.2f}, by {counted(len(links.cannot), 'pair')} of strangers"
    return Threshold(best.value, source, sample.expected_f1(best.labels)), best.labels, [best.least, best.most]


def _unsure(vectors: Vectors, labels: Integers, links: Links, threshold: float) -> npt.NDArray[np.bool_]:
    """(U,) whether nobody can tell whose a unit is."""
    near = nearness(vectors, labels, links, np.arange(len(vectors)), -1.0)
    unsure = np.where(near.alone, near.first >= threshold - _MARGIN, near.first >= near.rest)
    unsure[links.must.reshape(-1)] = False
    return unsure


def _array(pairs: Sequence[Pair]) -> Integers:
    return np.array(pairs, np.int64).reshape(-1, 2)
