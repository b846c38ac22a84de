"""python -m export.to_fp16: weights and convolutions in half precision, float32 wherever half overflows.

What runs in half precision is a list; everything else stays in float32: the input's cast and normalisation, powers and
means (GeM's third power overflows above an activation of 40.3), the norm (its square overflows above 255.9) and the
division. Every change of precision is a Cast in the graph, so that engines which take types as they stand
(TensorRT's strongly typed networks) compute what was judged here.

An error of an early layer goes through all the others: where the crops ask for it, the first convolutions stay in
float32 as well. MobileNetV2's depthwise ones nearly cancel large weights; with its first four in float32 the worst
cosine on crops from other cameras is 0.999995, without them 0.9998.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.calibration import vectors_of
from export.derive import ExportError, Parent, derivation, derive
from export.gate import ParityResult
from export.graph import replace_nodes
from reid_runtime.agreement import TOLERANCES, compare
from reid_runtime.cli import run
from reid_runtime.images.resize import resize
from reid_runtime.model_file.precision import Precision

HALF = frozenset({"Conv", "Gemm", "MatMul"})
"""What half precision is for."""
FOLLOWING = frozenset(
    {"Add", "Clip", "Concat", "Flatten", "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax", "Relu", "Reshape"}
)
"""What computes in half precision if all that it reads is in half already: nothing here makes a value much larger."""
FP32_CONVS = (0, 1, 2, 4, 8)
"""How many convolutions are tried in float32, one number after the other."""
KEPT = 1 - (1 - TOLERANCES["float16"].crops.min_cosine) / 4
"""The worst cosine on the crops with which no more are tried: a quarter of what the gate allows."""


class _Casting:
    """A graph on its way to half precision: which tensors are half, and the casts between the two."""

    def __init__(self, model: onnx.ModelProto, fp32_convs: int) -> None:
        convolutions = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
        self.fp32_convs = frozenset(convolutions[:fp32_convs])
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = {output.name for output in model.graph.output}
        self.half: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.added: dict[str, onnx.TensorProto] = {}
        self.cast: dict[tuple[str, int], str] = {}

    def runs_in_half(self, node: onnx.NodeProto) -> bool:
        if node.domain not in ("", "ai.onnx") or (self.outputs | self.fp32_convs) & set(node.output):
            return False
        computed = [name for name in node.input if name and name not in self.weights]
        return node.op_type in HALF or (
            node.op_type in FOLLOWING and bool(computed) and all(name in self.half for name in computed)
        )

    def take(self, node: onnx.NodeProto) -> None:
        """The node, after the casts that it needs."""
        half = self.runs_in_half(node)
        for index, name in enumerate(node.input):
            if not name:
                continue
            if name in self.weights:
                if half and self.weights[name].data_type == TensorProto.FLOAT:
                    node.input[index] = self._halved(name)
            elif half != (name in self.half):
                # A tensor that is no float never becomes half, and what runs in half computes on floats alone.
                node.input[index] = self._casted(name, TensorProto.FLOAT16 if half else TensorProto.FLOAT)
        self.nodes.append(node)
        if half:
            self.half.update(node.output)

    def _halved(self, name: str) -> str:
        halved = f"{name}/half"
        if halved not in self.added:
            values = numpy_helper.to_array(self.weights[name])
            with np.errstate(over="ignore"):
                rounded = values.astype(np.float16)
            if not np.isfinite(rounded).all():
                raise ExportError(
                    f"{name!r} holds values up to {np.abs(values).max():.3g}; half precision ends at 65504, so this "
                    "model stays in float32"
                )
            self.added[halved] = numpy_helper.from_array(rounded, halved)
        return halved

    def _casted(self, name: str, to: int) -> str:
        if (name, to) not in self.cast:
            casted = f"{name}/{'half' if to == TensorProto.FLOAT16 else 'float'}"
            self.nodes.append(helper.make_node("Cast", [name], [casted], name=f"{casted}/cast", to=to))
            self.cast[name, to] = casted
        return self.cast[name, to]


def half_graph(model: onnx.ModelProto, fp32_convs: int = 0) -> onnx.ModelProto:
    """The float32 model, in place, in half precision where that is safe, but for its first `fp32_convs` convolutions.

    Raises ExportError for weights beyond half precision, and where nothing would be in it.
    """
    casting = _Casting(model, fp32_convs)
    for node in list(model.graph.node):
        casting.take(node)
    if not casting.half:
        raise ExportError(f"the graph has no {', '.join(sorted(HALF))}: nothing in it would run in half precision")
    read = {name for node in casting.nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    replace_nodes(model, casting.nodes, [*kept, *casting.added.values()])
    return model


def choose_fp32_convs(parent: Parent) -> int:
    """How many of the first convolutions stay in float32: as few as the crops ask for, or as help most."""
    rule = parent.reference.embedder.contract.resize
    crops = [resize(crop, rule.shape(*crop.shape[:2])) for crop in parent.inputs.crops]
    convolutions = sum(node.op_type == "Conv" for node in parent.model.graph.node)
    worst: dict[int, float] = {}
    for count in FP32_CONVS:
        if count and count >= convolutions:
            break
        vectors = vectors_of(half_graph(parent.model, count), crops)
        cosine = compare(parent.reference.vectors, vectors).worst_cosine
        if cosine >= KEPT:
            return count
        worst[count] = -1.0 if np.isnan(cosine) else cosine
    return max(worst, key=lambda count: worst[count])


def export_fp16(parent: Parent, output: Path) -> ParityResult:
    """Write `output` if it passes its gate."""
    fp32_convs = choose_fp32_convs(parent)
    scheme = f"the first {fp32_convs} convolutions in float32" if fp32_convs else None
    return derive(parent, output, half_graph(parent.model, fp32_convs), Precision("float16", scheme=scheme))


@derivation
def main(parent: Parent, output: Path) -> ParityResult:
    """Derive the half-precision artefact of MODEL, a float32 export of ours.

    Every crop's vector must keep cosine 0.9999 to MODEL's, and mAP must not fall by more than 0.1 points; else exit 1
    and no file.
    """
    return export_fp16(parent, output)


if __name__ == "__main__":
    run(main)
