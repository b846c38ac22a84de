"""The reader of an ONNX file's outer layer agrees with the onnx package, and fails in one way on anything else."""

import hashlib
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_runtime.errors import DamagedFileError
from reid_runtime.model_file.onnx import read_onnx_file

from ..models import write_model

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model without metadata, and a file name to write to."""
    path = write_model(tmp_path_factory.mktemp("file") / "model.onnx", None)
    return onnx.load(str(path)), path


@settings(deadline=None, max_examples=60)
@given(metadata=st.dictionaries(st.text(), st.text(max_size=300), max_size=5), functions=st.booleans())
def test_metadata_and_graph_are_what_the_onnx_package_says(whole, metadata, functions):
    model, path = whole
    model = onnx.ModelProto.FromString(model.SerializeToString())
    if functions:  # a field that comes after the metadata
        model.functions.add(name="f", domain="d")
    digest = hashlib.sha256(model.SerializeToString()).hexdigest()
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    actual = read_onnx_file(path)
    assert actual.metadata == metadata
    assert actual.graph == f"sha256:{digest}"


def test_an_entry_appended_to_a_file_is_read_as_the_package_reads_it(whole):
    model, path = whole
    entry = onnx.ModelProto(metadata_props=[onnx.StringStringEntryProto(key="a", value="b")])
    path.write_bytes(model.SerializeToString())
    graph = read_onnx_file(path).graph
    path.write_bytes(model.SerializeToString() + entry.SerializeToString())
    assert (read_onnx_file(path).metadata, read_onnx_file(path).graph) == ({"a": "b"}, graph)
    assert onnx.load(str(path)).metadata_props[0].key == "a"
    path.write_bytes(path.read_bytes() + entry.SerializeToString())
    with pytest.raises(DamagedFileError, match="name 'a' twice"):
        read_onnx_file(path)


def test_a_large_graph_is_not_held_in_memory(tmp_path):
    content = b"\x3a" + b"\x80\x80\x80\x08" + bytes(16 << 20)  # field 7, 16 MiB
    (tmp_path / "large.onnx").write_bytes(content)
    tracemalloc.start()
    try:
        actual = read_onnx_file(tmp_path / "large.onnx")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert actual.graph == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert peak < 4 << 20


@settings(deadline=None, max_examples=200)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(whole, content):
    _, path = whole
    path.write_bytes(content)
    with suppress(DamagedFileError):
        read_onnx_file(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes"),
        (b"PK\x03\x04 of torch", "it is a checkpoint: python -m export.to_onnx"),
        (b'\x40\0\0\0\0\0\0\0{"of safetensors"', "it is a checkpoint"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<net/>", "wire type 4"),
        (b"\x00\x01", "number 0"),
        (b"\x3a\x05abc", "truncated: field 7 at byte 0 takes 5 bytes, 3 are left"),
        (b"\x3a", "truncated: the number at byte 1 does not end"),
        (b"\x3a\x80", "truncated: the number at byte 1 does not end"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (b"\x3a" + b"\xff" * 9 + b"\x01", "truncated: field 7 at byte 0 takes 18,446,744,073,709,551,615 bytes"),
        (b"\x70\x01", "metadata at byte 0 have wire type 0"),
        (b"\x72\x03\x0a\x05a", "truncated: field 1 at byte 0 takes 5 bytes, 1 are left"),
        (b"\x72\x03\x1a\x01a", "not one key and one value"),
        (b"\x72\x06\x0a\x01a\x0a\x01b", "not one key and one value"),
        (b"\x72\x03\x0a\x01\xff", "not text"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, said):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=said):
        read_onnx_file(path)
