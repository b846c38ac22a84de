"""ONNX files as bytes: the contract written into the metadata, and everything of the exporting machine removed."""

from pathlib import Path

import onnx

from reid_runtime.contract import METADATA_KEY, Contract


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, without the exporter's notes: source lines and paths of the machine it ran on."""
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    del model.metadata_props[:], graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


def write_model(path: Path, model: onnx.ModelProto, contract: Contract) -> None:
    """Check the model, and write it as one file that carries the contract."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, contract.to_json()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def kept_graph(model: onnx.ModelProto) -> bytes:
    """The model's bytes but for its metadata: equal for two files whose vectors must be equal."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    content: bytes = bare.SerializeToString(deterministic=True)
    return content
