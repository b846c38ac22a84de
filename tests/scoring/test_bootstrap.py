"""Intervals and comparisons against what is known of means, and against their promise on simulated evaluations."""

from dataclasses import fields, replace

import numpy as np
import pytest

from reid_runtime.scoring.bootstrap import METRICS, Bootstrap, bootstrap_intervals, compare_scores
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.ranking import Scores, Summary


def scores_of(precisions, identities, valid=None):
    """Scores with these APs; everything else follows from them somehow."""
    precisions = np.asarray(precisions, dtype=np.float64)
    valid = np.ones(len(precisions), dtype=bool) if valid is None else np.asarray(valid)
    shown = np.where(valid, precisions, np.nan)
    hits = np.where(valid, np.where(precisions > 0.5, 1, 7), 0)
    cameras = np.ones(len(precisions), dtype=np.int64)
    return Scores(np.asarray(identities), cameras, valid, shown, shown * 0.98, hits, shown * 0.5, 100)


def simulated(rng, people=60, queries=4, spread=0.2, shift=0.0):
    """APs that vary between people and, less, between one person's queries."""
    person = np.repeat(rng.normal(0.6, spread, people), queries)
    return np.clip(person + rng.normal(shift, 0.05, people * queries), 0, 1), np.repeat(np.arange(people), queries)


def test_metrics_are_those_of_the_summary():
    assert tuple(field.name for field in fields(Summary))[: len(METRICS)] == tuple(METRICS)


def test_values_are_those_of_the_summary():
    rng = np.random.default_rng(0)
    valid = rng.random(240) < 0.9
    scores = scores_of(*simulated(rng), valid)
    summary = scores.summary()
    for name, interval in bootstrap_intervals(scores).items():
        assert interval.value == pytest.approx(getattr(summary, name))
        assert interval.low <= interval.value <= interval.high


def test_with_a_query_a_person_the_width_is_that_of_the_mean():
    rng = np.random.default_rng(1)
    precisions = rng.uniform(0, 1, 2000)
    actual = bootstrap_intervals(scores_of(precisions, np.arange(2000)))["map_finite_sum"]
    expected = 2 * 1.96 * precisions.std() / np.sqrt(2000)
    assert actual.high - actual.low == pytest.approx(expected, rel=0.08)


def test_queries_of_one_person_do_not_count_as_independent():
    rng = np.random.default_rng(2)
    precisions = rng.uniform(0, 1, 200)
    once = bootstrap_intervals(scores_of(precisions, np.arange(200)))["map_finite_sum"]
    repeated = bootstrap_intervals(scores_of(np.repeat(precisions, 9), np.repeat(np.arange(200), 9)))["map_finite_sum"]
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))


def test_the_same_seed_gives_the_same_interval():
    scores = scores_of(*simulated(np.random.default_rng(3)))
    assert bootstrap_intervals(scores) == bootstrap_intervals(scores)
    assert bootstrap_intervals(scores) != bootstrap_intervals(scores, Bootstrap(seed=1))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(4)
    truth = 0.6
    draws = [bootstrap_intervals(scores_of(*simulated(rng, spread=0.1)), Bootstrap(400)) for _ in range(300)]
    intervals = [draw["map_finite_sum"] for draw in draws]
    assert 0.9 <= np.mean([interval.low <= truth <= interval.high for interval in intervals]) <= 0.98


def test_noise_is_seldom_taken_for_a_change():
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(300):
        precisions, identities = simulated(rng)
        other = np.clip(precisions + rng.normal(0, 0.05, len(precisions)), 0, None)
        pair = scores_of(precisions, identities), scores_of(other, identities)
        alarms += compare_scores(*pair, Bootstrap(400)).more_than_noise
    assert 0.01 <= alarms / 300 <= 0.1


def test_a_small_change_of_everyone_is_seen_though_people_differ_widely():
    rng = np.random.default_rng(6)
    precisions, identities = simulated(rng)
    after = np.clip(precisions + rng.normal(0.01, 0.02, len(precisions)), 0, 1)
    before_scores, after_scores = scores_of(precisions, identities), scores_of(after, identities)
    comparison = compare_scores(before_scores, after_scores)
    assert comparison.more_than_noise
    change = comparison.changes["map_finite_sum"]
    assert change.value == pytest.approx(after.mean() - precisions.mean())
    assert 0 < change.low < change.value < change.high
    alone = bootstrap_intervals(before_scores)["map_finite_sum"]
    assert alone.high - alone.low > 5 * (change.high - change.low), "pairing takes out how people differ"
    assert compare_scores(after_scores, before_scores).more_than_noise
    back = compare_scores(after_scores, before_scores).changes["map_finite_sum"]
    assert (back.low, back.high) == pytest.approx((-change.high, -change.low))
    assert (comparison.before, comparison.after) == (before_scores.summary(), after_scores.summary())


def test_no_change_is_no_change():
    scores = scores_of(*simulated(np.random.default_rng(7)))
    comparison = compare_scores(scores, scores)
    assert not comparison.more_than_noise
    assert comparison.changes["rank_1"].value == 0
    assert (comparison.paired_queries, comparison.identities) == (240, 60)


def test_only_queries_that_are_valid_in_both_are_paired():
    precisions, identities = simulated(np.random.default_rng(8))
    after = precisions.copy()
    after[:4] = 1
    valid = np.arange(240) >= 4
    comparison = compare_scores(scores_of(precisions, identities, valid), scores_of(after, identities))
    assert comparison.paired_queries == 236
    assert comparison.identities == 59
    assert comparison.changes["map_finite_sum"].value == 0


def test_a_query_that_is_nowhere_found_is_no_hit():
    scores = scores_of([0.9, 0.9, 0.9, 0.9], [1, 2, 3, 4])
    missed = replace(scores, first_hit=np.zeros(4, dtype=np.int64))
    assert bootstrap_intervals(missed)["rank_10"].value == 0


def test_scores_that_cannot_be_compared():
    one = scores_of([0.5, 0.6, 0.7], [1, 2, 3])
    for other, match in (
        (scores_of([0.5, 0.6], [1, 2]), "3 queries, the other 2"),
        (scores_of([0.5, 0.6, 0.7], [1, 9, 3]), "1 of 3 queries differ, the first is row 1: identity 2 of camera 1"),
        (scores_of([0.5, 0.6, 0.7], [1, 2, 3], [False] * 3), "no query has a right answer in both"),
    ):
        with pytest.raises(ScoringError, match=match):
            compare_scores(one, other)
    with pytest.raises(ScoringError, match="one person only"):
        bootstrap_intervals(scores_of([0.5, 0.6], [1, 1]))
    for wrong in ({"count": 5}, {"level": 1.0}):
        with pytest.raises(ScoringError, match="intervals take"):
            Bootstrap(**wrong)
