"""A network of one size takes over where it gives the same vectors, and only there."""

import numpy as np
import pytest

from reid_runtime.backends import fixed_sizes
from reid_runtime.backends.fixed_sizes import FixedSizes
from reid_runtime.errors import BackendError

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 2, 3), np.uint8)


def rows(images, change=1.0):
    vectors = images.reshape(len(images), -1)[:, :8].astype(np.float32)
    vectors[:, 0] *= change
    return vectors


def failing(shape):
    raise BackendError("no memory")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(fixed_sizes, "_WORTH", 8)


def test_whole_batches_take_the_network_of_their_size_and_the_rest_that_of_any_until_it_has_its_own():
    calls = []
    any_size = lambda images: calls.append(("any", len(images))) or rows(images)  # noqa: E731
    sized = lambda shape: lambda images: calls.append(("own", images.shape)) or rows(images)  # noqa: E731
    network = FixedSizes(any_size, sized, 4, 1000)
    own = [("own", (4, 4, 2, 3)), ("own", (4, 4, 2, 3))]
    for runs, expected in ((1, [("any", 2)]), (5, [("own", (1, 4, 2, 3))] * 2)):
        for _ in range(runs):
            network.run(IMAGES)
        calls.clear()
        assert np.array_equal(network.run(IMAGES), rows(IMAGES))
        assert calls == own + expected


@pytest.mark.parametrize(
    ("compiled", "why"),
    [
        (failing, "no memory"),
        (lambda shape: lambda images: rows(images, -9), "has the file changed"),
        (lambda shape: lambda images: rows(images)[:, :5], "expected two arrays of one shape"),
    ],
    ids=["fails", "another model", "another dimension"],
)
def test_else_all_go_through_the_network_of_any_size(compiled, why, caplog):
    network = FixedSizes(rows, compiled, 4, 1000)
    for _ in range(3):
        assert np.array_equal(network.run(IMAGES), rows(IMAGES))
    assert caplog.text.count(why) == 1


def test_images_that_come_one_by_one_have_a_network_too():
    shapes = []
    network = FixedSizes(rows, lambda shape: shapes.append(shape) or rows, 4, 1000)
    for image in IMAGES[:8]:
        assert not shapes
        assert np.array_equal(network.run(image[None]), rows(image[None]))
    assert shapes == [(1, 4, 2, 3)]


def test_so_many_sizes_have_a_network_and_no_more(monkeypatch):
    monkeypatch.setattr(fixed_sizes, "_MOST", 1)
    shapes = []
    network = FixedSizes(rows, lambda shape: shapes.append(shape) or rows, 2, 1000)
    for images in (IMAGES, IMAGES[:, :2], IMAGES[:, :3]):
        network.run(images)
    assert shapes == [(2, 4, 2, 3)]


def test_other_bytes_are_taken_only_where_they_are_allowed():
    """And where they are not, no second size is tried."""
    shapes = []

    def compiled(shape):
        shapes.append(shape)
        return lambda images: rows(images, 1 + 1e-6)

    exact, fast = (FixedSizes(rows, compiled, 4, 1000, same_bytes) for same_bytes in (True, False))
    for images in (IMAGES, IMAGES[:, :2], IMAGES):
        assert np.array_equal(exact.run(images), rows(images))
    assert shapes == [(4, 4, 2, 3)]
    fast.run(IMAGES)
    assert not np.array_equal(fast.run(IMAGES[:4]), rows(IMAGES[:4]))


def test_a_batch_has_the_pixels_that_the_other_network_is_given_at_once():
    """In whichever order a model wants its axes."""
    shapes = []
    network = FixedSizes(rows, lambda shape: shapes.append(shape) or rows, 8, 24)
    for images in (IMAGES, np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))):
        network.run(images)
    assert shapes == [(3, 4, 2, 3), (3, 3, 4, 2)]
