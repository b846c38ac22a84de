"""Files of embeddings as a search reads them: what `read_embeddings` gives, without its copies."""

import dataclasses
import hashlib
import subprocess

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.io.folder import open_folder
from reid_runtime.jobs import npz, read_embeddings, write_embeddings
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.jobs.manifest import MANIFEST
from reid_runtime.jobs.vector_table import VectorTable, read_vector_table

from ..miniature import CROPS
from .tables import table


def unit_table(rows=7, **changes):
    rows_of_table = table(rows)
    unit = rows_of_table.embedding / np.linalg.norm(rows_of_table.embedding, axis=1, keepdims=True)
    texts = {"identity": [f"p{row % 3}" for row in range(rows)], "role": [*[""] * (rows - 1), "junk"]}
    return dataclasses.replace(
        rows_of_table, embedding=unit, **{name: np.array(each) for name, each in texts.items()}, **changes
    )


def assert_holds(read, rows):
    vectors = np.concatenate(read.vectors.parts)
    assert np.array_equal(vectors, rows.embedding, equal_nan=True)
    for name in ("id", "error", "identity", "role"):
        expected = getattr(rows, name)
        assert getattr(read, name).tolist() == ([""] * len(rows) if expected is None else expected.tolist())
    assert read.camera.tolist() == [""] * len(rows)
    assert (read.contract_id, read.artefact_id, read.backend) == (rows.contract_id, rows.artefact_id, rows.backend)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_a_file_is_read_as_it_was_written(tmp_path, suffix, monkeypatch):
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    monkeypatch.setattr(npz, "_MAPPED", 1)
    path, rows = tmp_path / f"some.{suffix}", unit_table()
    write_embeddings(path, rows)
    read = read_vector_table(path)
    assert_holds(read, rows)
    assert read.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert isinstance(read.vectors.parts[0], np.memmap) == (suffix == "npz")
    assert read.vectors.parts[0].ctypes.data % 64 == 0 or suffix == "parquet"
    assert_holds(VectorTable.of(rows, "rows", "sha256:00"), rows)


def test_an_array_that_is_not_aligned_is_copied_once(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_MAPPED", 1)
    monkeypatch.setattr(npz, "_padding", lambda begin, member: b"\x35\xd9\x01\x00\x00")
    write_embeddings(tmp_path / "some.npz", unit_table())
    read = read_vector_table(tmp_path / "some.npz")
    assert_holds(read, unit_table())
    assert read.vectors.parts[0].flags.aligned


def test_a_folder_of_parts_is_read_without_joining_it(tmp_path, tiny):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    embed_folder(tiny, CROPS, f"{tmp_path}/out/")
    read = read_vector_table(tmp_path / "out")
    assert_holds(read, read_embeddings(tmp_path / "out"))
    lines = subprocess.run("sha256sum *", shell=True, cwd=tmp_path / "out", capture_output=True, check=True).stdout
    assert read.digest == f"sha256:{hashlib.sha256(lines).hexdigest()}"
    folder = open_folder(f"{tmp_path}/out")
    folder.remove(next(name for name in folder.names() if name != MANIFEST))
    with pytest.raises(StorageError, match="missing"):
        read_vector_table(tmp_path / "out")


def test_a_damaged_vector_is_found_in_a_mapped_file(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_MAPPED", 1)
    path, rows = tmp_path / "some.npz", unit_table(3000)
    write_embeddings(path, rows)
    content = bytearray(path.read_bytes())
    content[content.index(rows.embedding[0].tobytes()) + 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="does not have its checksum"):
        read_vector_table(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"embedding": 2 * table(7).embedding},
            r"6 vectors are not of unit length, the first is that of ordner/grün 0\.jpg",
        ),
        ({"contract_id": "sha256:other"}, "altered"),
        ({"contract": "{}"}, "contract"),
    ],
)
def test_foreign_files_are_refused(tmp_path, changes, words):
    write_embeddings(tmp_path / "some.npz", dataclasses.replace(unit_table(), **changes))
    with pytest.raises(Exception, match=words):
        read_vector_table(tmp_path / "some.npz")


def test_a_text_called_npz_is_refused(tmp_path):
    (tmp_path / "some.npz").write_text("no")
    with pytest.raises(StorageError, match=r"some\.npz: expected a file of embeddings: it is no \.npz"):
        read_vector_table(tmp_path / "some.npz")
