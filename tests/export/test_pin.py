"""A record goes into a file beside its contract, and nothing else of it changes; export and pin are one code."""

import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from export import graph, pin
from export.graph import kept_graph, write_contract, write_model
from reid_runtime import BackendError, Embedder
from reid_runtime.errors import DamagedFileError
from reid_runtime.model_file.onnx import read_onnx_file
from reid_runtime.model_file.selftest import METADATA_KEY, verified_record

from ..models import CONTRACT
from ..pinned import tamper, write_pinned


@pytest.fixture
def model(tmp_path):
    return write_pinned(tmp_path / "model.onnx")


def test_a_file_that_is_written_is_whole_and_its_vectors_are_those_of_its_bytes(model):
    record = verified_record(model)
    assert np.array_equal(record.vectors, Embedder.load(model).embed(record.images))
    onnx.checker.check_model(onnx.load(str(model)), full_check=True)


def test_pinning_an_older_file_changes_neither_graph_nor_contract(model):
    pinned = onnx.load(str(model))
    older = onnx.load(str(model))
    del older.metadata_props[1:]
    onnx.save(older, str(model))
    assert METADATA_KEY not in read_onnx_file(model).metadata
    before = read_onnx_file(model)
    contract_id = Embedder.load(model).contract.contract_id
    run = CliRunner().invoke(pin.main, [str(model)], catch_exceptions=False)
    assert f"contract {contract_id}, artefact {Embedder.load(model).artefact_id}" in run.output
    after = read_onnx_file(model)
    assert after.graph == before.graph
    assert after.metadata == before.metadata | {METADATA_KEY: pinned.metadata_props[1].value}


def test_a_damaged_file_is_not_sealed_again(model):
    changed = onnx.load(str(model))
    changed.graph.initializer[3].raw_data = b"\1" + changed.graph.initializer[3].raw_data[1:]
    tamper(model, model=changed)
    before = model.read_bytes()
    with pytest.raises(DamagedFileError, match="its graph is"):
        write_contract(model, CONTRACT)
    assert model.read_bytes() == before
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]


def test_another_contract_comes_with_a_record_that_fits_it(model):
    before = kept_graph(onnx.load(str(model)))
    write_contract(model, dataclasses.replace(CONTRACT, name="other"))
    assert Embedder.load(model).contract.name == "other"
    assert verified_record(model) is not None
    assert kept_graph(onnx.load(str(model))) == before


def test_a_graph_that_would_change_is_not_written(model, monkeypatch):
    written = graph.write_model

    def careless(path, model, contract):
        model.graph.name = "renamed"
        written(path, model, contract)

    monkeypatch.setattr(graph, "write_model", careless)
    before = model.read_bytes()
    with pytest.raises(Exception, match="its graph would have changed"):
        write_contract(model, CONTRACT)
    assert model.read_bytes() == before


def test_a_model_without_vectors_cannot_be_pinned(model, tmp_path):
    broken = onnx.load(str(model))
    broken.graph.node[-1].input[0] = "nan"
    with pytest.raises(BackendError, match="NaN, infinite or zero vectors"):
        write_model(tmp_path / "nan.onnx", broken, CONTRACT)
