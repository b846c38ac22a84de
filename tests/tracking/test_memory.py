"""The look of a track: which crops are kept, and what is made of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from reid_runtime.errors import OptionsError
from reid_runtime.tracking import TrackMemory, qualities_of

from .people import street

EAST, NORTH = np.eye(2, dtype=np.float32)


def test_the_best_crops_stay():
    memory = TrackMemory(crops=2, apart=1)
    for moment, (vector, quality) in enumerate([(EAST, 0.5), (NORTH, 0.3), (EAST, 0.05), (EAST, 0.6), (NORTH, 0.52)]):
        memory.add(7, vector, quality, moment)
    assert memory.count(7) == 2  # 0.05 is too poor; 0.6 replaced 0.3; 0.52 is hardly better than 0.5
    assert np.array_equal(memory.vector(7), EAST)
    assert 7 in memory
    assert memory.vector(8) is None


def test_of_neighbours_in_time_the_better_one():
    memory = TrackMemory(crops=4, apart=5, first=1)
    kept = [memory.add(1, EAST, quality, moment) for moment, quality in ((0, 0.4), (3, 0.41), (4, 0.6), (9, 0.2))]
    assert kept == [True, False, True, True]
    assert memory.count(1) == 2


def test_a_mean_by_quality_of_unit_length():
    memory = TrackMemory(apart=1)
    memory.add(1, EAST, 0.6, 0)
    memory.add(2, NORTH, 0.3, 5)
    memory.merge(2, into=1)
    assert 2 not in memory
    mean = memory.vector(1)
    assert (float(np.linalg.norm(mean)), mean.dtype) == (pytest.approx(1), np.float32)
    assert mean[0] / mean[1] == pytest.approx(2)


def test_poor_crops_are_refused():
    memory = TrackMemory()
    assert not memory.add(1, np.zeros(2, np.float32), 0.9, 0)
    memory.add(1, EAST, 0.5, 0)
    memory.add(1, -EAST, 0.5, 9)
    assert memory.vector(1) is None
    with pytest.raises(OptionsError, match="expected crops and first from 1"):
        TrackMemory(crops=0)


def test_a_crop_is_worth_what_is_to_be_seen_of_it():
    frame, boxes = street((0, 100), (1, 124), (2, 616), (3, 300))
    alone, half, edge = qualities_of(frame, boxes)[[3, 0, 2]] / qualities_of(*street((0, 300)))[0]
    assert alone == pytest.approx(1, abs=0.3)
    assert half < 0.4  # the second one stands before it
    assert edge < 0.7  # half of it is outside
    assert qualities_of(frame, [(-50, 0, -10, 90), (20, 100, 20, 180)]).tolist() == [0, 0]
    assert qualities_of(frame, np.empty((0, 4))).shape == (0,)
    on_gpu = SimpleNamespace(shape=frame.shape, __cuda_array_interface__={})  # whose pixels nobody may read here
    assert qualities_of(on_gpu, boxes)[3] == 1
