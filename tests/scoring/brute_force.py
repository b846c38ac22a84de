"""The definitions of the scores, written down step by step with nothing made fast: what the scorer is held to."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class QueryResult:
    hits: list[bool]
    """Whether each item of the ranking, from the first on, is a right answer."""
    finite_sum: float
    trapezoid: float
    first_hit: int
    inp: float


def result(similarity, identity, camera, identities, cameras):
    """What one query gets, or None where it has no right answer."""
    items = [
        (float(value), index)
        for index, value in enumerate(similarity)
        if identities[index] != -1 and not (identities[index] == identity and cameras[index] == camera)
    ]
    items.sort(key=lambda item: (-item[0], item[1]))
    hits = [bool(identities[index] == identity and identity > 0) for _, index in items]
    if not any(hits):
        return None
    return QueryResult(hits, _finite_sum(hits), _market_1501(hits), hits.index(True) + 1, _inp(hits))


def _finite_sum(hits):
    found, precisions = 0, []
    for rank, hit in enumerate(hits, 1):
        if hit:
            found += 1
            precisions.append(found / rank)
    return sum(precisions) / found


def _market_1501(hits):
    """Step by step as `compute_AP.m` of Market-1501 walks down a ranking from which the junk is gone."""
    good = sum(hits)
    old_recall, old_precision, area, found = 0.0, 1.0, 0.0, 0
    for index, hit in enumerate(hits):
        found += hit
        recall, precision = found / good, found / (index + 1)
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
        if found == good:
            break
    return area


def _inp(hits):
    hardest = max(rank for rank, hit in enumerate(hits, 1) if hit)
    return sum(hits) / hardest


def all_results(similarities, query, gallery):
    return [
        result(row, identity, camera, gallery.identities, gallery.cameras)
        for row, identity, camera in zip(similarities, query.identities, query.cameras, strict=True)
    ]


def unit_rows(rng, rows, dimensions):
    vectors = rng.standard_normal((rows, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
