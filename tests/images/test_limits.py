"""Images that are larger or costlier than the limits are refused before they are decoded."""

import warnings

import numpy as np
import pytest
from PIL import Image

from reid_runtime.errors import ImageError
from reid_runtime.images import decode as images
from reid_runtime.images.decode import load_image
from reid_runtime.images.limits import ImageLimits, changed_limits

from ..sample_images import FORMATS, claiming, encode, run_lengths, sample_image

RGB = sample_image()
GREY = RGB[:, :, 0].copy()


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("side", [9_000, 16_000, 30_000])  # Pillow passes the first, warns of the second
def test_bomb_is_refused_undecoded_and_without_a_warning(file_format, side):
    if file_format == "WEBP":
        side = min(side, 16_383)  # the most that the format can say
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="more than 64,000,000 pixels"):
            load_image(claiming(file_format, side, side))


def test_largest_image_is_exact():
    limits = ImageLimits(max_pixels=64 * 32)
    assert load_image(encode(RGB, "PNG"), limits=limits).shape == (64, 32, 3)
    with pytest.raises(ImageError, match="65x32"):
        load_image(encode(sample_image(32, 65), "PNG"), limits=limits)


def test_limits_that_are_set(tmp_path):
    content = encode(RGB, "PNG")
    path = tmp_path / "x.png"
    path.write_bytes(content)
    for source in (content, path):
        assert load_image(source, limits=ImageLimits(max_bytes=len(content), min_side=32)).shape == (64, 32, 3)
        for limits, reason in (
            (ImageLimits(max_bytes=len(content) - 1), "bytes are more than"),
            (ImageLimits(min_side=33), "32x64 is too small: expected at least 33"),
        ):
            with pytest.raises(ImageError, match=reason):
                load_image(source, limits=limits)
    with pytest.raises(ImageError, match="too small"):
        load_image(RGB, "rgb", ImageLimits(min_side=33))


def test_kinds_that_cost_more_than_their_pixels(monkeypatch):
    monkeypatch.setattr(images, "_to_rgb", None)
    limits = ImageLimits(max_pixels=2 * 64 * 32 - 1)
    many = encode(RGB, "PNG")
    for content, reason in (
        (encode(RGB, "WEBP"), "count twice"),
        (encode(RGB, "TIFF"), "count twice"),
        (encode(np.dstack([RGB, GREY]), "PNG"), "count twice"),
        (encode(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "count twice"),
        (encode(RGB, "JPEG", progressive=True), "count twice"),
        (many[:33] + b"\0\0\0\0teSt\x41\x42\x43\x44" * 50_000 + many[33:], "more than 50,000 chunks"),
        (claiming("JPEG", 7000, 7000), "bytes cannot hold 7000x7000"),
        (claiming("PNG", 7000, 7000), "bytes cannot hold 7000x7000"),
        (run_lengths(16_000, 250), "in run lengths"),
    ):
        with pytest.raises(ImageError, match=reason):
            load_image(content, limits=limits if reason == "count twice" else ImageLimits())


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (repr(ImageLimits()), "min_side 1, now 9"),
        (repr(ImageLimits(min_side=9)), ""),
        ("ImageLimits(min_side=9)", ""),
        ("", "min_side 1, now 9"),
        (repr(ImageLimits(max_bytes=7)), "max_bytes 7, now 268435456; min_side 1, now 9"),
    ],
)
def test_changed_limits_are_named_one_by_one(before, words):
    """What an earlier version did not know has its default."""
    assert changed_limits(before, repr(ImageLimits(min_side=9))) == words
