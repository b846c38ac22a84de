"""What goes into the models."""

from collections import Counter

import numpy as np

from benchmarks.inputs import SIZE, equal_issue, frame_with_boxes, labelled_vectors, mixed_sizes, one_size
from reid_runtime.scoring.ranking import score

from ..sample_images import sample_image


def test_every_input_is_asked_for_equally_often():
    issued = list(equal_issue(50, 12))
    assert set(Counter(issued).values()) == {5}  # 50 rounded up to 60
    assert issued[:12] != issued[12:24]


def test_mixed_sizes_have_the_pixels_of_one_size():
    crops = [sample_image(seed=seed) for seed in range(3)]
    same, mixed = one_size(crops, 80), mixed_sizes(crops, 80)
    assert {crop.shape[:2] for crop in same} == {SIZE}
    assert len({crop.shape for crop in mixed}) == 33
    assert len(mixed) == 80
    assert sum(crop.size for crop in mixed) == sum(crop.size for crop in same)


def test_boxes_lie_in_their_frame():
    frame, boxes = frame_with_boxes([sample_image()], 8)
    assert boxes.shape == (8, 4)
    assert (boxes[:, 2] <= frame.shape[1]).all()
    assert (boxes[:, 3] <= frame.shape[0]).all()
    assert (boxes[:, :2] >= 0).all()
    assert np.array_equal(frame_with_boxes([sample_image()], 4)[1], boxes[:4])


def test_labelled_vectors_can_be_scored():
    scores = score(*labelled_vectors(50), *labelled_vectors(2000, seed=1)).summary()
    assert 0 < scores.map_finite_sum < 0.1
