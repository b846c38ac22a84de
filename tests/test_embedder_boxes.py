"""embed_boxes: row i is box i, whatever the box."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.errors import ImageError
from reid_runtime.images.boxes import read_frame

from .models import DIMENSION
from .sample_images import sample_image

FRAME = sample_image(120, 200)
INF, NAN = np.inf, np.nan


@pytest.fixture
def embedder(tiny_model):
    """A fresh one: it counts."""
    return Embedder.load(tiny_model)


def crops(embedder, *corners):
    return embedder.embed([FRAME[y1:y2, x1:x2] for x1, y1, x2, y2 in corners], channel_order="rgb")


def test_boxes_are_crops(embedder):
    boxes = [(10, 20, 50, 100), (0, 0, 200, 120), (199, 119, 200, 120), (60, 3, 71, 118)]
    for kind in (np.int32, np.int64, np.float32, np.float64, list):
        given = boxes if kind is list else np.array(boxes, kind)
        assert np.array_equal(embedder.embed_boxes(FRAME, given, "rgb"), crops(embedder, *boxes))
    assert np.array_equal(embedder.embed_boxes(FRAME[:, :, ::-1], boxes, "bgr"), crops(embedder, *boxes))
    assert embedder.empty_boxes == 0


EMPTY = [
    (300, 20, 350, 60), (-50, 20, -10, 60), (200, 0, 260, 60), (10, 20, 10, 60), (10.1, 20, 10.2, 60),
    (10, 20, 50, 20), (50, 60, 10, 20), (50, 20, 10, 60), (10, 60, 50, 20), (10, 130, 50, 180),
    (NAN, 20, 50, 60), (10, 20, INF, 60), (-INF, -INF, INF, INF),
]  # fmt: skip


@pytest.mark.parametrize("box", EMPTY)
def test_box_without_pixels_is_a_zero_row(embedder, box):
    with pytest.warns(UserWarning, match="1 box has no pixels"):
        vectors, valid = embedder.embed_boxes(FRAME, [box], "rgb", return_valid=True)
    assert valid.tolist() == [False]
    assert np.array_equal(vectors, np.zeros((1, DIMENSION)))


def test_rows_stay_with_their_boxes_among_empty_ones(embedder):
    good = [(10, 20, 50, 100), (0, 0, 30, 90), (60, 3, 71, 118), (100, 20, 140, 100)]
    boxes = [EMPTY[0], good[0], good[1], *EMPTY[1:9], good[2], EMPTY[12], good[3]]
    with pytest.warns(UserWarning, match="10 boxes"):
        vectors, valid = embedder.embed_boxes(FRAME, boxes, "rgb", return_valid=True)
    assert np.flatnonzero(valid).tolist() == [1, 2, 11, 13]
    assert np.array_equal(vectors[valid], crops(embedder, *good))
    assert not vectors[~valid].any()


def test_empty_boxes_are_warned_of_once_and_counted(embedder):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            embedder.embed_boxes(FRAME, EMPTY[:2], "rgb")
    assert len(said) == 1
    assert said[0].filename == __file__
    assert embedder.empty_boxes == 6


def test_counting_is_safe_between_threads(embedder):
    start = threading.Barrier(8)

    def empty(_):
        start.wait(timeout=30)
        for _ in range(50):
            embedder.embed_boxes(FRAME[:4, :4], EMPTY[:1], "rgb")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(empty, range(8)))
    assert embedder.empty_boxes == 400


@pytest.mark.parametrize("boxes", [[], np.empty((0, 4)), np.empty((0, 4), np.int64)])
def test_no_boxes(embedder, boxes):
    vectors, valid = embedder.embed_boxes(FRAME, boxes, "rgb", return_valid=True)
    assert (vectors.shape, valid.shape) == ((0, DIMENSION), (0,))
    assert embedder.embed_boxes(FRAME, boxes, "rgb").dtype == np.float32


@pytest.mark.parametrize("shape", [(4,), (1, 5), (0, 5), (3, 0), (1, 2, 2), ()])
def test_boxes_of_another_shape_are_refused(embedder, shape):
    with pytest.raises(ImageError, match=r"boxes of shape \(N, 4\)"):
        embedder.embed_boxes(FRAME, np.zeros(shape), "rgb")


def test_frame_without_channel_order(embedder):
    with pytest.raises(ImageError, match="never guessed"):
        embedder.embed_boxes(FRAME, [(0, 0, 9, 9)], None)


@pytest.mark.parametrize(
    ("box", "codes"), [((10, 20, 12, 60), "extreme_aspect 1, too_small 1"), ((0.2, 0.1, 0.9, 0.8), "too_small 1")]
)
def test_boxes_hardly_worth_a_vector_are_counted(embedder, box, codes):
    """Edges from 0 to 1 are of a detector that gives shares of the frame."""
    with pytest.warns(UserWarning, match=rf"hardly worth their vectors \(.*{codes}") as warned:
        embedder.embed_boxes(FRAME, [box], "rgb")
    assert ("all edges are from 0 to 1, and pixels" in str(warned[0].message)) == (box[2] < 1)
    assert ", ".join(f"{code} {count}" for code, count in sorted(embedder.doubtful_boxes.items())).endswith(codes)
    reasons = read_frame(FRAME, [box, (10, 20, 50, 100), EMPTY[0]], "rgb").reasons()
    assert [bool(each) for each in reasons] == [True, False, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.embed_boxes(FRAME, [box], "rgb")


@pytest.mark.parametrize(
    ("boxes", "hint"), [(np.ones((2, 6)), r"pass boxes\[:, :4\]"), (np.ones(4), r"pass boxes\[None\]")]
)
def test_boxes_of_another_shape_are_refused_with_the_edit(embedder, boxes, hint):
    with pytest.raises(ImageError, match=hint):
        embedder.embed_boxes(FRAME, boxes, "rgb")


def test_boxes_of_a_graph_of_gradients(embedder):
    torch = pytest.importorskip("torch")
    boxes = [[10.0, 20.0, 50.0, 100.0]]
    actual = embedder.embed_boxes(FRAME, torch.tensor(boxes, requires_grad=True), "rgb")
    assert np.array_equal(actual, embedder.embed_boxes(FRAME, boxes, "rgb"))
