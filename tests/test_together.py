"""Images prepared and embedded on the same threads: who shares a batch, in which order results come, what is held."""

import time

import numpy as np
import pytest

from reid_runtime.batching import WINDOW
from reid_runtime.errors import BackendError, ImageError, ReidRuntimeError
from reid_runtime.inference import Inference
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.preparation import Prepared
from reid_runtime.together import together

from .test_inference import CROP, StandIn, images_of, inferred

THIN = (256, 90)


def prepared(number, image):
    return Prepared(None, image, None)


class Stream:
    """A stream of images of these shapes; `taken` counts those of the input, `batches` has their numbers."""

    def __init__(self, tiny, shapes, prepare=prepared, low_latency=False, among_others=16, waits=True):
        self.backend = StandIn(tiny.dimension)
        inference = Inference(self.backend, tiny.contract, 2, StageTimes())
        inferred(inference, images_of([CROP] * 4))  # opens it
        inference.group_among_others, inference.waits_for_shape = among_others, waits
        self.batches, self.taken, run = [], 0, inference.infer_here
        self.images = [np.full((*shape, 3), number % 251, np.uint8) for number, shape in enumerate(shapes)]
        inference.infer_here = lambda shapes, pixels, names: self.batches.append(names) or run(shapes, pixels, names)
        self.results = together(inference, self.input(), prepare, 2, low_latency, StageTimes())

    def input(self):
        for number, image in enumerate(self.images):
            self.taken = number + 1
            yield number, image


def test_who_shares_a_batch_follows_from_shapes_and_numbers_alone(tiny):
    shapes = [CROP if number % 3 else THIN for number in range(100)]
    composed = set()
    for slow in (0, 7):
        stream = Stream(
            tiny, shapes, lambda n, image, slow=slow: time.sleep(0.002 * (n % 8 < slow)) or prepared(n, image)
        )
        rows = list(stream.results)
        assert [number for number, _, _ in rows] == list(range(100))
        assert np.array_equal(
            np.stack([row for *_, row in rows]), [stream.backend.run(i[None])[0] for i in stream.images]
        )
        assert all(item.pixels is None for _, item, _ in rows)
        composed.add(tuple(sorted(map(tuple, stream.batches))))
    (batches,) = composed
    assert sorted(map(len, batches)) == [2, 2, 16, 16, 16, 16, 16, 16]


def test_more_of_one_shape_wait_for_each_other_where_going_to_another_costs(tiny):
    mixed = Stream(tiny, [CROP, THIN] * 50, among_others=32)
    assert len(list(mixed.results)) == 100
    assert sorted(map(len, mixed.batches)) == [18, 18, 32, 32]
    one = Stream(tiny, [CROP] * 100, among_others=32)
    assert len(list(one.results)) == 100
    assert sorted(map(len, one.batches)) == [2, 2] + [16] * 6


def test_images_of_all_shapes_go_together_where_it_costs_nothing(tiny):
    stream = Stream(tiny, [CROP, THIN] * 50, waits=False)
    rows = list(stream.results)
    assert np.array_equal(np.stack([row for *_, row in rows]), [stream.backend.run(i[None])[0] for i in stream.images])
    assert [len(names) for names in stream.batches] == [16] * 6 + [2, 2]
    assert set(stream.batches[0]) == {f"image {number}" for number in range(16)}


def test_the_last_batch_of_a_window_is_shared_by_threads_that_would_have_none(tiny):
    stream = Stream(tiny, [CROP] * 10 + [THIN] * 8 + [(256, 100)] * 7, among_others=32)
    assert len(list(stream.results)) == 25
    assert sorted(map(len, stream.batches)) == [3, 4, 8, 10]


def test_an_image_of_a_rare_shape_comes_with_its_window(tiny):
    stream = Stream(tiny, [THIN] + [CROP] * 900)
    number, _, row = next(stream.results)
    assert (number, stream.taken) == (0, pytest.approx(WINDOW, abs=100))
    assert np.array_equal(row, stream.backend.run(stream.images[0][None])[0])
    assert [number for number, *_ in stream.results] == list(range(1, 901))


def test_low_latency_waits_for_nobody(tiny):
    stream = Stream(tiny, [CROP, THIN] * 50, low_latency=True)
    run = stream.backend.run
    stream.backend.run = lambda images, shift=0.0: time.sleep(0.3 * (not images.any())) or run(images, shift)
    next(stream.results)  # of the first image, which is black, while the other thread works on
    assert stream.taken <= 24
    assert len(list(stream.results)) == 99


@pytest.mark.parametrize("at", [0, 1, 40])
def test_an_error_is_raised_at_its_turn(tiny, at):
    def prepare(number, image):
        if number == at:
            raise ReidRuntimeError("broken")
        return prepared(number, image)

    results, seen = Stream(tiny, [CROP, THIN] * 50, prepare).results, []
    with pytest.raises(ReidRuntimeError, match="broken"):
        seen.extend(number for number, *_ in results)
    assert seen == list(range(at))


def test_a_batch_that_fails_does_not_take_those_before_it(tiny):
    stream, seen = Stream(tiny, [CROP] * 20 + [THIN] * 4 + [CROP] * 20), []
    run = stream.backend.run
    stream.backend.run = lambda images, shift=0.0: run(images, shift) * (np.nan if images.shape[2] == 90 else 1)
    with pytest.raises(BackendError, match=r"^image 20, first of its batch of 4: "):
        seen.extend(number for number, *_ in stream.results)
    assert seen == list(range(20))


def test_failed_images_keep_their_turn(tiny):
    def prepare(number, image):
        return Prepared(None, None, ImageError("no")) if number % 2 else prepared(number, image)

    rows = list(Stream(tiny, [CROP] * 30, prepare).results)
    assert [item.error is None for _, item, _ in rows] == [row is not None for *_, row in rows] == [True, False] * 15
