"""What is said of numbers."""

import pytest

from reid_runtime.io.text import counted


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("crop",), "0 crops"),
        (1, ("crop",), "1 crop"),
        (2, ("more query",), "2 more queries"),
        (1000, ("person",), "1,000 people"),
        (1, ("image is", "images are"), "1 image is"),
        (2, ("image is", "images are"), "2 images are"),
    ],
)
def test_counts_have_the_right_plural(number, words, expected):
    assert counted(number, *words) == expected
