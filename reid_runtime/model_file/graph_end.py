"""The end of a network as its graph states it: a reduction over places, a fully connected layer, perhaps a PReLU."""

from collections.abc import Sequence
from dataclasses import dataclass

from reid_runtime.errors import ContractError
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.onnx_graph import Node

MAXIMUM, MEAN, SUM = "maximum", "mean", "sum"
_REDUCTIONS = {
    "ReduceMax": MAXIMUM,
    "GlobalMaxPool": MAXIMUM,
    "ReduceMean": MEAN,
    "GlobalAveragePool": MEAN,
    "ReduceSum": SUM,
}
_KEEPS_SHARES = frozenset(
    {"Cast", "Clip", "DequantizeLinear", "Flatten", "Identity", "Pow", "QuantizeLinear", "Reshape", "Squeeze"}
)
"""What may lie between the reduction and the layer: channel by channel, whatever the places' shares of it are."""


@dataclass(frozen=True)
class GraphEnd:
    """Names of tensors, from the features to the vector."""

    features: str
    """(N, C, h, w), before pooling."""
    places: str
    """What the reduction reads: (N, C, h, w) or (N, C, h * w). GeM's powers, the products with spatial weights."""
    reduction: str
    """How it becomes one number a channel: `maximum`, `mean` or `sum`."""
    reduced: str
    """(N, C), what the reduction gives."""
    pooled: str
    """(N, C), what the layer reads."""
    adds: bool
    """Whether `pooled` is `reduced` and a bias; else it is a function of it that keeps the places' shares."""
    weights: str
    bias: str | None
    slope: str | None
    """The PReLU's."""
    transposed: bool
    """Whether the weights are (D, C), else (C, D)."""

    @property
    def constants(self) -> tuple[str, ...]:
        """What no image changes."""
        return tuple(name for name in (self.weights, self.bias, self.slope) if name is not None)

    @property
    def computed(self) -> tuple[str, ...]:
        """What depends on the image, each once."""
        return tuple(dict.fromkeys((self.features, self.places, self.reduced, self.pooled)))


def find_graph_end(nodes: Sequence[Node], contract: Contract) -> GraphEnd:
    """The end of the graph whose tensors a contract names.

    Raises:
        ContractError: Where the contract names none, or the graph ends in another way than those that are known.
    """
    if contract.inner is None or not contract.last_layer:
        raise ContractError(
            f"model {contract.name!r} does not name its features before pooling and its last layer: export it again "
            "with python -m export.to_onnx, or state `inner` and `last_layer` in its contract"
        )
    makers = {name: node for node in nodes for name in node.outputs}
    weights, bias, slope = (*contract.last_layer, "", "")[:3]
    layer = next((node for node in nodes if node.operator == "Gemm" and node.inputs[1:2] == (weights,)), None)
    if layer is None or contract.inner not in makers:
        missing = f"fully connected layer with the weights {weights!r}" if layer is None else f"{contract.inner!r}"
        raise ContractError(f"model {contract.name!r}: its contract names what its graph does not have, no {missing}")
    name, adds = layer.inputs[0], False
    while (node := makers.get(name)) is not None and node.operator not in _REDUCTIONS:
        adds = adds or node.operator == "Add"
        if node.operator not in _KEEPS_SHARES and node.operator != "Add":
            break
        name = next((each for each in node.inputs if each in makers), "")
    if node is None or node.operator not in _REDUCTIONS:
        operator = "nothing" if node is None else node.operator
        raise ContractError(
            f"model {contract.name!r} pools in a way that cannot be taken apart: expected one of "
            f"{', '.join(_REDUCTIONS)} before its last layer, found {operator}"
        )
    return GraphEnd(
        features=contract.inner,
        places=node.inputs[0],
        reduction=_REDUCTIONS[node.operator],
        reduced=node.outputs[0],
        pooled=layer.inputs[0],
        adds=adds,
        weights=weights,
        bias=bias or None,
        slope=slope or None,
        transposed=layer.integers.get("transB", 0) == 1,
    )
