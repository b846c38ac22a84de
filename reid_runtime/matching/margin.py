"""Which groups of a pile are the best, without labels: those whose members stand nearest to each other, and apart.

A crop's margin is its similarity to the rest of its group, less that to the nearest other group. Its mean is best where
each person is one group: a person in two groups has a neighbour as near as the own group, two people in one make the
rest of it far. That needs no error rates, which change with the place; a calibration moved from one site to another,
of pairs alone, chose groups 12 points of F1 below the best ones where this one is 2 below. A crop that is alone has no
group: its margin is by how much its neighbours are below the similarity from which on single pairs are rather of one
person, which the calibration knows. So two crops are joined by the calibration, and many by what they show themselves.

How many people there are is as sure as the margin: thresholds whose margin is not worse than the best one's by more
than 2.5 standard errors, over the groups, are as good, and the least and the most groups under them are the interval.
It knows of people as far as they look alike: where a model does not recognise the same person from one camera to the
next, as on CAVIAR4REID, all of it is too high.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.matching.linkage import Integers, Links, falling_linkage
from reid_runtime.matching.neighbours import both_ways, partners
from reid_runtime.vectors import Vectors

Numbers = npt.NDArray[np.float64]

_ABOVE, _BELOW, _STEP = 0.15, 0.35, 0.01
"""Thresholds that are tried, about the similarity from which on single pairs are rather of one person."""
_SAMPLE = 2000
"""Crops whose margins are looked at."""
_SURE, _WORSE = 2.5, 6.0
"""Standard errors up to which a threshold is as good as the best, and from which on lower ones are not tried."""
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Nearness:
    """How near S crops are to groups, as mean similarities."""

    alone: npt.NDArray[np.bool_]
    """(S,) whether the crop is a group of its own."""
    rest: Numbers
    """(S,) to the rest of its own group."""
    first: Numbers
    """(S,) to the nearest other group that it may be in."""
    second: Numbers
    """(S,) to the one after that."""


@dataclass(frozen=True)
class Choice:
    """The best groups."""

    value: float
    """Their threshold."""
    labels: Integers
    least: int
    """The fewest and the most groups under thresholds that are as good."""
    most: int


def nearness(vectors: Vectors, labels: Integers, links: Links, rows: Integers, nobody: float) -> Nearness:
    """How near these rows are to the groups; `nobody` stands for a group where there is none."""
    sizes = np.bincount(labels)
    count = len(sizes)
    order = np.argsort(labels, kind="stable")
    means = np.add.reduceat(vectors[order], np.cumsum(sizes) - sizes, axis=0) / sizes[:, None].astype(np.float32)
    barred = both_ways(links.cannot)
    near = np.full((3, len(rows)), nobody)
    step = max(1, _BLOCK // max(1, count))
    for start in range(0, len(rows), step):
        chosen = rows[start : start + step]
        own, places = labels[chosen], np.arange(len(chosen))
        similarities = vectors[chosen] @ means.T
        # Without the crop itself.
        near[0, start : start + step] = (similarities[places, own] * sizes[own] - 1) / np.maximum(sizes[own] - 1, 1)
        similarities[places, own] = -np.inf
        these, others = partners(chosen, barred)
        similarities[these, labels[others]] = -np.inf
        for rank in range(1, 3):
            best = similarities.argmax(axis=1)
            value = similarities[places, best]
            near[rank, start : start + step] = np.where(np.isfinite(value), value, nobody)
            similarities[places, best] = -np.inf
    return Nearness(sizes[labels[rows]] == 1, *near)


def best_groups(vectors: Vectors, links: Links, single: float, stranger: float) -> Choice:
    """Group rows by average linkage under the threshold with the widest mean margin.

    Args:
        vectors: (N, D) float32 of unit length.
        links: Pairs of rows that are known.
        single: The cosine from which on two crops, of which nothing else is known, are rather of one person.
        stranger: The mean cosine of two people, for a crop that has no other group beside it.

    Returns:
        The groups, and how many there may be.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE]).astype(np.int64)
    highest = min(round(single + _ABOVE, 2), 1.0)
    steps = range(round((_ABOVE + _BELOW) / _STEP) + 1)
    tried: list[tuple[float, Integers, Numbers]] = []
    best = 0
    for value, labels in falling_linkage(vectors, links, [round(highest - _STEP * step, 2) for step in steps]):
        near = nearness(vectors, labels, links, rows, stranger)
        margins = np.where(near.alone, 2 * single - near.first - near.second, near.rest - near.first)
        tried.append((value, labels, margins))
        if margins.mean() > tried[best][2].mean():
            best = len(tried) - 1
        elif _is_worse(tried[best][2] - margins, labels[rows], _WORSE):
            break
    value, labels, margins = tried[best]
    counts = [int(labels.max(initial=-1)) + 1]
    for _, other, others in tried:
        coarser = min(labels, other, key=lambda each: int(each.max(initial=-1)))
        if not _is_worse(margins - others, coarser[rows], _SURE):
            counts.append(int(other.max(initial=-1)) + 1)
    return Choice(value, labels, min(counts), max(counts))


def _is_worse(losses: Numbers, groups: Integers, errors: float) -> bool:
    """Whether the mean loss is above zero by so many standard errors, over groups, whose crops go together."""
    around = np.bincount(groups, losses) - np.bincount(groups) * losses.mean()
    return bool(losses.mean() > errors * np.sqrt((around**2).sum()) / max(1, len(losses)))
