import numpy as np
import pytest

from reid_runtime.images.resize import LongestSide
from training.data.augmentation import augment, contact_sheet, moved
from training.data.cutout import cut_out, largest_extent
from training.recipe import Augmentation


def test_extent_grows_from_nothing_to_its_final_share():
    assert largest_extent(0.0, 0.5) == 0.0
    assert largest_extent(0.5, 0.5) == 0.25
    assert largest_extent(2.0, 0.5) == 0.5


def test_in_thirds_it_is_a_third_of_each_side_times_the_stage():
    seen = [largest_extent(progress, 1.0, "thirds") for progress in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)]
    assert seen == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert largest_extent(0.4, 0.6, "thirds") == pytest.approx(0.4)


def test_constant_it_has_its_final_share_from_the_start():
    assert [largest_extent(progress, 0.6, "constant") for progress in (0.0, 0.3, 1.0)] == [0.6, 0.6, 0.6]


def test_noise_stays_inside_one_rectangle_of_at_most_the_extent():
    image = np.full((60, 30, 3), 100, np.uint8)
    seen = 0
    for seed in range(200):
        noisy = cut_out(image, 0.5, np.random.default_rng(seed))
        changed = np.argwhere((noisy != image).any(axis=2))
        if len(changed) == 0:
            continue
        height, width = changed.max(axis=0) - changed.min(axis=0) + 1
        assert height <= 30
        assert width <= 15
        seen = max(seen, height)
        inside = noisy[changed[:, 0].min() :, changed[:, 1].min() :][:height, :width]
        if height * width > 100:
            assert inside.std() > 50, "noise is per pixel, not one grey"
    assert seen > 20, "the region's size is random up to the extent"
    assert (image == 100).all(), "the crop itself is left as it was"


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_the_smallest_crops_survive(shape):
    image = np.zeros((*shape, 3), np.uint8)
    assert cut_out(image, 1.0, np.random.default_rng(0)).shape == image.shape


def test_flips_and_crops_are_options():
    image = np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)
    rule = LongestSide(40)

    def shown(**choices):
        return [
            augment(image, rule, Augmentation(**choices), 0.0, np.random.default_rng(seed)).tobytes()
            for seed in range(20)
        ]

    assert set(shown()) == {image.tobytes()}
    assert set(shown(flip=True)) == {image.tobytes(), image[:, ::-1].tobytes()}
    assert len(set(shown(crop=0.2))) > 10
    noisy = augment(image, rule, Augmentation(), 0.5, np.random.default_rng(1))
    assert noisy.shape == image.shape
    assert noisy.tobytes() != image.tobytes()


def test_a_moved_window_keeps_its_size_and_repeats_the_edge():
    image = np.arange(10, dtype=np.uint8)[:, None, None].repeat(6, axis=1).repeat(3, axis=2)
    for seed in range(20):
        window = moved(image, 0.3, np.random.default_rng(seed))
        assert window.shape == image.shape
        column = window[:, 0, 0].astype(int)
        assert set(np.diff(column)) <= {0, 1}
        assert abs(column[5] - 5) <= 3


def test_the_contact_sheet_shows_every_image_in_its_place():
    colours = [[np.full((20, 10, 3), 40 * row + 10 * column, np.uint8) for column in range(3)] for row in range(2)]
    sheet = np.asarray(contact_sheet(colours, height=20))
    assert sheet.shape[0] == 2 * (20 + 6) + 6
    for row in range(2):
        for column in range(3):
            middle = sheet[6 + 10 + row * 26, 6 + 5 + column * 16]
            assert (middle == 40 * row + 10 * column).all()
