"""Exact search against the plain way: all similarities at once, sorted."""

import numpy as np
import pytest

from reid_runtime.matching import search
from reid_runtime.matching.search import VectorRows, nearest
from reid_runtime.scoring.errors import ScoringError


def unit(rows, seed, dimension=16):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain(query, gallery, count, groups=None, hidden=()):
    """Rows and cosines of the best row of each group, by sorting everything."""
    cosines = gallery.astype(np.float64) @ query.astype(np.float64)
    first_rows = {}
    for row in np.lexsort((np.arange(len(gallery)), -cosines)).tolist():
        if row not in hidden:
            first_rows.setdefault(row if groups is None else groups[row], row)
    rows = list(first_rows.values())[:count]
    return rows, cosines[rows]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(search, "_FIRST", 2)
    monkeypatch.setattr(search, "_ROWS", 16)
    monkeypatch.setattr(search, "_RESERVE", 1)


@pytest.mark.parametrize("people", [None, 1, 7, 300])
@pytest.mark.parametrize("count", [1, 5, 400])
@pytest.mark.usefixtures("small_blocks")
def test_same_hits_as_a_full_sort(people, count):
    gallery, queries = unit(300, 1), unit(9, 2)
    gallery[50] = gallery[20]
    gallery[60] = np.nan
    groups = None if people is None else np.random.default_rng(3).integers(0, people, 300)
    rows = VectorRows((gallery[:101], gallery[101:101], gallery[101:]))

    def hide(start, block, similarities):
        assert np.array_equal(block, gallery[start : start + len(block)], equal_nan=True)
        for row in (3, 150):
            if start <= row < start + len(block):
                similarities[:, row - start] = -np.inf

    for query, hits in zip(queries, nearest(queries, rows, count, groups=groups, hide=hide), strict=True):
        expected, cosines = plain(query, np.nan_to_num(gallery), count, groups, (3, 150, 60))
        assert hits.rows.tolist() == expected
        assert np.allclose(hits.similarities, cosines, atol=1e-6)


def test_a_query_has_the_same_answer_alone_and_among_others():
    gallery, queries = VectorRows((unit(5000, 4, 256),)), unit(64, 5, 256)
    together = nearest(queries, gallery, 10)
    for row in (0, 17, 63):
        (alone,) = nearest(queries[row : row + 1], gallery, 10)
        assert np.array_equal(alone.rows, together[row].rows)
        assert np.array_equal(alone.similarities, together[row].similarities), "to the last bit"


def test_rows_that_are_equally_near_come_in_the_order_of_the_gallery():
    gallery = np.repeat(unit(1, 6), 40, axis=0)
    assert nearest(gallery[:1], VectorRows((gallery[:7], gallery[7:])), 3)[0].rows.tolist() == [0, 1, 2]


def test_an_empty_gallery_has_no_answer():
    (hits,) = nearest(unit(1, 7), VectorRows(()), 3)
    assert hits.rows.size == hits.similarities.size == 0


def test_vectors_of_another_length_are_refused():
    with pytest.raises(ScoringError, match="numbers"):
        nearest(unit(1, 8), VectorRows((unit(3, 9, 8),)), 3)
