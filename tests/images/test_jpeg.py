"""JPEGs with all of their data decode as ever; those that lack some are refused, wherever and however they lack it."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from reid_runtime.errors import ImageError
from reid_runtime.images.decode import load_image
from reid_runtime.images.limits import ImageLimits

from ..sample_images import encode

NOISE = np.random.default_rng(0).integers(0, 256, (96, 48, 3), dtype=np.uint8)
ENCODINGS = {
    "baseline": {},
    "grey": {},
    "full colour": {"subsampling": 0, "optimize": True},
    "restarts": {"restart_marker_blocks": 1},
    "progressive": {"progressive": True},
    "progressive grey": {"progressive": True},
    "progressive restarts": {"progressive": True, "restart_marker_rows": 1},
}
END = b"\xff\xd9"


def jpeg(kind, image=NOISE):
    return encode(Image.fromarray(image).convert("L" if "grey" in kind else "RGB"), "JPEG", **ENCODINGS[kind])


def stretches(content):
    """(start, end) of the entropy-coded data of each scan and restart interval."""
    starts = [match.end() + 2 * content[match.end() + 2] + 6 for match in re.finditer(rb"\xff\xda", content)]
    ends = [match.start() for match in re.finditer(rb"\xff[^\x00\xff]", content)]
    starts += [end + 2 for end in ends if 0xD0 <= content[end + 1] <= 0xD7]
    return [(start, min(end for end in ends if end >= start)) for start in sorted(starts)]


@pytest.mark.parametrize("kind", ENCODINGS)
@pytest.mark.parametrize("shape", [(96, 48), (17, 33), (1, 1), (8, 200)])
def test_complete_data_decode_as_pillow_decodes_them(kind, shape):
    for image in (NOISE, np.full_like(NOISE, 90)):
        content = jpeg(kind, np.resize(image, (*shape, 3)))
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        start, end = stretches(content)[-1]
        few = content[:end] + bytes(3) + content[end:]  # some cameras put them there
        for complete in (content, content + bytes(4096), content[:-2] + b"\xff\xff\xff\xd9", few):
            assert np.array_equal(load_image(complete), expected)
        assert start < end


@pytest.mark.parametrize("kind", ENCODINGS)
def test_data_lost_anywhere_are_an_error(kind):
    content = jpeg(kind)
    for start in range(stretches(content)[0][0], len(content) - 400, 211):
        tail = bytes(len(content) - start - 2)
        half = content[len(content) - len(tail) // 2 :]
        for damaged in (content[:start] + END, content[:start] + tail + END, content[:start] + half):
            with pytest.raises(ImageError):
                load_image(damaged)


@pytest.mark.parametrize("kind", ENCODINGS)
def test_too_few_or_too_many_data_of_any_scan_or_interval_are_an_error(kind):
    content = jpeg(kind)
    for start, end in stretches(content):
        if end - start > 40:  # shorter ones are one bit of each block
            half = (start + end) // 2
            for damaged in (content[:half] + content[end:], content[:end] + content[half:end] + content[end:]):
                with pytest.raises(ImageError):
                    load_image(damaged)


@pytest.mark.parametrize("kind", ["restarts", "progressive restarts"])
def test_lost_or_exchanged_restart_intervals_are_an_error(kind):
    content = jpeg(kind)
    marks = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", content)]
    for first, last in ((0, 1), (1, 3), (2, 6)):
        with pytest.raises(ImageError, match=r"restart intervals are missing|data are missing"):
            load_image(content[: marks[first]] + content[marks[last] :])
    exchanged = content[: marks[0]] + content[marks[1] : marks[2]] + content[marks[0] : marks[1]] + content[marks[2] :]
    eight = content[: marks[0]] + content[marks[8] :] if kind == "restarts" else content[: marks[2]] + END
    for damaged in (exchanged, eight):  # eight of them lost, the numbers that are left look right
        with pytest.raises(ImageError):
            load_image(damaged)


@pytest.mark.parametrize("kind", ["progressive", "progressive grey"])
def test_every_scan_is_needed(kind):
    content = jpeg(kind)
    starts = [match.start() for match in re.finditer(rb"\xff\xda", content)]
    ends = [*starts[1:], len(content) - 2]
    for start, end in zip(starts, ends, strict=True):
        with pytest.raises(ImageError, match="scans are missing"):
            load_image(content[:start] + content[end:])


def test_costs_beyond_the_limits_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr("reid_runtime.images.decode.load_jpeg", None)
    content = jpeg("progressive grey")
    last = content[content.rindex(b"\xff\xda") :][:10] + b"\0"  # an empty refinement
    for costly, reason in (
        (content[:-2] + last.replace(b"\x10", b"\x00") * 100 + END, "more than 100 scans"),
        (content[:2] + (b"\xff\xfe\xff\xff" + bytes(65533)) * 130 + content[2:], "bytes before the image"),
        (content[:2] + b"\xff" * 5000 + content[2:], "a marker is missing"),
        (jpeg("restarts")[:-2] + b"".join(bytes((255, 0xD0 + n % 8)) for n in range(100_001)) + END, "restart"),
        (content.replace(b"\xff\xc2", b"\xff\xc9", 1), "unexpected marker c9"),
    ):
        with pytest.raises(ImageError, match=reason):
            load_image(costly)
    monkeypatch.undo()
    assert load_image(content, limits=ImageLimits(max_scans=content.count(b"\xff\xda"))).shape == NOISE.shape
    with pytest.raises(ImageError, match="scans"):
        load_image(content, limits=ImageLimits(max_scans=content.count(b"\xff\xda") - 1))
