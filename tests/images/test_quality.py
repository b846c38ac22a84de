"""Reason codes: of images that are hardly worth a vector, and of no others."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageFilter

from reid_runtime.images.decode import load_image
from reid_runtime.images.quality import QualityPolicy, blur_of
from reid_runtime.jobs.embeddings import Embeddings, join

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


def damaged(height=128, sigma=0.0, contrast=1.0):
    image = Image.fromarray(sample_image(128, 64)).resize((height // 2, height))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(sigma)), np.float32)
    return (128 + contrast * (pixels - 128)).astype(np.uint8)


def test_quality_falls_with_size_blur_and_contrast():
    judge = QualityPolicy().judge
    assert judge(damaged()) == (1.0, ())
    for name, amounts in (("height", (128, 64, 32, 10)), ("sigma", (0, 3, 4)), ("contrast", (1, 0.1, 0.05, 0.01))):
        qualities = [judge(damaged(**{name: amount}))[0] for amount in amounts]
        assert qualities == sorted(qualities, reverse=True), name
        assert qualities[-1] < 0.4 < 0.9 < qualities[0], name
    assert judge(damaged(sigma=4))[1] == ("blurred",)
    assert judge(FLAT)[0] == 0


def test_blur_is_measured_at_the_scale_of_a_crop():
    large = Image.fromarray(damaged(sigma=3)).resize((512, 1024), Image.Resampling.BICUBIC)
    assert abs(blur_of(np.asarray(large)) - blur_of(damaged(sigma=3))) < 0.1
    assert blur_of(damaged()) < 0.6 < blur_of(damaged(sigma=4))


def test_no_crop_of_a_data_set_has_any(market1501, caviar4reid):
    for folder, step in ((market1501 / "query", 40), (caviar4reid, 20)):
        paths = sorted(folder.glob("*.jpg"))[::step]
        assert len(paths) > 50
        assert [QualityPolicy().reasons(load_image(path)) for path in paths] == [()] * len(paths)


def test_files_of_embeddings_hold_quality_and_codes(tiny):
    rows = Embeddings.from_results(tiny, ["crop", "flat"], list(tiny.stream([CROP, FLAT], "rgb")))
    assert rows.reasons.tolist() == ["", "blank"]
    np.testing.assert_allclose(rows.quality, [QualityPolicy().judge(CROP)[0], 0])
    earlier = dataclasses.replace(rows, quality=None, reasons=None)
    for tables in ([earlier, rows], [rows, earlier]):
        joined = join(tables)
        assert (joined.reasons == "blank").sum() == 1
        assert np.isnan(joined.quality).sum() == 2
    assert join([earlier, earlier]).quality is None
