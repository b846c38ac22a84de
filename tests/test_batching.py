"""Batches: every row once, one shape each, under the budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_runtime.batching import even_batches, same_shape_batches

SHAPES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=60)


@given(SHAPES, st.integers(1, 40))
def test_every_row_once_in_batches_of_one_shape_under_the_budget(shapes, budget):
    batches = list(same_shape_batches(shapes, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(shapes)))
    for batch in batches:
        assert batch == sorted(batch)
        assert len({shapes[row] for row in batch}) == 1
        height, width = shapes[batch[0]]
        assert len(batch) == 1 or len(batch) * height * width <= budget


@given(SHAPES)
def test_no_more_batches_than_needed(shapes):
    assert len(list(same_shape_batches(shapes, 10_000))) == len(set(shapes))


def test_order():
    shapes = [(2, 1), (1, 1), (2, 1), (2, 1), (1, 1)]
    assert list(same_shape_batches(shapes, 4)) == [[0, 2], [3], [1, 4]]
    assert list(same_shape_batches([(9, 9), (9, 9)], 4)) == [[0], [1]]


@pytest.mark.parametrize(
    ("images", "limit", "expected"),
    [(16, 8, 8), (15, 8, 5), (15, 4, 5), (13, 8, 13), (17, 8, 8), (3, 8, 8), (14, 4, 2)],
)
def test_batches_of_one_size_where_there_is_such_a_size(images, limit, expected):
    assert even_batches(images, limit) == expected
