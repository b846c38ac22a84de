"""A batch as the model wants it: layout, type, channel order and normalisation."""

import numpy as np

from reid_runtime.images.model_input import InputFormat, to_model_input

from ..sample_images import sample_image

RGB = sample_image()
OTHER = sample_image(seed=9)


def test_model_input_by_hand():
    batch = np.stack([RGB, OTHER])
    assert to_model_input(batch, InputFormat()) is batch
    input_format = InputFormat("NCHW", "float32", "bgr", 1 / 255, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    expected = np.empty((2, 3, 64, 32))
    for plane, channel in enumerate((2, 1, 0)):
        expected[:, plane] = (batch[..., channel] / 255 - input_format.mean[plane]) / input_format.deviation[plane]
    actual = to_model_input(batch, input_format)
    assert actual.dtype == np.float32
    assert actual.flags.c_contiguous
    assert np.allclose(actual, expected, atol=1e-5)
    planes = to_model_input(batch, InputFormat("NCHW", "uint8", "bgr"))
    assert np.array_equal(planes, batch[..., ::-1].transpose(0, 3, 1, 2))
