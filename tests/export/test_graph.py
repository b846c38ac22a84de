"""What is written is the graph once, byte for byte, then its contract and a self-test record that fits both."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from export.graph import append_metadata, write_graph, write_model
from reid_runtime import BackendError, Embedder
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.onnx import read_onnx_file

from ..models import CONTRACT
from ..recorded import write_recorded


@pytest.fixture
def model(tmp_path):
    return write_recorded(tmp_path / "model.onnx")


def test_written_file_is_intact_and_its_vectors_are_those_of_its_bytes(model):
    record = ModelFile.open(model).selftest()
    assert np.array_equal(record.vectors, Embedder.load(model).embed(record.images))
    onnx.checker.check_model(onnx.load(str(model)), full_check=True)


def test_metadata_leave_every_byte_of_the_graph(model, tmp_path):
    path = tmp_path / "again.onnx"
    embedder = write_graph(path, onnx.load(str(model)), CONTRACT)
    graph = path.read_bytes()
    assert read_onnx_file(path).metadata == {}
    append_metadata(path, CONTRACT, embedder)
    assert path.read_bytes().startswith(graph)
    assert path.read_bytes() == model.read_bytes()
    assert embedder.contract == ModelFile.open(path).contract == CONTRACT


def test_a_model_without_vectors_gets_no_record(model, tmp_path):
    broken = onnx.load(str(model))
    broken.graph.node[-1].input[0] = "nan"
    with pytest.raises(BackendError, match="NaN, infinite or zero vectors"):
        write_model(tmp_path / "nan.onnx", broken, CONTRACT)
