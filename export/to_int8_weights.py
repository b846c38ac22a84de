"""python -m export.to_int8_weights: the weights in integers, the computing in float32.

A quarter of the bytes, at float32's speed, of any model: nothing is calibrated, for nothing but the weights is rounded,
with one scale an output channel. Where `export.to_int8` must leave many layers in float, this is the smaller file. The
graph turns them to floats once: engines compute what depends on constants alone while they load.

The first layers stay as they are: a ResNet-50's vectors keep cosine 0.9997 so, and 0.9969 with all layers in integers.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.derive import ExportError, Parent, derivation, derive
from export.gate import ParityResult
from export.graph import replace_nodes
from reid_runtime.cli import run
from reid_runtime.model_file.precision import Precision

PRECISION = Precision("int8", scheme="weights alone, 8 bits, one scale an output channel; computed in float32")
LIMIT = 127
LEAST = 1 / 400
"""The share of a model's weights below which a tensor stays as it is: the first layers', which save few bytes and cost
most; of a ResNet-50 those of less than 59,000 numbers.
"""


def integer_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float32 model, in place, with the weights of its convolutions and fully connected layers as integers.

    Raises ExportError where it has none.
    """
    graph = model.graph
    read = {node.input[1] for node in graph.node if node.op_type == "Conv" or _by_rows(node)}
    floats = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT and tensor.name in read]
    if not floats:
        raise ExportError("the graph has no weights of convolutions or fully connected layers to keep in integers")
    least = LEAST * sum(np.prod(tensor.dims) for tensor in floats)
    weights = [tensor for tensor in floats if np.prod(tensor.dims) >= least]
    nodes, added = [], []
    for tensor in weights:
        values, name = numpy_helper.to_array(tensor), tensor.name
        rows = np.abs(values.reshape(len(values), -1)).max(axis=1)
        scale = (np.where(rows > 0, rows, 1.0) / LIMIT).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
        integers = np.round(values / scale).clip(-LIMIT, LIMIT).astype(np.int8)
        added.append(numpy_helper.from_array(integers, f"{name}/integer"))
        added.append(numpy_helper.from_array(scale, f"{name}/scale"))
        # Not DequantizeLinear: ONNX Runtime takes that for a layer in integers, and leaves it to be done at every run.
        nodes += [
            helper.make_node("Cast", [f"{name}/integer"], [f"{name}/float"], name=f"{name}/cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}/float", f"{name}/scale"], [name], name=f"{name}/scaled"),
        ]
    names = {tensor.name for tensor in weights}
    kept = [tensor for tensor in graph.initializer if tensor.name not in names]
    replace_nodes(model, [*nodes, *graph.node], [*kept, *added])
    return model


def _by_rows(node: onnx.NodeProto) -> bool:
    """Whether it is a fully connected layer whose weights have a row an output."""
    return node.op_type == "Gemm" and any(one.name == "transB" and one.i == 1 for one in node.attribute)


def export_int8_weights(parent: Parent, output: Path) -> ParityResult:
    """Write `output` if it passes its gate."""
    return derive(parent, output, integer_weights(parent.model), PRECISION)


@derivation
def main(parent: Parent, output: Path) -> ParityResult:
    """Derive the artefact of MODEL, a float32 export of ours, whose weights alone are integers.

    Every crop's vector must keep cosine 0.99 to MODEL's, and mAP must not fall by more than half a point; else exit 1
    and no file.
    """
    return export_int8_weights(parent, output)


if __name__ == "__main__":
    run(main)
