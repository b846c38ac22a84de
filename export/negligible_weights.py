"""Weights too small for float32 to see, made zero: some processors compute with them twenty times as slowly."""

import numpy as np
import onnx
from onnx import numpy_helper

_NEGLIGIBLE = 2.0**-48
"""Of a tensor's largest weight: float32 carries 24 bits of a sum, and as many again are left for what is summed."""


def zero_negligible_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, with zeros for the weights that no sum can show.

    Weight decay takes the weights of a channel that nothing needs to 1e-30. Where two such meet, the product is below
    1.2e-38, a subnormal number, which Intel's processors hand to microcode. `tiny` had 407 of them among 178,000, and
    took 2.5 times as long there on ONNX Runtime, 3.7 times on OpenVINO, its depthwise convolutions 20 times.
    """
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        weights = numpy_helper.to_array(tensor)
        magnitudes = np.abs(weights)
        negligible = (magnitudes > 0) & (magnitudes < _NEGLIGIBLE * magnitudes.max(initial=0))
        if negligible.any():
            tensor.CopyFrom(numpy_helper.from_array(np.where(negligible, np.float32(0), weights), tensor.name))
    return model
