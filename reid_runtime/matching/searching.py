"""Searches in galleries of ten people to all there are: FPIR and FNIR from each query's largest similarities.

Each crop is a query in turn. Its gallery is so many other people, each with all their crops under all cameras, drawn
from all without replacement: the chance that the most similar of N drawn people is the r-th most similar of P is
hypergeometric, so no gallery is drawn at all. Its own person is in the gallery with the crops of other cameras, as
re-identification has it; without cameras, with all their other crops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_runtime.matching.calibration import SearchPoint
from reid_runtime.matching.comparisons import BINS, Bins, bins_of, cosine_at
from reid_runtime.matching.rates import MIN_EVENTS, MIN_PEOPLE
from reid_runtime.matching.resampling import PairRate, draws_of, person_interval
from reid_runtime.matching.samples import Samples
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.ranking import Block, Fractions

FPIRS = (0.5, 0.3, 0.1, 0.05, 0.03, 0.01, 0.005, 0.003, 0.001)
"""The rates at which a calibration states thresholds of searches, where its data support them."""
LEAST_GALLERY = 10

_SIMILARITIES = 2**22
"""That are there at once."""
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Maxima:
    """What Q queries find: the most similar crop of each person."""

    people: Integers
    """(Q,) the queries' own."""
    others: Bins
    """(Q, P) the bin of the most similar crop of each person; -1 for the query's own, and where nothing is known."""
    own: Bins
    """(Q,) the same of the query's person, under other cameras; -1 where there is none."""

    @property
    def known(self) -> Integers:
        """(Q,) among how many other people each query can be searched."""
        known: Integers = np.count_nonzero(self.others >= 0, axis=1)
        return known


def maxima(samples: Samples, queries: Samples | None = None) -> Maxima:
    """Compare queries with all crops, a block at a time.

    Args:
        samples: The crops of the galleries.
        queries: The queries, whose people have the same numbers; None for all of the samples in turn.

    Returns:
        The most similar crop of each person to each query, by the query's person.
    """
    order, people_there = np.argsort(samples.people, kind="stable"), np.unique(samples.people)
    vectors, people = samples.vectors[order], samples.people[order]
    cameras, times = samples.cameras[order], samples.times[order]
    asked = samples if queries is None else queries
    rank = np.argsort(asked.people, kind="stable")
    starts = np.searchsorted(people, people_there)
    count = max(samples.count, asked.count)
    others = np.full((len(rank), count), -1, np.int16)
    own = np.full(len(rank), -1, np.int16)
    step = max(1, _SIMILARITIES // len(people))
    for top in range(0, len(rank), step):
        rows = rank[top : top + step]
        slots, who = np.arange(top, top + len(rows)), asked.people[rows]
        bins = bins_of(asked.vectors[rows] @ vectors.T)
        if samples.together is not None:
            right = np.abs(asked.times[rows, None] - times) >= samples.gap
        elif samples.has_cameras:
            right = asked.cameras[rows, None] != cameras
        else:
            right = rows[:, None] != order
        own[slots] = np.where((who[:, None] == people) & right, bins, -1).max(axis=1)
        best = np.full((len(rows), count), -1, np.int16)
        best[:, people_there] = np.maximum.reduceat(bins, starts, axis=1)
        if samples.together is not None:
            best[~samples.together[who]] = -1
        best[np.arange(len(rows)), who] = -1
        others[slots] = best
    return Maxima(asked.people[rank], others, own)


def gallery_sizes(most: int) -> list[int]:
    """1, 2 and 5 times the powers of ten, from LEAST_GALLERY on, and the most."""
    steps = (figure * 10**power for power in range(1, 7) for figure in (1, 2, 5))
    return [*(size for size in steps if LEAST_GALLERY <= size < most), *([most] if most >= LEAST_GALLERY else [])]


def search_points(top: Maxima, sizes: Sequence[int] | None = None) -> tuple[SearchPoint, ...]:
    """Thresholds and rates of searches, for those of FPIRS that the queries support.

    Args:
        top: Of `maxima`.
        sizes: People in a gallery; None for `gallery_sizes` up to what most people can be searched among.

    Returns:
        By gallery size, and then by falling FPIR.
    """
    known = top.known
    if sizes is None:
        # With labels all others; with tracks, as many as MIN_PEOPLE tracks were seen together with.
        each = np.zeros(top.others.shape[1], np.int64)
        np.maximum.at(each, top.people, known)
        sizes = gallery_sizes(int(np.sort(each)[::-1][MIN_PEOPLE - 1])) if each.size >= MIN_PEOPLE else []
    points: list[SearchPoint] = []
    for size in sizes:
        rows = np.flatnonzero(known >= size)
        part = Maxima(top.people[rows], top.others[rows], top.own[rows])
        if np.unique(part.people).size >= MIN_PEOPLE:
            points += _points(part, size)
    return tuple(points)


def false_positive_curve(top: Maxima, size: int) -> Fractions:
    """(BINS + 1,) the FPIR in a gallery of `size` people at each edge of a bin; each query knows as many others."""
    known = top.known
    ranked = -np.sort(-top.others, axis=1)
    chances = {int(count): _chance_of_rank(int(count), size) for count in np.unique(known)}
    curve = np.zeros(BINS)
    for rank in range(top.others.shape[1] - 1):
        weights = np.zeros(len(known))
        for count, chance in chances.items():
            if rank < len(chance):
                weights[known == count] = chance[rank]
        if not weights.any():
            break
        there = weights > 0
        curve += np.bincount(ranked[there, rank], weights[there], minlength=BINS)
    return np.append(np.cumsum(curve[::-1])[::-1], 0.0) / len(known)


def _points(top: Maxima, size: int) -> list[SearchPoint]:
    curve = false_positive_curve(top, size)
    draws, points = draws_of(top.others.shape[1]), []
    answered = top.own >= 0
    trials = np.bincount(top.people[answered], minlength=draws.shape[1]).astype(np.float64)
    asked = _searches_by_people(top)
    for fpir in FPIRS:
        if fpir * len(top.people) < MIN_EVENTS or not answered.any():
            continue
        edge = int(np.argmax(curve <= fpir * (1 + 1e-12)))
        errors = _errors_by_people(top, size, edge)
        if np.count_nonzero(errors.sum(axis=1)) < MIN_PEOPLE or edge in (0, BINS):
            continue
        rate = PairRate.of(errors, asked, draws)
        missed = answered & (top.own < edge)
        misses = np.bincount(top.people[missed], minlength=draws.shape[1]).astype(np.float64)
        points.append(
            SearchPoint(
                size, fpir, cosine_at(edge), float(misses.sum() / trials.sum()),
                rate.interval(), person_interval(misses, trials, draws), rate.prediction(),
            )
        )  # fmt: skip
    return points


def _errors_by_people(top: Maxima, size: int, edge: int) -> Block:
    """(P, P) float32: of the queries of each person, the false answers that each other person is at the bottom of.

    Where several people of a gallery are above the threshold, the answer counts for each of them in equal parts.
    """
    hits = top.others >= edge
    above, known = hits.sum(axis=1), top.known
    answered = np.flatnonzero(above)
    log_factorial = _log_factorials(top.others.shape[1])
    free = known[answered] - above[answered]
    none = np.where(
        free >= size,
        np.exp(
            log_factorial[free] - log_factorial[np.maximum(free - size, 0)]
            - log_factorial[known[answered]] + log_factorial[known[answered] - size]
        ),
        0.0,
    )  # fmt: skip
    errors = np.zeros((top.others.shape[1],) * 2, np.float32)
    rows, columns = np.nonzero(hits[answered])
    share = (1 - none) / above[answered]
    np.add.at(errors, (top.people[answered][rows], columns), share[rows].astype(np.float32))
    return errors


def _searches_by_people(top: Maxima) -> Block:
    """(P, P) float32: the queries of each person, in equal parts for each other person that they know."""
    asked = np.zeros((top.others.shape[1],) * 2, np.float32)
    known = (top.others >= 0) / top.known[:, None]
    np.add.at(asked, top.people, known.astype(np.float32))
    return asked


def _chance_of_rank(people: int, size: int) -> Fractions:
    """Of `size` people drawn from so many, the chance that the best one has each rank among all; not the negligible."""
    ranks = np.arange(1, people - size + 2)
    table = _log_factorials(people)
    log = (
        table[people - ranks] - table[size - 1] - table[people - ranks - size + 1]
        - (table[people] - table[size] - table[people - size])
    )  # fmt: skip
    chance: npt.NDArray[np.float64] = np.exp(log)
    return chance[: int(np.count_nonzero(np.cumsum(chance) < 1 - _NEGLIGIBLE)) + 1]


def _log_factorials(most: int) -> Fractions:
    """(most + 1,)"""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
