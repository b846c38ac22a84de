import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.scoring.bootstrap import Bootstrap, Interval
from reid_runtime.scoring.errors import ScoringError
from reid_runtime.scoring.ranking import Scores
from training.ablation.stats import Difference, differences

DRAWS = Bootstrap(count=200)


def scores(precisions, people):
    """A run with these APs, a query each; (Q,) both."""
    valid = np.ones(len(people), dtype=bool)
    first_hit = np.where(precisions > 0.5, 1, 12)
    return Scores(people, np.zeros_like(people), valid, precisions, precisions - 0.01, first_hit, precisions, 99)


def experiment(random, seeds, effect, people=30, each=3, by_person=0.1, by_seed=0.02):
    """Runs of two variants, by seed: what is hard for both, what differs by person, and by seed."""
    who = np.repeat(np.arange(1, people + 1), each)
    hard = random.uniform(0.3, 0.7, len(who))
    liking = random.normal(0, by_person, people)[who - 1]
    before = [scores(hard + random.normal(0, 0.01, len(who)), who) for _ in range(seeds)]
    shifts = random.normal(effect, by_seed, seeds)
    after = [scores(hard + liking + shift + random.normal(0, 0.01, len(who)), who) for shift in shifts]
    return before, after


def test_a_difference_is_the_mean_of_the_seeds_and_its_parts_are_people_and_seeds():
    before, after = experiment(np.random.default_rng(1), 3, 0.1)
    actual = differences(before, after, DRAWS)["map_finite_sum"]
    of_seeds = [one.ap_finite_sum.mean() - other.ap_finite_sum.mean() for one, other in zip(after, before, strict=True)]
    for interval in (actual.people, actual.seeds, actual.both):
        assert interval.value == pytest.approx(np.mean(of_seeds))
    reach = 4.3027 * np.std(of_seeds, ddof=1) / np.sqrt(3)
    assert actual.seeds.high - actual.seeds.value == pytest.approx(reach, rel=1e-3)
    assert actual.both.high - actual.both.value == pytest.approx(
        np.hypot(reach, actual.people.high - actual.people.value), rel=1e-3
    )
    assert set(differences(before, after, DRAWS)) >= {"map_trapezoid", "rank_1"}


def test_more_seeds_do_not_make_more_people():
    """The interval over people stays that of 30, however often each of them was scored."""
    wide = []
    for seeds in (2, 12):
        before, after = experiment(np.random.default_rng(2), seeds, 0.0, by_seed=0.0)
        people = differences(before, after, DRAWS)["map_finite_sum"].people
        wide.append(people.high - people.low)
    assert wide[1] == pytest.approx(wide[0], rel=0.25)


@pytest.mark.parametrize(("by_person", "by_seed"), [(0.1, 0.02), (0.0, 0.03), (0.15, 0.0)])
def test_where_there_is_no_difference_few_look_real(by_person, by_seed):
    random = np.random.default_rng(3)
    runs = [experiment(random, 3, 0.0, by_person=by_person, by_seed=by_seed) for _ in range(120)]
    looks_real = np.mean([differences(*pair, DRAWS)["map_finite_sum"].is_real for pair in runs])
    assert looks_real <= 0.1  # one in 20 is allowed; the bootstrap over three seeds has one in four


def test_a_difference_is_real_with_three_seeds_and_zero_outside():
    random = np.random.default_rng(4)
    for seeds in (1, 2, 3):
        actual = differences(*experiment(random, seeds, 0.3, by_seed=0.001), DRAWS)["map_finite_sum"]
        assert actual.both.excludes_zero
        assert actual.is_real == (seeds == 3)
        assert (actual.seeds is None) == (seeds == 1)
    assert not differences(*experiment(random, 3, 0.0, by_person=0.2), DRAWS)["map_finite_sum"].is_real


def test_equal_is_an_interval_near_zero():
    near = Difference(Interval(0.001, -0.002, 0.003), Interval(0.001, -0.001, 0.003), 3)
    assert near.is_within(0.005)
    assert not near.is_within(0.003)
    assert not Difference(near.people, near.seeds, 2).is_within(0.005)


def test_runs_of_other_queries_are_refused():
    before, after = experiment(np.random.default_rng(5), 3, 0.0)
    with pytest.raises(ScoringError, match="compare the same queries"):
        differences(before, [scores(run.ap_finite_sum, run.identities[::-1]) for run in after], DRAWS)
