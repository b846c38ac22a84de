"""Every kind of image, good and bad: what it becomes, or why it is refused."""

import io
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from reid_runtime.errors import ImageError
from reid_runtime.images import decode as images
from reid_runtime.images.decode import decode_image, load_image
from reid_runtime.images.limits import ImageLimits

from ..sample_images import FORMATS, UPRIGHT, encode, exif, png, sample_image

RGB = sample_image()
GREY = RGB[:, :, 0].copy()
OTHER = sample_image(seed=9)
LOSSLESS = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True, "exact": True}} | {
    name: {} for name in ("PNG", "BMP", "TIFF")
}
NEAR = {"JPEG": 4, "PNG": 0, "BMP": 0, "WEBP": 0, "TIFF": 0}
"""How far a level may be from what was drawn, by format."""
STRIPES = np.add.outer(np.arange(64), np.arange(32)) % 3 == 0


def over_grey(colours, alpha):
    """Colours laid over mid-grey, rounded, as (H, W, 3) uint8."""
    share = alpha[:, :, None] / 255
    return np.floor(colours * share + 128 * (1 - share) + 0.5).astype(np.uint8)


def stack(grey):
    return np.stack([grey] * 3, axis=2)


def assert_near(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert actual.dtype == np.uint8
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= tolerance


@pytest.mark.parametrize("file_format", FORMATS)
def test_colours_come_back_as_drawn(file_format, tmp_path):
    content = encode(RGB, file_format, **LOSSLESS[file_format])
    path = tmp_path / "misnamed.gif"
    path.write_bytes(content)
    for source in (content, bytearray(content), path, str(path), Image.open(path)):
        assert_near(load_image(source), RGB, NEAR[file_format])


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("shape", [(40, 1), (1, 40), (1, 1)])
def test_one_pixel_wide_or_high(file_format, shape):
    drawn = sample_image(*shape)
    assert_near(load_image(encode(drawn, file_format, **LOSSLESS[file_format])), drawn, 2 * NEAR[file_format])


@pytest.mark.parametrize("file_format", FORMATS)
def test_greyscale(file_format):
    content = encode(Image.fromarray(GREY), file_format, **LOSSLESS[file_format])
    assert_near(load_image(content), stack(GREY), NEAR[file_format])


@pytest.mark.parametrize("file_format", ["PNG", "BMP"])
def test_bilevel_and_palette(file_format):
    assert np.array_equal(load_image(encode(Image.fromarray(STRIPES), file_format)), stack(STRIPES * np.uint8(255)))
    reduced = Image.fromarray(RGB).quantize(6)
    assert np.array_equal(load_image(encode(reduced, file_format)), np.asarray(reduced.convert("RGB")))


def test_palette_with_transparency():
    reduced = Image.fromarray(np.where(STRIPES, 1, 0).astype(np.uint8)).convert("P")
    reduced.putpalette([200, 10, 20, 30, 140, 50])
    colours = np.where(STRIPES[:, :, None], (30, 140, 50), (200, 10, 20))
    by_index = encode(reduced, "PNG", transparency=1)
    assert np.array_equal(load_image(by_index), over_grey(colours, np.where(STRIPES, 0, 255)))
    by_table = encode(reduced, "PNG", transparency=bytes([64, 255]))
    assert_near(load_image(by_table), over_grey(colours, np.where(STRIPES, 255, 64)), 1)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_alpha_is_laid_over_mid_grey(file_format):
    alpha = np.where(STRIPES, np.arange(32, dtype=np.uint8) * 8, 255).astype(np.uint8)
    alpha[:8], alpha[8:16] = 0, 255
    actual = load_image(encode(np.dstack([RGB, alpha]), file_format, **LOSSLESS[file_format]))
    assert_near(actual, over_grey(RGB, alpha), 1)
    assert (actual[:8] == 128).all()
    assert np.array_equal(actual[8:16], RGB[8:16])


def test_greyscale_with_alpha():
    alpha = np.where(STRIPES, 0, 255).astype(np.uint8)
    actual = load_image(encode(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]), "PNG"))
    assert np.array_equal(actual, over_grey(stack(GREY), alpha))


def test_transparent_colour():
    content = encode(Image.fromarray(RGB), "PNG", transparency=tuple(RGB[0, 0].tolist()))
    same = np.all(RGB[0, 0] == RGB, axis=2, keepdims=True)
    expected = np.where(same, np.uint8(128), RGB)
    assert np.array_equal(load_image(content), expected)


def test_16_bits_keep_the_upper_8():
    levels = np.random.default_rng(1).integers(0, 65536, (6, 5, 4)).astype(">u2")
    grey, colour, pair, four = levels[:, :, 0], levels[:, :, :3], levels[:, :, :2].copy(), levels.copy()
    pair[:, :, 1] = four[:, :, 3] = 65535
    upper = (levels >> 8).astype(np.uint8)
    for values, colour_type, expected in (
        (grey, 0, stack(upper[:, :, 0])),
        (colour, 2, upper[:, :, :3]),
        (pair, 4, stack(upper[:, :, 0])),
        (four, 6, upper[:, :, :3]),
    ):
        assert np.array_equal(load_image(png(values.tobytes(), 5, 6, 16, colour_type)), expected)


def test_cmyk_jpeg():
    inks = np.zeros((16, 64, 4), np.uint8)
    for row, ink in enumerate([(0, 0, 0, 0), (255, 0, 0, 0), (0, 128, 64, 0), (100, 50, 0, 120)]):
        inks[:, 16 * row : 16 * row + 16] = ink
    content = encode(Image.frombytes("CMYK", (64, 16), inks.tobytes()), "JPEG", quality=100)
    light = 255.0 - inks
    assert_near(load_image(content), np.rint(light[:, :, :3] * light[:, :, 3:] / 255).astype(np.uint8), 3)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(file_format, orientation):
    content = encode(RGB, file_format, exif=exif(orientation), **LOSSLESS[file_format])
    for source in (content, Image.open(io.BytesIO(content))):
        assert_near(load_image(source), UPRIGHT[orientation](RGB), NEAR[file_format])


def test_damaged_exif_is_ignored():
    content = encode(RGB, "JPEG", exif=exif(6), quality=100, subsampling=0)
    start = content.index(b"Exif\0\0") + 6
    damages = [b"\0" * 8, b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x04", content[start : start + 8][::-1]]
    damaged = [content[:start] + damage + content[start + len(damage) :] for damage in damages]
    header, tag = b"Exif\0\0MM\0*\0\0\0\x08", b"\0\1\x01\x12"
    for values in (header[:11], header, header + tag + b"\0\2\0\0\0\3up\0\0" + bytes(4)):
        damaged.append(encode(RGB, "JPEG", exif=values, quality=100, subsampling=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for odd in damaged:
            assert_near(load_image(odd), RGB, NEAR["JPEG"])


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "MPO", "TIFF"])
def test_first_frame_of_several(file_format):
    options = LOSSLESS["JPEG" if file_format == "MPO" else file_format]
    content = encode(RGB, file_format, save_all=True, append_images=[Image.fromarray(OTHER)], **options)
    several = Image.open(io.BytesIO(content))
    assert (several.format, several.n_frames) == (file_format, 2)
    assert_near(load_image(content), RGB, NEAR.get(file_format, NEAR["JPEG"]))


VARIANTS = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True, "exif": exif(6)}),
    "png": ("PNG", {}),
    "apng": ("PNG", {"save_all": True, "append_images": [Image.fromarray(OTHER)]}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {}),
    "lossless": ("WEBP", {"lossless": True}),
    "animated": ("WEBP", {"save_all": True, "append_images": [Image.fromarray(OTHER)]}),
    "tiff": ("TIFF", {}),
    "lzw": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_truncated_is_an_error_and_never_partly_grey(kind):
    file_format, options = VARIANTS[kind]
    content = encode(RGB, file_format, **options)
    complete = load_image(content)
    for end in sorted({1, 2, 3, 12, 16, 30, *range(1, len(content), 17), *range(len(content) - 8, len(content))}):
        try:
            actual = load_image(content[:end])
        except ImageError:
            continue
        # Only a PNG without the checksum of its last, empty chunk has lost nothing.
        assert file_format == "PNG"
        assert len(content) - end <= 4
        assert np.array_equal(actual, complete)


def test_jpeg_with_a_tail_of_zeros():
    content = encode(np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8), "JPEG", exif=exif(1))
    for kept in (0.3, 0.6, 0.9):
        end = int(len(content) * kept)
        with pytest.raises(ImageError, match="corrupt or truncated"):
            load_image(content[:end] + bytes(len(content) - end))


def test_png_damage_anywhere_is_found():
    content, rng = encode(RGB, "PNG"), np.random.default_rng(2)
    for offset in rng.choice(len(content) - 12, 120, replace=False).tolist():
        damaged = bytearray(content)
        damaged[offset] ^= 1 << int(rng.integers(8))
        with pytest.raises(ImageError):
            load_image(bytes(damaged))


@pytest.mark.parametrize("kind", VARIANTS)
def test_damage_is_an_image_error_or_decodes(kind):
    file_format, options = VARIANTS[kind]
    content, rng = encode(RGB, file_format, **options), np.random.default_rng(3)
    refused = 0
    for trial in range(150):
        damaged = bytearray(content)
        offset = int(rng.integers(len(content) if trial % 2 else 64))
        damaged[offset : offset + 16] = rng.bytes(min(16, len(content) - offset))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert load_image(bytes(damaged)).dtype == np.uint8
            except ImageError:
                refused += 1
    assert refused


def test_decoders_errors_are_image_errors(monkeypatch):
    def stumble(image):
        raise KeyError("anything at all")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", stumble)
    with pytest.raises(ImageError, match="corrupt or truncated"):
        load_image(encode(RGB, "PNG"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no image, whatever its name says\n" * 20, "not a JPEG, PNG, BMP, WebP or TIFF"),
        (encode(RGB, "GIF"), "not a JPEG, PNG, BMP, WebP or TIFF"),
        (encode(RGB, "TIFF")[:8] + b"\xff" * 400, "corrupt or truncated"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not a JPEG, PNG, BMP, WebP or TIFF"),
        (b"BMW is a car, and this is a text", "corrupt or truncated"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 400, "corrupt or truncated"),
        (b"\x89PNG\r\n\x1a\n" + b"\xaa" * 400, "corrupt or truncated"),
        (b"RIFF\x90\1\0\0WEBPVP8 " + b"\xaa" * 400, "corrupt or truncated"),
    ],
)
def test_not_an_image(content, reason, tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(ImageError, match=reason):
            load_image(source)


def test_paths_that_are_not_files(tmp_path, monkeypatch):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "x.png").write_bytes(encode(RGB, "PNG"))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images.os, "open", refuse)  # a mode of 0 does not stop the administrator
    for name, reason in (
        ("folder.jpg", "not a file"),
        ("pipe.jpg", "not a file"),
        ("link.jpg", "No such file"),
        ("absent.jpg", "No such file"),
        ("n" * 300 + ".jpg", "too long"),
        ("nul\0.jpg", "cannot be read"),
        ("x.png", "cannot be read: Permission denied"),
    ):
        with pytest.raises(ImageError, match=reason):
            load_image(tmp_path / name)


def test_arrays_must_state_their_channel_order():
    assert np.array_equal(load_image(RGB, "rgb"), RGB)
    assert np.array_equal(load_image(RGB[:, :, ::-1], "bgr"), RGB)
    assert load_image(RGB[::2, ::-1], "bgr").flags.c_contiguous
    for order in (None, "RGB", "gbr"):
        with pytest.raises(ImageError, match="never guessed"):
            load_image(RGB, order)


@pytest.mark.parametrize("bad", [GREY, RGB.astype(np.float32), np.dstack([RGB, GREY]), RGB[:0], RGB[:, :0]])
def test_arrays_of_another_kind(bad):
    with pytest.raises(ImageError, match="expected"):
        load_image(bad, "rgb")


@pytest.mark.parametrize("source", [None, 3, 2.5, ["x.jpg"]])
def test_sources_of_another_kind(source):
    with pytest.raises(ImageError, match=f"found {type(source).__name__}"):
        load_image(source)


def test_pillow_images(tmp_path):
    assert np.array_equal(load_image(Image.fromarray(RGB)), RGB)
    path = tmp_path / "x.bmp"
    path.write_bytes(encode(RGB, "BMP")[:-100])
    for bad, reason in (
        (Image.open(path), "corrupt or truncated"),
        (Image.new("F", (4, 4)), "no defined range"),
        (Image.new("I", (4, 4)), "no defined range"),
        (Image.new("RGB", (0, 4)), "at least one pixel"),
    ):
        with pytest.raises(ImageError, match=reason):
            load_image(bad)


def test_jpeg_whose_only_end_marker_is_its_thumbnails():
    thumbnail = b"Exif\0\0" + encode(sample_image(16, 16), "JPEG")
    content = encode(OTHER, "JPEG", exif=thumbnail)
    assert load_image(content).shape == OTHER.shape
    with pytest.raises(ImageError, match="the end marker is missing"):
        load_image(content[:-200] + bytes(200))


@pytest.mark.parametrize("file_format", FORMATS)
def test_too_little_memory_is_not_called_damage(monkeypatch, file_format):
    def starved(*_):
        raise MemoryError

    content = encode(RGB, file_format)
    monkeypatch.setattr(images, "_to_rgb", starved)
    with pytest.raises(ImageError, match="not enough memory to decode it") as kept:
        load_image(content)
    assert "corrupt" not in str(kept.value)


@pytest.mark.parametrize(("low", "high"), [(29_300, 30_300), (0, 4095), (0, 16_000), (65_000, 65_535)])
def test_16_bit_grey_of_a_narrow_range_is_scaled_to_it(low, high):
    shape = np.linspace(0, 1, 64 * 32).reshape(64, 32)
    values = (low + shape * (high - low)).astype(">u2")
    values[:3, 0] = 65535, 0, 65535  # dead pixels
    for content in (png(values.tobytes(), 32, 64, 16, 0), encode(Image.fromarray(values.astype(np.uint16)), "TIFF")):
        decoded = decode_image(content, None, ImageLimits())
        assert decoded.reasons == ("range_scaled",)
        assert_near(decoded.pixels[:, 1:], stack(np.rint(shape * 255).astype(np.uint8))[:, 1:], 3)


def test_16_bits_that_are_cut_are_named():
    flat, full = np.full((8, 8, 3), 30_000, ">u2"), np.random.default_rng(1).integers(0, 65536, (8, 8, 3)).astype(">u2")
    for values, colour_type in ((full, 2), (full[..., 0], 0), (flat[..., 0], 0)):
        assert decode_image(png(values.tobytes(), 8, 8, 16, colour_type), None, ImageLimits()).reasons == (
            "upper_8_bits",
        )
    with pytest.raises(ImageError, match="save it as 16-bit greyscale"):
        load_image(png((full // 32).astype(">u2").tobytes(), 8, 8, 16, 2))
    assert decode_image(encode(RGB, "PNG"), None, ImageLimits()).reasons == ()


@pytest.mark.parametrize("compression", ["jpeg", "group4"])
def test_tiff_in_which_lost_data_go_unseen_is_refused(compression):
    image = Image.fromarray(RGB).convert("1" if compression == "group4" else "RGB")
    with pytest.raises(ImageError, match=r"a TIFF compressed by .*, whose lost data go unseen: save it as PNG"):
        load_image(encode(image, "TIFF", compression=compression))


@pytest.mark.parametrize(
    ("source", "edit"),
    [
        (RGB / 255, r"float64: pass array\.astype\('uint8'\), times 255"),
        (RGB[:, :, 0], r"pass numpy\.dstack\(\[array\] \* 3\)"),
        (np.dstack([RGB, RGB[:, :, 0]]), r"pass array\[:, :, :3\]"),
        (RGB.transpose(2, 0, 1), r"pass array\.transpose\(1, 2, 0\)"),
        (io.BytesIO(b"x"), r"found BytesIO; pass what it reads, file\.read\(\)"),
        ("https://example.com/a.jpg", "it is a URL"),
    ],
)
def test_refusals_name_the_edit(source, edit):
    with pytest.raises(ImageError, match=edit):
        load_image(source, "rgb")
