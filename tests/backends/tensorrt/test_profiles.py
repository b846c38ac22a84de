"""Profiles: they hold whatever the resize rule gives, and follow the sizes that crops really have."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_runtime import BackendError
from reid_runtime.backends.tensorrt.profiles import Batches, Profile, profiles_for
from reid_runtime.images.resize import Area, FixedSize, LongestSide

BATCHES = Batches(4, 16)
sizes = st.tuples(st.integers(1, 700), st.integers(1, 700))


@given(st.integers(1, 300), st.lists(sizes, max_size=30), sizes, st.integers(1, 16))
def test_every_shape_is_held(longest, pictures, size, batch):
    rule = LongestSide(longest)
    profiles = profiles_for(rule, BATCHES, Counter(rule.shape(*picture) for picture in pictures))
    assert 1 <= len(profiles) <= 5
    assert any(profile.holds((batch, *rule.shape(*size))) for profile in profiles)
    assert not any(profile.holds((17, *rule.shape(*size))) for profile in profiles)


@given(st.integers(1, 2**17), st.integers(1, 32), st.lists(sizes, max_size=30), sizes, st.integers(1, 16))
def test_every_shape_of_the_area_rule_is_held(pixels, step, pictures, size, batch):
    rule = Area(pixels, step)
    profiles = profiles_for(rule, BATCHES, Counter(rule.shape(*picture) for picture in pictures))
    assert any(profile.holds((batch, *rule.shape(*size))) for profile in profiles)


def test_an_octave_of_heights_is_a_profile_and_its_largest_batch_costs_up_to_three_usual_ones():
    profiles = profiles_for(Area(32768, 16), BATCHES, {(304, 112): 5, (256, 128): 9, (128, 256): 1})
    assert len(profiles) == 8
    people = next(profile for profile in profiles if profile.holds((1, 256, 128)))
    assert people == Profile((1, 192, 80), (4, 256, 128), (16, 352, 192))
    for profile in profiles:
        assert profile.maximum[1] * profile.maximum[2] <= 3 * 32768
    with pytest.raises(BackendError, match="256x16 is no shape that about 32768 pixels"):
        profiles_for(Area(32768, 16), BATCHES, {(256, 16): 1})


@pytest.mark.parametrize("longest", [64, 256, 416])
def test_without_images_four_profiles(longest):
    profiles = profiles_for(LongestSide(longest), BATCHES)
    assert [profile.minimum[1] == longest for profile in profiles] == [True, True, True, False]
    for profile in profiles[:3]:
        assert longest / 4 <= profile.optimum[2] <= 5 * longest / 8
        assert profile.optimum[0] == 4


def test_profiles_follow_the_images():
    crops = Counter({(256, 80): 30, (256, 100): 30, (256, 120): 30, (100, 256): 5})
    first, second, third, lying = profiles_for(LongestSide(256), BATCHES, crops)
    assert [profile.optimum[1:] for profile in (first, second, third, lying)] == [
        (256, 80),
        (256, 100),
        (256, 120),
        (100, 256),
    ]
    assert (first.minimum, first.maximum) == ((1, 256, 1), (16, 256, 80))
    assert (second.minimum, second.maximum) == ((1, 256, 81), (16, 256, 100))
    assert (third.minimum, third.maximum) == ((1, 256, 101), (16, 256, 256))
    assert (lying.minimum, lying.maximum) == ((1, 1, 256), (16, 256, 256))


def test_frequent_size_has_a_profile():
    profiles = profiles_for(LongestSide(256), BATCHES, {(256, 128): 1000, (256, 90): 3})
    assert Profile((1, 256, 128), (4, 256, 128), (16, 256, 128)) in profiles


def test_lying_images():
    crops = {(80, 256): 30, (100, 256): 30, (120, 256): 30, (256, 100): 40}
    profiles = profiles_for(LongestSide(256), BATCHES, crops)
    assert len(profiles) == 5
    assert sum(profile.minimum[2] == 256 for profile in profiles) == 3


def test_a_fixed_size_has_one():
    assert profiles_for(FixedSize(256, 128), BATCHES) == (Profile((1, 256, 128), (4, 256, 128), (16, 256, 128)),)


def test_shape_that_the_rule_does_not_give():
    with pytest.raises(BackendError, match="300x100 is no shape"):
        profiles_for(LongestSide(256), BATCHES, {(300, 100): 1})


@pytest.mark.parametrize(
    ("low", "best", "high"), [((2, 1, 1), (1, 1, 1), (3, 1, 1)), ((0, 1, 1), (1, 1, 1), (1, 1, 1))]
)
def test_profile_that_is_no_range(low, best, high):
    with pytest.raises(BackendError, match="1 <= minimum"):
        Profile(low, best, high)


@pytest.mark.parametrize(("best", "most"), [(0, 4), (9, 8)])
def test_batches_that_are_no_range(best, most):
    with pytest.raises(BackendError, match="1 <= optimum"):
        Batches(best, most)
