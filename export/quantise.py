"""INT8 as a graph says it: QuantizeLinear and DequantizeLinear around what is to run in integers.

Two kinds, because no one file is fast everywhere. ONNX Runtime on x86 multiplies unsigned activations by signed
weights, and takes a convolution over only if its output is quantised too; its weights have 7 bits, for on CPUs without
VNNI the products of 8-bit ones saturate, and the vectors would depend on the CPU. TensorRT takes symmetric int8 alone,
no quantised bias, and places the outputs' rounding itself.

Rounding a layer's weights moves the mean of its output, which in a depthwise convolution of nine weights adds up to
more than all other errors; the bias takes that back (Nagel et al., 2019, "Data-free quantization through weight
equalization and bias correction", section 4.2, here with means that were measured).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from export.calibration import Activations
from export.graph import replace_nodes
from reid_runtime.model_file.precision import TargetEngine

_ACTIVATIONS = frozenset({"Relu", "Clip"})
"""What engines fuse into the layer before it."""
_POOLINGS = frozenset({"ReduceMean", "GlobalAveragePool"})


@dataclass(frozen=True)
class Scheme:
    """How a kind of engine wants its integers."""

    engine: TargetEngine
    description: str
    """For the contract."""
    operators: frozenset[str]
    symmetric: bool
    """int8 around zero, else uint8 from the least to the largest value."""
    weight_limit: int
    """The largest quantised weight; per output channel."""
    quantises_outputs: bool
    """Whether outputs and biases are quantised too, as integer kernels that are found by pattern want it."""

    def parameters(self, low: float, high: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.generic]]:
        """Scale and zero point of a tensor whose values lie between `low` and `high`; zero is always exact."""
        low, high = min(low, 0.0), max(high, 0.0)
        if self.symmetric:
            scale = max(-low, high) / 127 or 1.0
            return np.array(scale, np.float32), np.array(0, np.int8)
        scale = (high - low) / 255 or 1.0
        return np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)


# The fully connected layer is a ten-thousandth of the work; but in float its 512 numbers would be a sixth of the bytes
# of a ResNet-50's artefact.
CPU = Scheme("cpu", "u8s8, 7-bit weights", frozenset({"Conv", "Gemm", "Add"}), False, 63, True)
TENSORRT = Scheme("tensorrt", "s8s8, symmetric", frozenset({"Conv", "Gemm", "Add"}), True, 127, False)
SCHEMES: Mapping[str, Scheme] = {scheme.engine: scheme for scheme in (CPU, TENSORRT)}


@dataclass(frozen=True)
class Layer:
    """A node that can run in integers."""

    name: str
    """That of its weights, or of its output where it has none."""
    operator: str
    inputs: tuple[str, ...]
    """The computed tensors that it reads."""
    output: str
    """Its result, after the activation that is fused into it."""
    key: str
    """Its own first output, which names the node."""


class GraphIndex:
    """Who makes and who reads each tensor of a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.nodes = {node.output[0]: node for node in model.graph.node}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def layers(self, scheme: Scheme) -> list[Layer]:
        """What the scheme can run in integers, in the graph's order."""
        return [self._layer(node) for node in self.nodes.values() if self._fits(node, scheme)]

    def pooled(self, tensors: Iterable[str]) -> Iterator[tuple[str, str]]:
        """(input, output) of the max poolings that lead to one of the tensors."""
        for name in tensors:
            node = self.nodes.get(name)
            if node is not None and node.op_type == "MaxPool":
                yield node.input[0], name

    def _fits(self, node: onnx.NodeProto, scheme: Scheme) -> bool:
        if node.op_type not in scheme.operators:
            return False
        if node.op_type == "Add":
            return not any(name in self.weights for name in node.input) and all(
                self._is_layer_result(name, scheme) for name in node.input
            )
        if node.op_type == "Conv" and self._is_pooled(node.input[0]):
            return False
        constant = all(name in self.weights for name in node.input[1:])
        plain = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        return constant and (
            node.op_type == "Conv"
            or (plain.get("transB", 0), plain.get("alpha", 1.0), plain.get("beta", 1.0)) == (1, 1, 1)
        )

    def _is_layer_result(self, name: str, scheme: Scheme) -> bool:
        """Whether a tensor comes out of what can run in integers: a sum of others would be rounded to be added."""
        node = self.nodes.get(name)
        if node is not None and (node.op_type in _ACTIVATIONS or node.op_type == "MaxPool"):
            return self._is_layer_result(node.input[0], scheme)
        return node is not None and self._fits(node, scheme)

    def _is_pooled(self, name: str) -> bool:
        """Whether a tensor is a mean over places, or a convolution's result of one: a channel gate's.

        In integers such a convolution saves nothing, for it has one place to compute, and costs much: of an OSNet's
        vectors the gates cost more than all other layers but the stem.
        """
        node = self.nodes.get(name)
        while node is not None and node.op_type in _ACTIVATIONS | {"Conv"}:
            node = self.nodes.get(node.input[0])
        return node is not None and node.op_type in _POOLINGS

    def _layer(self, node: onnx.NodeProto) -> Layer:
        key = output = node.output[0]
        readers = self.readers.get(output, [])
        if len(readers) == 1 and readers[0].op_type in _ACTIVATIONS and readers[0].input[0] == output:
            output = readers[0].output[0]
        if node.op_type == "Add":
            return Layer(key, "Add", tuple(node.input), output, key)
        return Layer(node.input[1].removesuffix(".weight"), node.op_type, (node.input[0],), output, key)


def ranged_tensors(model: onnx.ModelProto, scheme: Scheme) -> list[str]:
    """The tensors whose ranges the scheme may ask for."""
    index = GraphIndex(model)
    names = dict.fromkeys(name for layer in index.layers(scheme) for name in (*layer.inputs, layer.output))
    names |= dict.fromkeys(name for name, _ in index.pooled(names))
    return list(names)


def quantise(
    model: onnx.ModelProto, scheme: Scheme, activations: Activations, percentile: float, chosen: Iterable[Layer]
) -> onnx.ModelProto:
    """A copy of the float32 model in which the chosen layers run in integers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _Quantiser(copy, scheme, activations, percentile).run(list(chosen))
    return copy


class _Quantiser:
    """One graph on its way to integers."""

    def __init__(self, model: onnx.ModelProto, scheme: Scheme, activations: Activations, percentile: float) -> None:
        self.model, self.graph = model, model.graph
        self.index = GraphIndex(model)
        self.scheme, self.activations, self.percentile = scheme, activations, percentile
        self.first: list[onnx.NodeProto] = []
        self.after: dict[str, list[onnx.NodeProto]] = {}
        self.scales: dict[str, npt.NDArray[np.float32]] = {}
        self.zeros: dict[str, int] = {}

    def run(self, chosen: list[Layer]) -> None:
        closing = self.scheme.quantises_outputs
        # A fully connected layer may give floats, and is the last: its vectors are not rounded once more.
        closed = {layer.output for layer in chosen if layer.operator != "Gemm"} if closing else set()
        read = {name for layer in chosen for name in layer.inputs}
        pooled = {output: name for name, output in self.index.pooled(read)} if closing else {}
        # A max pooling between integer layers is one too if what it reads and gives has one scale.
        shared = {output: name for output, name in pooled.items() if name in closed}
        integer_nodes = {layer.key for layer in chosen} | shared.keys()
        for name in sorted(closed | read):
            self._quantise_tensor(name, shared.get(name, name), clipped=name in pooled and name not in shared)
        for node in self.graph.node:
            for index, name in enumerate(node.input):
                # An integer layer's result has one reader, the rounding; all others read what was rounded.
                if name in self.after and (name in closed or node.output[0] in integer_nodes):
                    node.input[index] = f"{name}/rounded"
                    if node.op_type in ("Conv", "Gemm") and node.output[0] not in integer_nodes:
                        node.input[index] = self._kept_float(name)
        for layer in chosen:
            if layer.operator != "Add":
                self._quantise_weights(layer)
        self._reorder()

    def _quantise_tensor(self, name: str, ranged: str, clipped: bool) -> None:
        """QuantizeLinear and DequantizeLinear after a tensor, with the range of `ranged`.

        `clipped` is for a max pooling after a float layer: ONNX Runtime would move the rounding before the pooling and
        run that in integers, outside of the layout that its integer kernels have, at 20 times the cost (27 ms of
        ResNet-50's 118). It does not move it across a Clip, and drops one that does nothing, so this one takes the
        uppermost of the 256 steps.
        """
        scale, zero = self.scheme.parameters(*self.activations.limits(ranged, self.percentile))
        self.scales[name], self.zeros[name] = scale, int(zero)
        names = [self._constant(f"{name}/scale", scale), self._constant(f"{name}/zero", zero)]
        first = []
        if clipped:
            first.append(self._clip(name, f"{name}/clipped", 0, 254))
        read = f"{name}/clipped" if clipped else name
        self.after[name] = [
            *first,
            helper.make_node("QuantizeLinear", [read, *names], [f"{name}/integer"], name=f"{name}/quantise"),
            helper.make_node(
                "DequantizeLinear", [f"{name}/integer", *names], [f"{name}/rounded"], name=f"{name}/round"
            ),
        ]

    def _kept_float(self, name: str) -> str:
        """A rounded tensor for a layer that stays in float: behind a Clip to what the integers can hold, a no-op.

        ONNX Runtime quantises the weights of a float convolution that it finds between two roundings, one scale for
        all channels (its WeightBiasQuantization), which ruins depthwise ones. Behind the Clip it does not find it.
        """
        kept = f"{name}/kept"
        if not any(kept in node.output for node in self.after[name]):
            ends = (-128, 127) if self.scheme.symmetric else (0, 255)
            self.after[name].append(self._clip(name, kept, *ends, reads=f"{name}/rounded"))
        return kept

    def _clip(self, name: str, output: str, least: int, most: int, reads: str | None = None) -> onnx.NodeProto:
        """A Clip of a tensor, or of `reads`, between two of its integers, as floats."""
        ends = [
            self._constant(f"{output}/{word}", np.array((end - self.zeros[name]) * self.scales[name], np.float32))
            for word, end in (("least", least), ("most", most))
        ]
        return helper.make_node("Clip", [reads or name, *ends], [output], name=f"{output}/clip")

    def _quantise_weights(self, layer: Layer) -> None:
        """Weights as integers, one scale an output channel, and the bias that makes up for their rounding."""
        node = self.index.nodes[layer.key]
        weights = numpy_helper.to_array(self.index.weights[node.input[1]])
        bias = self._bias(node, len(weights))
        limit, read = self.scheme.weight_limit, self.scales[layer.inputs[0]]
        rows = weights.reshape(len(weights), -1)
        scale = np.abs(rows).max(axis=1) / limit
        if self.scheme.quantises_outputs:
            # A dead channel's scale would be so fine that its bias has no int32.
            scale = np.maximum(scale, np.abs(bias) / (read * 2.0**30))
        scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
        integers = np.round(rows / scale[:, None]).clip(-limit, limit).astype(np.int8)
        lost = (rows - integers * scale[:, None]).reshape(weights.shape)
        bias = (bias + self._mean_of(lost, node, layer.inputs[0])).astype(np.float32)
        base = layer.key
        node.input[1] = self._dequantised(f"{base}/weight", integers.reshape(weights.shape), scale)
        bias_name = f"{base}/bias"
        if self.scheme.quantises_outputs:
            steps = (scale * read).astype(np.float32)
            rounded = np.round(bias.astype(np.float64) / steps).clip(-(2.0**31) + 1, 2.0**31 - 1).astype(np.int32)
            bias_name = self._dequantised(bias_name, rounded, steps)
        else:
            self._constant(bias_name, bias)
        del node.input[2:]
        node.input.append(bias_name)

    def _bias(self, node: onnx.NodeProto, channels: int) -> npt.NDArray[np.float32]:
        if len(node.input) < 3:
            return np.zeros(channels, np.float32)
        bias: npt.NDArray[np.float32] = numpy_helper.to_array(self.index.weights[node.input[2]])
        return np.broadcast_to(bias, channels)

    def _mean_of(self, lost: npt.NDArray[np.float32], node: onnx.NodeProto, tensor: str) -> npt.NDArray[np.float64]:
        """(O,) what the lost part of the weights (O, I / groups, ...) would add to the layer's output, on average."""
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        by_channel = lost.reshape(groups, len(lost) // groups, lost.shape[1], -1).sum(axis=3, dtype=np.float64)
        means = self.activations.means[tensor].reshape(groups, 1, -1)
        mean: npt.NDArray[np.float64] = (by_channel * means).sum(axis=2).reshape(-1)
        return mean

    def _dequantised(self, name: str, integers: npt.NDArray[np.generic], scale: npt.NDArray[np.float32]) -> str:
        zero = self._constant(f"{name}/zero", np.zeros(len(scale), integers.dtype))
        inputs = [self._constant(f"{name}/integer", integers), self._constant(f"{name}/scale", scale), zero]
        self.first.append(helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}/round", axis=0))
        return name

    def _constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def _reorder(self) -> None:
        """Nodes in an order in which each comes after what it reads; nothing that nobody reads is left."""
        nodes = [*self.first]
        for node in self.graph.node:
            nodes.append(node)
            for name in node.output:
                nodes += self.after.get(name, [])
        read = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        replace_nodes(self.model, nodes, kept)
