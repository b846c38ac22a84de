"""Average pooling of any map: a window that hangs over the edge is written as padding that does not count.

Torch exports `ceil_mode` as it is, and OpenVINO 2026 refuses that of a map which is narrower than the window, as the
maps of a very thin image are. With one row and column of padding at the end, left out of the mean, and the size rounded
down, each window covers the same values.
"""

import onnx
from onnx import helper

_WINDOW = [2, 2]


def pad_average_pools(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, with its pools of 2x2 in steps of 2 by `ceil_mode` written with padding."""
    for node in model.graph.node:
        if node.op_type != "AveragePool":
            continue
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        plain = not any(given.get("pads", [])) and not given.get("count_include_pad", 0)
        if given.get("ceil_mode", 0) and plain and given["kernel_shape"] == given["strides"] == _WINDOW:
            del node.attribute[:]
            node.attribute.extend(
                helper.make_attribute(name, value)
                for name, value in (("kernel_shape", _WINDOW), ("strides", _WINDOW), ("pads", [0, 0, 1, 1]))
            )
    return model
