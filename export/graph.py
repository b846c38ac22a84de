"""ONNX files as exports write them: a graph without traces of the exporting machine, its contract, its self-test."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from export.parity import ParityError
from reid_runtime.embedder import Embedder
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import METADATA_KEY, Contract
from reid_runtime.model_file.onnx import read_onnx_file
from reid_runtime.model_file.selftest import METADATA_KEY as SELFTEST_KEY
from reid_runtime.model_file.selftest import SelfTest, text_digest

SELFTEST_IMAGES = Path(__file__).with_name("selftest")


def strip_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, without the exporter's notes: source lines and paths of the machine it ran on."""
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    del model.metadata_props[:], graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


def replace_nodes(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], initializers: Iterable[onnx.TensorProto]
) -> None:
    """Give the graph, in place, these nodes and constants, which may be its own."""
    copied = onnx.GraphProto(node=nodes, initializer=initializers)
    graph = model.graph
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copied.node)
    graph.initializer.extend(copied.initializer)


def write_graph(path: Path, model: onnx.ModelProto, contract: Contract) -> Embedder:
    """Check the model and write its graph alone; an Embedder on ONNX Runtime's CPU that runs it under the contract.

    What is measured with it goes into the contract, and `append_metadata` completes the file: no byte of the graph is
    written twice.
    """
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    _require_free_batch(model, contract)
    onnx.save(model, str(path))
    return Embedder.load(ModelFile.open(path, contract), device="cpu")


def _require_free_batch(model: onnx.ModelProto, contract: Contract) -> None:
    """ParityError unless the graph declares images of any number and as many vectors.

    The runtime itself takes less of third-party graphs, and so would not tell.
    """
    images, vectors = _axes(model.graph.input[0]), _axes(model.graph.output[0])
    free = all(axes and isinstance(axes[0], str) for axes in (images, vectors))
    if not free or vectors[1:] != [contract.dimension]:
        raise ParityError(
            f"the graph takes {images} and gives {vectors}; expected a free first axis of both, and "
            f"{contract.dimension} numbers a vector: export it with a dynamic batch"
        )


def _axes(value: onnx.ValueInfoProto) -> list[str | int]:
    """The axes of an input or output: names of free ones, sizes of others; none where no shape is declared."""
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def append_metadata(path: Path, contract: Contract, embedder: Embedder) -> None:
    """Complete a graph that was written: its contract, and the self-test record of the vectors that it gives.

    Raises BackendError where it gives none.
    """
    text, images = contract.to_json(), selftest_images()
    graph = read_onnx_file(path).graph
    record = SelfTest(graph, text_digest(text), images, embedder.embed(images))
    _append(path, METADATA_KEY, text)
    _append(path, SELFTEST_KEY, record.to_json())


def write_model(path: Path, model: onnx.ModelProto, contract: Contract) -> None:
    """The complete file of a model whose contract needs nothing that is measured."""
    append_metadata(path, contract, write_graph(path, model, contract))


def _append(path: Path, key: str, value: str) -> None:
    """A metadata entry at the file's end: protobuf reads it as one more, and no byte before it changes."""
    entry = onnx.ModelProto(metadata_props=[onnx.StringStringEntryProto(key=key, value=value)])
    with open(path, "ab") as file:
        file.write(entry.SerializeToString())


def selftest_images() -> tuple[bytes, ...]:
    """PNG files: two crops of one shape, which share a batch, one wider than high, and one that must be shrunk.

    They are rendered people, in `export/selftest`. The last is a small crop with every pixel repeated 20 times each
    way: large in pixels and small as a file, and its edges tell a resize that averages what it drops from one that
    does not.
    """
    crops = [np.asarray(Image.open(path)) for path in sorted(SELFTEST_IMAGES.glob("*.png"))]
    crops[-1] = crops[-1].repeat(20, axis=0).repeat(20, axis=1)
    files = []
    for crop in crops:
        file = io.BytesIO()
        Image.fromarray(crop).save(file, "PNG", optimize=True)
        files.append(file.getvalue())
    return tuple(files)
