"""Who is who: crops and tracks of unknown people into groups, under a threshold that a calibration gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import OptionsError, ReidRuntimeError
from reid_runtime.matching.calibration import Calibration
from reid_runtime.matching.linkage import Links, average_linkage, falling_linkage, joined
from reid_runtime.matching.prior import sample_pairs
from reid_runtime.matching.units import Integers, Pair, Texts
from reid_runtime.vectors import Vectors

_BLOCK = 1 << 24
_ABOVE, _BELOW, _STEP = 0.05, 0.2, 0.01
"""Thresholds that are tried: about the similarity that is best for single pairs. Groups take a lower one, for a mean
over many pairs says more than one pair.
"""
_STOP = 0.05
"""Once the expected F1 has fallen by so much, lower thresholds are not tried."""
_NEARLY = 0.02
"""Groups whose expected F1 is less than the best one's by at most this are nearly as good."""
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
    """The fewest and the most people in groups that are expected to be nearly as good."""
    most: int


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
    rows = {name: row for row, name in enumerate(ids.tolist())}
    pairs_by_word: dict[str, list[Pair]] = {"must": [], "cannot": []}
    for each in constraints:
        missing = [name for name in (each.a, each.b) if name not in rows]
        if missing:
            raise ConstraintError(f"constraints name {missing[0]!r}, and no crop has this id")
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

    The threshold is the one whose groups have the best expected pairwise F1, by the calibration and by the pile's own
    similarities. A unit is unsure where another group is at least as similar to it as the rest of its own, and where
    it is alone and the next group is near the threshold; nothing that a person has joined is.

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
        chosen, near = Threshold(threshold, "as stated"), [labels]
    elif calibration is not None:
        chosen, labels, near = _best(vectors, links, calibration)
    else:
        raise OptionsError("the model has no calibration: make one (reid-runtime calibrate), or state a threshold")
    counts = [len(np.unique(each)) for each in near]
    unsure = _unsure(vectors, labels, links, chosen.value)
    groups = np.where(unsure, -1, labels)
    sure = groups >= 0
    people, places = np.unique(groups[sure], return_inverse=True)
    groups[sure] = places.reshape(-1)
    of_rows = np.where(units >= 0, groups[units] if len(groups) else -1, -1)
    return Grouping(of_rows, chosen, len(people), min(*counts, len(people)), max(*counts, len(people)))


def _best(vectors: Vectors, links: Links, calibration: Calibration) -> tuple[Threshold, Integers, list[Integers]]:
    """The threshold, its labels, and the labels of all thresholds that are expected to be nearly as good."""
    sample = sample_pairs(calibration, vectors, links.cannot)
    first = min(round(sample.similarity + _ABOVE, 2), 1.0)
    thresholds = [round(first - _STEP * step, 2) for step in range(round((_ABOVE + _BELOW) / _STEP) + 1)]
    tried: list[tuple[float, float, Integers]] = []
    for value, labels in falling_linkage(vectors, links, thresholds):
        tried.append((sample.expected_f1(labels), value, labels))
        if tried[-1][0] < max(tried, key=lambda each: each[0])[0] - _STOP:
            break
    best, value, labels = max(tried, key=lambda each: each[0])
    source = (
        f"best expected F1 ({best:.2f}) by the calibration on {calibration.source.dataset}, with an estimated "
        f"{sample.mated_share:.2%} of mated pairs"
        + (
            f"; distances times {sample.scale:.2f}, by {len(links.cannot)} pairs of strangers"
            if sample.scale != 1
            else ""
        )
    )
    near = [each[2] for each in tried if each[0] >= best - _NEARLY]
    return Threshold(round(value, 3), source, best), labels, near


def _unsure(vectors: Vectors, labels: Integers, links: Links, threshold: float) -> npt.NDArray[np.bool_]:
    """(U,) whether nobody can tell whose a unit is."""
    count = int(labels.max(initial=-1)) + 1
    sizes = np.bincount(labels, minlength=count)
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors)
    means = sums / np.maximum(sizes, 1)[:, None]
    barred = _barred(labels, links)
    unsure = np.zeros(len(vectors), np.bool_)
    step = max(1, _BLOCK // max(1, count))
    for start in range(0, len(vectors), step):
        part, own = vectors[start : start + step], labels[start : start + step]
        similarities = part @ means.T
        rows = np.arange(len(part))
        # To the rest of its group: without the unit itself.
        rest = (similarities[rows, own] * sizes[own] - 1) / np.maximum(sizes[own] - 1, 1)
        similarities[rows, own] = -1
        for row in rows.tolist():
            similarities[row, barred.get(start + row, [])] = -1
        best = similarities.max(axis=1)
        unsure[start : start + step] = np.where(sizes[own] > 1, best >= rest, best >= threshold - _MARGIN)
    unsure[links.must.reshape(-1)] = False
    return unsure


def _barred(labels: Integers, links: Links) -> dict[int, list[int]]:
    """For each unit the groups that it cannot be in."""
    barred: dict[int, list[int]] = {}
    for one, other in links.cannot.tolist():
        barred.setdefault(one, []).append(int(labels[other]))
        barred.setdefault(other, []).append(int(labels[one]))
    return barred


def _array(pairs: Sequence[Pair]) -> Integers:
    return np.array(pairs, np.int64).reshape(-1, 2)
