"""The scenarios on a clock that only work and waiting move, and the inputs that they are given."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.inputs import SIZE, equal_issue, frame_with_boxes, mixed_sizes, one_size
from benchmarks.scenarios import MOST, SEEDS, STEP, Clock, arrivals, highest_rate, serve, stream

from ..sample_images import sample_image


class Time:
    """A clock, and a work that takes a given time."""

    def __init__(self):
        self.passed, self.calls = 100.0, []

    @property
    def clock(self):
        return Clock(lambda: self.passed, self.sleep)

    def sleep(self, seconds):
        self.passed += seconds

    def taking(self, seconds):
        def work(queries):
            self.calls.append(list(queries))
            self.passed += seconds

        return work


def test_a_stream_asks_the_next_query_when_the_one_before_is_answered():
    time, asked = Time(), []

    def work(query):
        asked.append((time.passed, query))
        time.passed += 0.5 + query

    assert stream([0, 2, 1], work, time.clock) == pytest.approx([0.5, 2.5, 1.5])
    assert asked == [(100.0, 0), (100.5, 2), (103.0, 1)]


def test_a_latency_is_from_the_arrival_and_not_from_when_the_server_was_free():
    time = Time()
    latencies = serve([0.0, 0.2, 0.3, 5.0], time.taking(1.0), time.clock)
    assert latencies == pytest.approx([1.0, 1.8, 1.7, 1.0])
    assert time.calls == [[0], [1, 2], [3]]


def test_a_server_takes_no_more_than_its_most_at_once():
    time = Time()
    serve([0.0] * (MOST + 5), time.taking(1.0), time.clock)
    assert [len(call) for call in time.calls] == [MOST, 5]


def test_a_rate_that_cannot_keep_the_bound_any_more_is_given_up():
    time = Time()
    latencies = serve([0.0] * 300, time.taking(1.0), time.clock, bound=1.5)
    # Of 300 queries three may be late, and the second call has 32 that are.
    assert len(time.calls) == 2
    assert len(latencies) == 300
    assert latencies[:33] == pytest.approx([1.0] * 32 + [2.0])
    assert np.isinf(latencies[64:]).all()
    within = serve([float(n) for n in range(300)], time.taking(1.0), time.clock, bound=1.5)
    assert np.isfinite(within).all()


def test_arrivals_are_a_poisson_process():
    times = np.array(arrivals(50, 200))
    gaps = np.diff(times)
    assert len(times) == 10_000
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as an exponential distribution's
    assert arrivals(50, 1) == arrivals(50, 1)


def test_other_seeds_draw_other_arrivals():
    assert arrivals(50, 1, seed=1) != arrivals(50, 1, seed=2)


class Machine:
    """One that holds up to a rate; one seed, if any, is less lucky and holds to a lower one only."""

    def __init__(self, holds, unlucky=None, less=0.0):
        self.holds, self.unlucky, self.less = holds, unlucky, less
        self.runs = []

    def __call__(self, rate, seed):
        self.runs.append((rate, seed))
        return [0.05 + seed / 100 if rate <= (self.less if seed == self.unlucky else self.holds) else 0.2] * 50


@pytest.mark.parametrize("first", [1.0, 37.0, 99.0, 101.0, 900.0])
def test_the_highest_rate_is_bracketed_from_either_side(first):
    served = highest_rate(Machine(holds=100), 0.1, first, tries=20)
    assert served.rate <= 100 < served.failed <= STEP * served.rate
    assert served.latencies == pytest.approx((0.05,) * 50 + (0.06,) * 50 + (0.07,) * 50)


def test_from_half_or_twice_the_rate_it_is_found_within_the_tries_there_are():
    for first in (51.0, 99.0, 101.0, 199.0):
        served = highest_rate(Machine(holds=100), 0.1, first)
        assert served.rate <= 100 < served.failed <= STEP * served.rate


@pytest.mark.parametrize("unlucky", range(SEEDS))
def test_a_rate_must_hold_with_every_seed(unlucky):
    served = highest_rate(Machine(holds=100, unlucky=unlucky, less=60), 0.1, 90, tries=20)
    assert served.rate <= 60 < served.failed <= STEP * served.rate
    assert len(served.latencies) == 50 * SEEDS


def test_a_rate_that_fails_once_is_not_tried_with_the_other_seeds():
    machine = Machine(holds=100)
    assert highest_rate(machine, 0.1, 160, tries=2).rate == 80
    assert machine.runs == [(160, 0), *((80, seed) for seed in range(SEEDS))]


def test_where_every_rate_holds_there_is_none_that_failed():
    served = highest_rate(Machine(holds=float("inf")), 0.1, 10, tries=4)
    assert (served.rate, served.failed) == (80, None)


def test_where_no_rate_holds_the_lowest_is_not_so_low_that_nothing_comes():
    machine = Machine(holds=0)
    served = highest_rate(machine, 0.1, 16, least=2, tries=20)
    assert (served.rate, served.failed, served.latencies) == (0, 2, ())
    assert [rate for rate, _ in machine.runs] == [16, 8, 4, 2]


def test_one_late_query_in_a_hundred_is_allowed_and_two_are_not():
    late = {1: [0.01] * 99 + [9.0], 2: [0.01] * 98 + [9.0] * 2}
    assert highest_rate(lambda rate, seed: late[1], 0.1, 10, tries=1).rate == 10
    assert highest_rate(lambda rate, seed: late[2], 0.1, 10, tries=1).rate == 0


def test_every_input_is_asked_for_equally_often():
    issued = list(equal_issue(50, 12))
    assert set(Counter(issued).values()) == {5}  # 50 rounded up to 60
    assert issued[:12] != issued[12:24]


def test_mixed_sizes_have_the_pixels_of_one_size():
    crops = [sample_image(seed=seed) for seed in range(3)]
    same, mixed = one_size(crops, 80), mixed_sizes(crops, 80)
    assert {crop.shape[:2] for crop in same} == {SIZE}
    assert len({crop.shape for crop in mixed}) == 33
    assert sum(crop.size for crop in mixed) == sum(crop.size for crop in same)


def test_boxes_lie_in_their_frame():
    frame, boxes = frame_with_boxes([sample_image()], 8)
    assert boxes.shape == (8, 4)
    assert (boxes[:, 2] <= frame.shape[1]).all()
    assert (boxes[:, 3] <= frame.shape[0]).all()
    assert (boxes[:, :2] >= 0).all()
