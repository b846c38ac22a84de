"""The tensors that an explanation reads, kept under names in the graph: features before pooling, and the last layer."""

from dataclasses import replace

import onnx

from reid_runtime.model_file.contract import Contract

FEATURES = "features"
"""What exported graphs call the maps before pooling."""


def name_inner_tensors(contract: Contract, model: onnx.ModelProto) -> Contract:
    """The contract with the names that this graph has; None for what it lacks.

    Precisions change the names: half precision and integers have the last layer's weights under others. The maps keep
    theirs, where the graph still has them.
    """
    nodes = model.graph.node
    made = {name for node in nodes for name in node.output}
    last = [number for number, node in enumerate(nodes) if node.op_type == "Gemm"][-1:]
    if contract.inner not in made or not last:
        return replace(contract, inner=None, last_layer=None)
    names = [*nodes[last[0]].input[1:], ""][:2]  # exporters leave out a bias of zeros
    names += [node.input[1] for node in nodes[last[0] :] if node.op_type == "PRelu"]
    return replace(contract, last_layer=tuple(names))
