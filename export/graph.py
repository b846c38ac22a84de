"""ONNX files as bytes: what travels in their metadata, and everything of the exporting machine removed."""

import io
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.atomic import atomic_write
from reid_runtime.model_file.contract import METADATA_KEY, Contract
from reid_runtime.model_file.onnx import read_onnx_file
from reid_runtime.model_file.selftest import METADATA_KEY as SELFTEST_KEY
from reid_runtime.model_file.selftest import SelfTest, text_digest, verified_record

SELF_TEST = Path(__file__).with_name("selftest")


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
    """Check the model, and write it as one file that carries the contract and its self-test record.

    The record's vectors are those that ONNX Runtime's CPU gives for the graph as it lies in the file; raises
    BackendError where it gives none.
    """
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    _append_metadata(path, METADATA_KEY, contract.to_json())
    _append_metadata(path, SELFTEST_KEY, _record(path).to_json())


def write_contract(path: Path, contract: Contract) -> None:
    """Put another contract into a file, and a record made anew; its graph stays byte for byte, or nothing changes.

    Raises DamagedFileError for a file that its own record says is damaged: it must not come out as whole.
    """
    verified_record(path)
    model = onnx.load(str(path))
    before = kept_graph(model)
    with atomic_write(path) as beside:
        write_model(beside, model, contract)
        if kept_graph(onnx.load(str(beside))) != before:
            raise ReidRuntimeError(f"{path}: its graph would have changed with its metadata; nothing was written")


def _append_metadata(path: Path, key: str, value: str) -> None:
    """A metadata entry at the file's end: protobuf reads it as one more, and no byte before it changes."""
    entry = onnx.ModelProto(metadata_props=[onnx.StringStringEntryProto(key=key, value=value)])
    with open(path, "ab") as file:
        file.write(entry.SerializeToString())


def _record(path: Path) -> SelfTest:
    file = read_onnx_file(path)
    images = pinned_crops()
    vectors = Embedder.load(path, device="cpu").embed(images)
    return SelfTest(file.graph, text_digest(file.metadata[METADATA_KEY]), images, vectors)


def pinned_crops() -> tuple[bytes, ...]:
    """PNG files: two crops of one shape, which share a batch, one wider than high, and one that must be shrunk.

    They are rendered people, in `export/selftest`. The last is a small crop with every pixel repeated 20 times each
    way: large in pixels and small as a file, and its edges tell a resize that averages what it drops from one that
    does not.
    """
    crops = [np.asarray(Image.open(path)) for path in sorted(SELF_TEST.glob("*.png"))]
    crops[-1] = crops[-1].repeat(20, axis=0).repeat(20, axis=1)
    files = []
    for crop in crops:
        file = io.BytesIO()
        Image.fromarray(crop).save(file, "PNG", optimize=True)
        files.append(file.getvalue())
    return tuple(files)


def kept_graph(model: onnx.ModelProto) -> bytes:
    """The model's bytes but for its metadata: equal for two files whose vectors must be equal."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    content: bytes = bare.SerializeToString(deterministic=True)
    return content
