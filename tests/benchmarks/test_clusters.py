"""How well groups are the people: pairwise F1 and B-cubed by their definitions."""

import numpy as np
import pytest

from benchmarks.clusters import agreement


def test_agreement_is_that_of_the_definitions():
    people = np.array(["a", "a", "a", "b", "b", "c"])
    groups = np.array([1, 1, 2, 2, 2, 3])
    actual = agreement(groups, people)
    # 2 of 4 joined pairs are right, of 4 that there are.
    assert actual.f1 == pytest.approx(0.5)
    precision = (1 + 1 + 1 / 3 + 2 / 3 + 2 / 3 + 1) / 6
    recall = (2 / 3 + 2 / 3 + 1 / 3 + 1 + 1 + 1) / 6
    assert actual.b_cubed == pytest.approx(2 * precision * recall / (precision + recall))
