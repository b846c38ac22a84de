"""Promised rates are held to those of other people, and derived models to the calibration of their parent."""

import numpy as np

from benchmarks.calibration import promises, split
from benchmarks.derived_calibration import inside
from reid_runtime.matching.calibrate import calibrate
from tests.matching.test_calibrate import ORIGIN, people


def test_halves_are_of_different_people_and_promises_are_held_to_the_other_half():
    samples = people(60, noise=0.7)
    first, second = split(samples, 1)
    assert (first.count, second.count) == (30, 30)
    assert not {row.tobytes() for row in first.vectors} & {row.tobytes() for row in second.vectors}
    made = promises(samples, 1)
    assert {"FMR 10 %", "FPIR 30 % of 10 people"} <= {promise.what for promise in made}
    for promise in made:
        assert promise.interval[0] < promise.promised < promise.interval[1]
        assert promise.kept == (promise.interval[0] <= promise.realised <= promise.interval[1])
    rates = [promises(samples, seed)[0].realised for seed in range(3)]
    assert len(set(rates)) == 3


def test_another_models_vectors_are_outside():
    samples = people(40)
    calibration = calibrate(samples, ORIGIN)
    assert all(is_inside for *_, is_inside in inside(calibration, samples))
    noisy = people(40, noise=2.0)
    assert not all(is_inside for *_, is_inside in inside(calibration, noisy))
    np.testing.assert_allclose(inside(calibration, samples)[0][1], 0.1, rtol=0.05)
