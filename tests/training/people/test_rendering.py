"""Crops out of the real assets."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from training.people.assets import Assets
from training.people.crop import Studio
from training.people.errors import PeopleError

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def studio(people3d, tmp_path_factory):
    return Studio(Assets(people3d, tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def crops(studio):
    return [studio.crop(seed, view, view) for seed in range(40, 46) for view in range(2)]


def pixels(crop):
    return np.asarray(Image.open(io.BytesIO(crop.image)))


def test_a_crop_follows_from_seed_and_view_alone(studio, crops, people3d, tmp_path):
    alone = Studio(Assets(people3d, tmp_path)).crop(43, 1, 1)
    assert alone.image == crops[7].image
    assert alone.facts == crops[7].facts
    np.testing.assert_array_equal(alone.mask, crops[7].mask)
    assert len({hashlib.sha256(crop.image).hexdigest() for crop in crops}) == len(crops)


def test_crops_show_a_person_at_their_own_aspect(crops):
    for crop in crops:
        image = pixels(crop)
        assert image.shape[:2] == crop.mask.shape == (crop.facts["height"], crop.facts["width"])
        assert 0.02 < crop.mask.mean() < 0.95
        rows, columns = np.flatnonzero(crop.mask.any(axis=1)), np.flatnonzero(crop.mask.any(axis=0))
        assert np.ptp(rows) > 0.3 * len(image)
        assert np.ptp(columns) > 0.2 * image.shape[1]


def test_no_crop_is_black_or_white(crops):
    means = [pixels(crop).mean() for crop in crops]
    assert min(means) > 35
    assert max(means) < 225
    assert min(pixels(crop).std() for crop in crops) > 8


def test_a_folder_without_assets_is_named(tmp_path):
    with pytest.raises(PeopleError, match=r"has no assets.*fetch"):
        Assets(tmp_path)
