import numpy as np
import pytest

from training.cutout import cut_out, largest_extent


def test_extent_grows_from_nothing_to_its_final_share():
    assert largest_extent(0.0, 0.5) == 0.0
    assert largest_extent(0.5, 0.5) == 0.25
    assert largest_extent(2.0, 0.5) == 0.5


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
