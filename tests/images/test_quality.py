"""Reason codes: of images that are hardly worth a vector, and of no others."""

import numpy as np
import pytest

from reid_runtime.images.decode import load_image
from reid_runtime.images.quality import QualityPolicy

from ..sample_images import encode, sample_image

CROP = sample_image(96, 48)
FLAT = np.full_like(CROP, 90)


@pytest.mark.parametrize(
    ("image", "codes"),
    [
        (CROP, ()),
        (CROP[:8, :64], ()),
        (CROP[:7, :40], ("too_small",)),
        (CROP[:90, :11], ("extreme_aspect",)),
        (CROP[:90, :1], ("too_small", "extreme_aspect")),
        (CROP[:1, :1], ("too_small", "blank")),
        (FLAT, ("blank",)),
        (FLAT + (np.arange(48) % 2).astype(np.uint8)[:, None], ("blank",)),
        ((FLAT + CROP // 25).astype(np.uint8), ("low_contrast",)),
        ((FLAT + CROP // 5).astype(np.uint8), ()),
        (np.dstack([FLAT[..., 0], CROP[..., 1], FLAT[..., 0]]), ()),
    ],
)
def test_codes(image, codes):
    assert QualityPolicy().reasons(image) == codes
    assert QualityPolicy().reasons(image[:, ::-1].transpose(1, 0, 2)) == codes
    if "small" not in codes:
        assert QualityPolicy().reasons(load_image(encode(image, "JPEG", quality=95, subsampling=0))) == codes


def test_no_crop_of_a_data_set_has_any(market1501, caviar4reid):
    for folder, step in ((market1501 / "query", 40), (caviar4reid, 20)):
        paths = sorted(folder.glob("*.jpg"))[::step]
        assert len(paths) > 50
        assert [QualityPolicy().reasons(load_image(path)) for path in paths] == [()] * len(paths)
