"""embed_frames: row i of frame k is box i of frame k, whatever the boxes are."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from reid_runtime import Embedder
from reid_runtime.errors import ImageError
from reid_runtime.images.boxes import crop_box

from ..models import DIMENSION
from ..sample_images import sample_image

FRAMES = [sample_image(40, 60, 1), sample_image(31, 17, 2), sample_image(1, 90, 3)]

coordinates = st.one_of(
    st.floats(-20, 110),
    st.floats(width=32),
    st.integers(-20, 110).map(lambda value: value / 2),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 0.49999999999999994, -0.0]),
)
boxes = st.lists(st.tuples(*[coordinates] * 4), max_size=6)
in_frames = st.lists(st.tuples(st.sampled_from(range(len(FRAMES))), boxes), max_size=4)


def pixels(frame, box):
    """The rule, in exact arithmetic: the crop of a box, None for one without pixels."""
    if not all(map(math.isfinite, box)):
        return None
    height, width = frame.shape[:2]
    left, top, right, bottom = (
        min(max(math.floor(Fraction(value) + Fraction(1, 2)), 0), side)
        for value, side in zip(box, [width, height, width, height], strict=True)
    )
    return frame[top:bottom, left:right] if right > left and bottom > top else None


@settings(max_examples=60, deadline=None)
@given(in_frames, st.sampled_from([np.float64, np.float32, list]))
@example([(0, [(10.4, 20.5, 49.5, 39.6), (-30, -1, 40, 50), (50, 30, 1e300, 4000), (0.49, 0.49, 0.51, 0.51)])], list)
def test_every_row_is_its_own_boxs(tiny, called, kind):
    frames = [FRAMES[index] for index, _ in called]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # boxes without pixels; and what is too large for float32 becomes infinite
        given_boxes = [boxes if kind is list else np.array(boxes, kind).reshape(-1, 4) for _, boxes in called]
        vectors, valid = tiny.embed_frames(frames, given_boxes, "rgb", return_valid=True)
    assert len(vectors) == len(valid) == len(called)
    for frame, boxes, rows, mask in zip(frames, given_boxes, vectors, valid, strict=True):
        assert rows.shape == (len(boxes), DIMENSION)
        assert rows.dtype == np.float32
        for box, row, real in zip(boxes, rows, mask, strict=True):
            corners = [float(value) for value in box]
            crop = pixels(frame, corners)
            assert real == (crop is not None)
            assert np.array_equal(crop_box(frame, corners), crop) if real else crop_box(frame, corners).size == 0
            expected = np.zeros(DIMENSION) if crop is None else tiny.embed([crop], channel_order="rgb")[0]
            assert np.array_equal(row, expected)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([np.int8, np.int32, np.int64, np.uint8, np.uint64, np.float16]).flatmap(
    lambda kind: arrays(kind, st.tuples(st.integers(0, 4), st.just(4)))
))  # fmt: skip
def test_a_box_may_be_of_any_kind_of_number(tiny, found):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(
            tiny.embed_boxes(FRAMES[0], found, "rgb"), tiny.embed_boxes(FRAMES[0], found.astype(np.float64), "rgb")
        )


def test_boxes_of_one_shape_share_a_batch_across_frames(tiny_model):
    embedder = Embedder.load(tiny_model)
    batches, run = [], embedder.backend.run
    embedder.backend.run = lambda images: (batches.append(len(images)), run(images))[1]
    embedder.embed_frames([FRAMES[0]] * 5, [[(0, 0, 10, 20), (10, 5, 20, 25)]] * 5, "rgb")
    assert batches == [10]


def test_long_lists_are_cut_out_in_parts(tiny_model, monkeypatch):
    monkeypatch.setattr("reid_runtime.embedder._BOXES", 3)
    embedder = Embedder.load(tiny_model)
    sizes, infer = [], embedder._inference.infer
    embedder._inference.infer = lambda shapes, cut: (sizes.append(len(shapes)), infer(shapes, cut))[1]
    boxes_by_frame = [[(x, 0, x + 9, 20) for x in range(count)] for count in range(5)]
    rows = embedder.embed_frames([FRAMES[0]] * 5, boxes_by_frame, "rgb")
    assert sizes == [3, 3, 3, 1]
    for each, boxes_of_it in zip(rows, boxes_by_frame, strict=True):
        assert np.array_equal(each, embedder.embed_boxes(FRAMES[0], boxes_of_it, "rgb"))


def test_a_stack_of_frames_is_several(tiny):
    stack = np.stack([sample_image(30, 40, seed) for seed in range(3)])
    boxes = np.array([[(0, 0, 9, 9)], [(3, 3, 30, 30)], [(5, 0, 9, 20)]], np.float32)
    rows = tiny.embed_frames(stack, boxes, "bgr")
    assert isinstance(rows, list)
    for frame, box, row in zip(stack, boxes, rows, strict=True):
        assert np.array_equal(row, tiny.embed_boxes(frame, box, "bgr"))


def test_no_frames(tiny):
    assert tiny.embed_frames([], [], "rgb") == []
    assert tiny.embed_frames((), (), "rgb", return_valid=True) == ([], [])
    assert [rows.shape for rows in tiny.embed_frames(FRAMES, [[], np.empty((0, 4)), []], "rgb")] == [(0, DIMENSION)] * 3


def test_frames_are_read_only_and_stay_as_they_are(tiny):
    frames = [frame.copy() for frame in FRAMES]
    for frame in frames:
        frame.flags.writeable = False
    tiny.embed_frames(frames, [[(0, 0, 40, 40)]] * 3, "bgr")
    assert all(map(np.array_equal, frames, FRAMES))


@pytest.mark.parametrize("found", [[], [[(0, 0, 9, 9)]] * 2, [[(0, 0, 9, 9)]] * 4, 7, None])
def test_as_many_arrays_of_boxes_as_frames(tiny, found):
    with pytest.raises(ImageError, match="an array of boxes for each of 3 frames, found"):
        tiny.embed_frames(FRAMES, found, "rgb")


@pytest.mark.parametrize(
    ("frame", "found", "reason"),
    [
        (FRAMES[0][:, :, 0], [(0, 0, 9, 9)], "uint8"),
        (FRAMES[0].astype(float), [(0, 0, 9, 9)], "uint8"),
        (FRAMES[0], [(0, 0, 9)], r"\(N, 4\)"),
        (FRAMES[0], [("a", "b", "c", "d")], r"\(N, 4\) numbers"),
        (FRAMES[0], [(0, 0, 9, 9), (1, 2)], r"\(N, 4\) numbers"),
        (FRAMES[0], [{"x": 0}], r"\(N, 4\) numbers"),
        (FRAMES[0], [("1", "2", "9", "9")], r"\(N, 4\) numbers.*found values of <U1"),
        (FRAMES[0], [(1, None, 9, 9)], r"\(N, 4\) numbers.*found values of object"),
        (FRAMES[0], [(1, 2, 9, 10**400)], r"\(N, 4\) numbers.*found values of object"),
        (FRAMES[0], [(1, 2, 9j, 9)], r"\(N, 4\) numbers.*found values of complex"),
        (FRAMES[0], np.ones((40, 60), bool), r"\(N, 4\) numbers.*found values of bool"),
        (FRAMES[0], np.ones((2, 4), "datetime64[s]"), r"\(N, 4\) numbers.*found values of datetime64"),
        (Image.fromarray(FRAMES[0]), [(0, 0, 9, 9)], "found a Pillow image: pass .*'rgb'"),
        ("frame.jpg", [(0, 0, 9, 9)], r"\(height, width, 3\) of uint8"),
        (None, [(0, 0, 9, 9)], "nothing was read, as cv2 says by None"),
    ],
)
def test_the_frame_at_fault_is_named(tiny, frame, found, reason):
    with pytest.raises(ImageError, match=rf"frame 1: .*{reason}"):
        tiny.embed_frames([FRAMES[0], frame], [[(0, 0, 9, 9)], found], "rgb")
    with pytest.raises(ImageError, match=reason):
        tiny.embed_boxes(frame, found, "rgb")


@pytest.mark.parametrize("frame", ["frame.jpg", b"frame"])
def test_a_path_is_no_frame(tiny, frame):
    for embed in (tiny.embed_boxes, tiny.embed_frames):
        with pytest.raises(ImageError, match=r"expected a frame as an array .* found (str|bytes)"):
            embed(frame, [(0, 0, 9, 9)], "rgb")


@pytest.mark.parametrize("frames", [FRAMES, tuple(FRAMES), np.stack([FRAMES[0]] * 3)])
def test_several_frames_are_not_one(tiny, frames):
    with pytest.raises(ImageError, match="found 3 frames: pass them and their boxes to embed_frames"):
        tiny.embed_boxes(frames, [[(0, 0, 9, 9)]] * 3, "rgb")
    with pytest.raises(ImageError, match=r"found one: pass \[frame\] and \[boxes\]"):
        tiny.embed_frames(FRAMES[0], [(0, 0, 9, 9)], "rgb")
