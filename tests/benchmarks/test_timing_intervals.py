"""What the timer's samples are said to say."""

import numpy as np
import pytest

from benchmarks.measurements import Row
from benchmarks.timing import change, median_interval, ratio_interval, supported, unsteadiness, windows


def test_the_interval_of_a_median_is_between_the_order_statistics_of_the_binomial():
    # The 95 % interval of ten values is from the second to the ninth (97.9 %), of six the whole range (96.9 %).
    ten, six = median_interval(range(1, 11)), median_interval(range(1, 7))
    assert (ten.low, ten.high) == (2, 9)
    assert (six.low, six.high) == (1, 6)
    assert (median_interval([7, 5]).low, median_interval([7, 5]).high) == (5, 7)


def test_the_interval_of_a_median_holds_it_as_often_as_is_said():
    random = np.random.default_rng(0)
    held = [found.low <= 0 <= found.high for found in map(median_interval, random.normal(size=(2000, 21)))]
    assert 0.94 < np.mean(held) < 0.99


def test_ratios_are_of_rounds_and_not_of_medians():
    found = ratio_interval([2, 20, 2, 4, 6, 8], [1, 10, 1, 2, 3, 4])
    assert (found.low, found.value, found.high) == (2, 2, 2)


def test_windows_hold_every_sample_once():
    assert [list(window) for window in windows(range(10), 3)] == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]
    assert len(windows([1.0, 2.0], 3)) == 2


@pytest.mark.parametrize(("seconds", "steady"), [((1, 1.05, 1.09), True), ((1, 1.05, 1.11), False), ((1, 1), False)])
def test_a_series_is_steady_where_its_thirds_lie_within_a_tenth(seconds, steady):
    row = Row("a", {}, tuple(value for value in seconds for _ in range(5)) if len(seconds) > 2 else seconds, 1, {})
    assert row.steady is steady
    assert unsteadiness([3.0, 1.0, 2.0]) == pytest.approx(2)


def test_a_change_has_welchs_interval():
    # t of 0.995 at 8 degrees of freedom is 3.3554 (any table of Student's t).
    before, after = np.exp([0.0, 0.1, 0.2, 0.3, 0.4]), np.exp([1.0, 1.1, 1.2, 1.3, 1.4])
    found = change(list(before), list(after))
    reach = 3.3554 * np.sqrt(2 * 0.025 / 5)
    assert np.log([found.low, found.value, found.high]) == pytest.approx([1 - reach, 1, 1 + reach], abs=2e-3)


def test_a_percentile_needs_a_sample_beyond_it():
    assert [count for count in (9, 10, 99, 100) if supported(count, 0.9)] == [10, 99, 100]
    assert [count for count in (9, 10, 99, 100) if supported(count, 0.99)] == [100]


def test_what_differs_from_process_to_process_widens_the_interval():
    before, after = [1.0, 1.01, 0.99, 1.0], [1.1, 1.11, 1.09, 1.1]
    alone, known = change(before, after), change(before, after, process=0.03**2)
    assert alone.low > 1.05
    assert known.low < 1.05
    assert known.value == alone.value
