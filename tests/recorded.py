"""Small models with a self-test record, and files that were tampered with, sealed again or not."""

import dataclasses

import pytest

from reid_runtime.model_file import contract
from reid_runtime.model_file.onnx import read_onnx_file
from reid_runtime.model_file.selftest import METADATA_KEY, SelfTest, text_digest

from .models import CONTRACT, write_model


def write_recorded(path, stated=CONTRACT, **options):
    """A small model as export writes it: graph, contract and record."""
    onnx = pytest.importorskip("onnx")
    from export import graph

    write_model(path, None, like=stated, **options)
    model = onnx.load(str(path))
    shape = ["batch", stated.dimension]
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, shape))
    graph.write_model(path, model, stated)
    return path


def record_of(path):
    return SelfTest.from_json(read_onnx_file(path).metadata[METADATA_KEY], str(path))


def tamper(path, *, model=None, stated=None, record=None, sealed=False):
    """Put another model, contract or record into a file; `sealed` makes the record's digests fit, as a forger would."""
    onnx = pytest.importorskip("onnx")
    carried = read_onnx_file(path).metadata
    model = onnx.load(str(path)) if model is None else model
    text = carried[contract.METADATA_KEY] if stated is None else stated.to_json()
    record = record_of(path) if record is None else record
    del model.metadata_props[:]
    onnx.save(model, str(path))
    if sealed:
        record = dataclasses.replace(record, graph=read_onnx_file(path).graph, contract=text_digest(text))
    onnx.helper.set_model_props(model, {contract.METADATA_KEY: text, METADATA_KEY: record.to_json()})
    onnx.save(model, str(path))
