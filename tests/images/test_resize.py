"""The resize rules, and the pixels of the resize."""

import dataclasses
import hashlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reid_runtime.errors import ContractError
from reid_runtime.images.resize import (
    RULES,
    Area,
    FixedSize,
    LongestSide,
    resize,
    rule_form,
    rule_from_json,
    rule_to_json,
)

from ..sample_images import sample_image

SIDES = st.integers(1, 5000)


@given(st.integers(1, 1000), SIDES, SIDES)
def test_longest_side_keeps_the_aspect(size, height, width):
    new_height, new_width = LongestSide(size).shape(height, width)
    assert max(new_height, new_width) == size
    assert min(new_height, new_width) >= 1
    assert (new_height == size) or (width > height)
    exact = size * min(height, width) / max(height, width)
    assert abs(min(new_height, new_width) - max(exact, 1)) <= 0.5


@given(st.integers(1, 1000), SIDES, SIDES)
def test_longest_side_turns_with_the_image(size, height, width):
    assert LongestSide(size).shape(height, width) == LongestSide(size).shape(width, height)[::-1]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(128, 64, (256, 128)), (64, 128, (128, 256)), (7, 7, (256, 256)), (512, 301, (256, 151)), (512, 300, (256, 150)),
     (1000, 1, (256, 1)), (1, 100_000, (1, 256)), (256, 255, (256, 255))],
)  # fmt: skip
def test_longest_side_rounds_halves_up(height, width, expected):
    assert LongestSide(256).shape(height, width) == expected


@given(st.integers(1, 2**18), st.integers(1, 32), SIDES, SIDES)
def test_area_keeps_aspect_and_cost_and_rounds_to_steps(pixels, step, height, width):
    rule = Area(pixels, step)
    new_height, new_width = rule.shape(height, width)
    assert new_height % step == new_width % step == 0
    assert min(new_height, new_width) >= step
    scale = (pixels / (height * width)) ** 0.5
    if min(height, width) * scale >= step and max(height, width) * scale <= step * max(1, pixels // step**2):
        assert abs(new_height - height * scale) <= step / 2 + 1e-6
        assert abs(new_width - width * scale) <= step / 2 + 1e-6
    # A side is at most half as much again as it would be, rounded from 1.5 steps up to 2 or from 1 to 1.
    assert new_height * new_width <= max(step * step, 16 / 9 * pixels)


@given(SIDES, SIDES)
def test_area_turns_with_the_image(height, width):
    assert Area(32768, 16).shape(height, width) == Area(32768, 16).shape(width, height)[::-1]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(256, 128, (256, 128)), (128, 48, (288, 112)), (128, 64, (256, 128)), (64, 64, (176, 176)),
     (1, 1, (176, 176)), (100_000, 1, (2048, 16)), (1, 100_000, (16, 2048))],
)  # fmt: skip
def test_area_of_known_images(height, width, expected):
    assert Area(32768, 16).shape(height, width) == expected


def test_fixed_size():
    assert FixedSize(256, 128).shape(31, 999) == (256, 128)


@pytest.mark.parametrize("rule", [LongestSide(17), Area(900, 4), FixedSize(31, 7)])
def test_a_contract_states_every_rule(rule):
    assert rule_from_json(rule_to_json(rule), "here") == rule
    with pytest.raises(ContractError, match=re.escape(rule_form(rule.name))):
        rule_from_json({}, "here")


def test_every_rule_is_tried():
    assert set(RULES) == {"longest-side", "area", "fixed"}


def test_a_rule_without_a_name_is_in_no_contract():
    @dataclasses.dataclass(frozen=True)
    class Unregistered(FixedSize):
        name = "fixed"

    with pytest.raises(ContractError, match="no contract can state the resize rule"):
        rule_to_json(Unregistered(1, 2))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_pixels_are_pillows_bilinear(height, width, new_height, new_width):
    """Within the one grey level that the order of its two passes makes."""
    image = sample_image(height, width)
    expected = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
    assert np.abs(resize(image, (new_height, new_width)).astype(int) - expected).max() <= 1


def test_pixels_are_the_same_under_every_pillow():
    """Of fifty sizes; a Pillow whose arithmetic differs would give other vectors than the models' own scores."""
    digest = hashlib.sha256()
    random = np.random.default_rng(4)
    for height, width, new_height, new_width in random.integers(1, 120, (50, 4)).tolist():
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        digest.update(np.ascontiguousarray(resize(image, (new_height, new_width))).data)
    assert digest.hexdigest()[:16] == "7304266821268c37"


def test_shrinking_averages_what_it_drops():
    """Where OpenCV's bilinear would pick single pixels, a fine chequerboard becomes its mean."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = np.stack([board] * 3, axis=2).astype(np.uint8)
    inside = resize(image, (8, 8))[1:-1, 1:-1].astype(int)
    assert np.abs(inside - 128).max() <= 2


def test_right_size_already_is_left_alone():
    image = sample_image(64, 32)
    assert resize(image, (64, 32)) is image
