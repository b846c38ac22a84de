"""What is measured equals what plain loops count, and intervals hold what they promise."""

import numpy as np
import pytest

from reid_runtime.matching import CalibrationError
from reid_runtime.matching.calibrate import Origin, calibrate, own_comparisons
from reid_runtime.matching.comparisons import BINS, bin_at
from reid_runtime.matching.points import measure
from reid_runtime.matching.resampling import PairRate, draws_of, person_interval
from reid_runtime.matching.samples import MOST_CROPS_EACH, Samples, halves
from reid_runtime.matching.searching import false_positive_curve, gallery_sizes, maxima, search_points
from reid_runtime.scoring.ranking import Fractions

ORIGIN = Origin("0" * 16, "sha256:0", "float32", "made", True, {})


def people(count: int = 40, crops: int = 6, cameras: int = 2, noise: float = 0.9, seed: int = 0) -> Samples:
    """Random people in 12 dimensions, all under all cameras."""
    generator = np.random.default_rng(seed)
    number = np.repeat(np.arange(count), crops)
    vectors = generator.normal(size=(count, 12))[number] + noise * generator.normal(size=(len(number), 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(len(number))
    heights = np.where(rows % 5 == 0, 50, 100)
    return Samples(vectors.astype(np.float32), number, rows % cameras, cameras > 1, heights, rows.astype(np.float64))


def plain(samples: Samples, across: bool) -> tuple[Fractions, Fractions]:
    """Mated and non-mated cosines, by the definition."""
    cosines = samples.vectors.astype(np.float64) @ samples.vectors.T.astype(np.float64)
    one, other = np.triu_indices(len(cosines), 1)
    asked = (samples.cameras[one] != samples.cameras[other]) == across
    same = samples.people[one] == samples.people[other]
    return cosines[one, other][asked & same], cosines[one, other][asked & ~same]


def test_operating_points_are_what_all_pairs_give() -> None:
    samples = people()
    made = calibrate(samples, ORIGIN)
    for rates, across in ((made, True), (made.stratum("1x1", "within"), False)):
        mated, non_mated = plain(samples, across)
        assert [point.fmr for point in rates.operating_points] == [0.1, 0.01, 0.001][: len(rates.operating_points)]
        assert len(rates.operating_points) >= 2
        for point in rates.operating_points:
            edge = point.threshold
            assert (non_mated >= edge + 1e-6).mean() <= point.fmr < (non_mated >= edge - 1.01e-4).mean() + 1e-9
            np.testing.assert_allclose(point.fnmr, (mated < edge).mean(), atol=2 / len(mated))
            assert point.fmr_prediction[0] < point.fmr_interval[0] < point.fmr < point.fmr_interval[1]
            assert point.fnmr_interval[0] < point.fnmr < point.fnmr_interval[1]
            np.testing.assert_allclose(rates.fmr(edge), point.fmr, rtol=0.05)
    assert (made.source.mated, made.source.non_mated) == tuple(map(len, plain(samples, True)))
    assert made.source.people == 40
    kinds = {(stratum.camera, stratum.height, stratum.crops) for stratum in made.strata}
    assert {("across", "any", crops) for crops in ("1x1", "1xn", "nxn")} <= kinds
    assert {("across", "32-63", "1x1"), ("across", "96-127", "1x1")} <= kinds
    lower = made.stratum("1x1", "across", "32-63")
    assert lower.histograms != made.histograms


def test_means_of_several_crops_are_more_similar() -> None:
    made = calibrate(people(), ORIGIN)
    thresholds = [made.stratum(crops).threshold(0.1) for crops in ("1x1", "1xn", "nxn")]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[2]
    assert made.verdict(0.99, "nxn").answer == "same"


@pytest.mark.parametrize(("count", "fmr"), [(15, 0.1), (40, 0.0001)])
def test_what_the_data_do_not_support_is_refused_with_what_would(count: int, fmr: float) -> None:
    made = calibrate(people(count), ORIGIN)
    refused = {rate.fmr: rate for rate in made.refused}
    assert fmr in refused
    assert refused[fmr].comparisons == round(30 / fmr)
    needed = refused[fmr].people
    assert needed >= 20
    assert fmr in {point.fmr for point in calibrate(people(needed + 5), ORIGIN).operating_points}


def test_two_crops_of_nobody_twice_are_no_calibration() -> None:
    samples = people(crops=1, cameras=1)
    with pytest.raises(CalibrationError, match="0 mated and 780 non-mated"):
        calibrate(samples, ORIGIN)
    with pytest.raises(CalibrationError, match="at least two people"):
        people(count=1)


def test_searches_find_what_drawn_galleries_find() -> None:
    samples, size, threshold = people(30, 4), 10, 0.7
    best = maxima(samples)
    cosines = samples.vectors @ samples.vectors.T
    generator, hits = np.random.default_rng(1), []
    for query in range(len(cosines)):
        others = np.delete(np.arange(30), samples.people[query])
        for _ in range(40):
            gallery = np.isin(samples.people, generator.permutation(others)[:size])
            hits.append(cosines[query, gallery].max() >= threshold)
    curve = false_positive_curve(best, size)
    assert abs(curve[bin_at(threshold)] - np.mean(hits)) < 0.02
    np.testing.assert_allclose(
        false_positive_curve(best, 29)[bin_at(threshold)],
        (best.others >= bin_at(threshold)).any(axis=1).mean(),
        atol=1e-6,
    )
    right = (samples.people[:, None] == samples.people) & (samples.cameras[:, None] != samples.cameras)
    order = np.argsort(samples.people, kind="stable")
    own = np.where(right, cosines, -1).max(axis=1)[order]
    np.testing.assert_allclose(best.own, (own + 1) * BINS / 2, atol=1.01)
    points = search_points(best)
    assert {point.gallery_people for point in points} == {10, 20, 29}
    for point in points:
        assert point.fpir_prediction[0] < point.fpir < point.fpir_prediction[1]
        np.testing.assert_allclose(point.fnir, (own < point.threshold).mean(), atol=0.02)
    assert gallery_sizes(9) == []
    assert gallery_sizes(100) == [10, 20, 50, 100]


@pytest.mark.parametrize(("count", "of_pair", "base"), [(40, 1.0, -2.0), (37, 1.5, -3.0)])
def test_intervals_hold_for_the_place_and_predictions_for_other_people(count: int, of_pair: float, base: float) -> None:
    """Some people are often taken for others, and some pairs, the rarer the more, for each other."""
    generator = np.random.default_rng(3)

    def errors() -> Fractions:
        of_person, pairs = generator.normal(size=count), generator.normal(size=(count, count))
        rate = np.exp(0.5 * of_person[:, None] + 0.5 * of_person + of_pair * pairs + base)
        return np.triu(generator.poisson(rate), 1).astype(np.float64)

    comparisons, draws = np.triu(np.full((count, count), 10.0), 1), draws_of(count)
    site_rate = np.exp(0.5**2 + of_pair**2 / 2 + base) / 10
    held, kept = [], []
    for _ in range(150):
        rate = PairRate.of(errors().astype(np.float32), comparisons.astype(np.float32), draws)
        for span, value, results in (
            (rate.interval(), site_rate, held), (rate.prediction(), errors().sum() / comparisons.sum(), kept),
        ):  # fmt: skip
            results.append(span[0] <= value <= span[1])
    for results in (held, kept):
        assert 0.92 < np.mean(results) <= 0.99, "neither too narrow nor too wide"


def test_a_rate_of_no_errors_is_not_certain() -> None:
    low, high = person_interval(np.zeros(20), np.full(20, 5.0), draws_of(20))
    assert low == 0
    assert 0.1 < high < 0.2


def test_near_duplicates_are_those_of_the_last_one_kept_of_a_person_and_camera() -> None:
    angles = np.deg2rad([0, 5, 10, 40, 40, 0, 5])
    samples = Samples(
        np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), np.array([0, 0, 0, 0, 1, 1, 1]),
        np.array([0, 0, 0, 0, 0, 1, 1]), True, np.zeros(7, np.int64), np.array([0.0, 1, 2, 3, 4, 6, 5]),
    )  # fmt: skip
    assert samples.near_duplicates(0.99).tolist() == [False, True, False, False, False, True, False]


def test_bounds_take_an_even_part_of_the_crops_of_a_person() -> None:
    samples = people(count=3, crops=5 * MOST_CROPS_EACH, cameras=1)
    kept = samples.bounded()
    assert np.bincount(kept.people).tolist() == [MOST_CROPS_EACH] * 3
    assert np.diff(kept.times[kept.people == 1]).max() == 5
    assert halves(kept).sum() == 1.5 * MOST_CROPS_EACH


def test_tracks_compare_only_known_pairs() -> None:
    generator = np.random.default_rng(0)
    count, length = 24, 8
    number = np.repeat(np.arange(count), length)
    vectors = generator.normal(size=(count, 12))[number] + 0.5 * generator.normal(size=(len(number), 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    times = np.tile(np.arange(length) * 10.0, count)
    together = np.zeros((count, count), np.bool_)
    together[: count // 2, count // 2 :] = together[count // 2 :, : count // 2] = True
    zeros = np.zeros(len(number), np.int64)
    samples = Samples(vectors.astype(np.float32), number, zeros, True, zeros + 90, times, 25.0, together)
    measured = measure(own_comparisons(samples))
    assert measured.mated == count * sum(length - gap for gap in range(3, length)), "at least 25 apart"
    assert measured.non_mated == (count // 2) ** 2 * length**2
    best = maxima(samples)
    assert set(best.known) == {count // 2}
    made = calibrate(samples, ORIGIN)
    assert (made.source.kind, made.source.across_cameras) == ("tracks", False)
    assert any("one camera" in bias for bias in made.source.biases)
    assert {stratum.camera for stratum in made.strata} == {"within"}
    assert max(point.gallery_people for point in made.search) == count // 2
