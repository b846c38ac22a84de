"""Files of embeddings: what is written is read, complete or not at all, and nothing else is believed."""

import csv
import dataclasses
import os
import re
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from reid_runtime.errors import ContractError, StorageError
from reid_runtime.install import install_line
from reid_runtime.jobs import check_same_space, ensure_embeddings_writable, read_embeddings, write_embeddings
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.merge import merge
from reid_runtime.jobs.vector_table import read_vector_table

from ..models import CONTRACT, FOREIGN
from .tables import assert_same, table

EVERY = pytest.mark.parametrize("suffix", [".npz", ".parquet"])


@pytest.fixture(autouse=True)
def _parquet(request):
    if "suffix" in request.fixturenames and request.getfixturevalue("suffix") == ".parquet":
        pytest.importorskip("pyarrow")


LABELS = {
    "quality": np.array([0.5, 1, np.nan, 0], np.float32),
    "reasons": np.array(["", "dark,small", "", "blurred"]),
    "identity": np.array(["3", "", "", "größer"]),
    "camera": np.array(["1", "2", "", "door"]),
    "track": np.array(["", "7", "8", ""]),
    "role": np.array(["", "junk", "distractor", ""]),
    "split": np.array(["query", "gallery", "gallery", "query"]),
    "time": np.array([0.5, 1.5, np.nan, 1e9]),
    "frame": np.array([1, 2, 2, 2**40]),
    **{edge: np.array([0.5, -3, 1e4, np.nan], np.float32) for edge in ("x1", "y1", "x2", "y2")},
}


@EVERY
@pytest.mark.parametrize("rows", [table(), table(1), table(0), table(**LABELS)], ids=["4", "1", "0", "labels"])
def test_round_trip(tmp_path, suffix, rows):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, rows)
    assert_same(read_embeddings(path), rows)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@EVERY
def test_integer_labels_of_earlier_files(tmp_path, suffix):
    """As they were written at first: -1 was junk, and 0 a distractor."""
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, table(identity=np.array(["", "", "", ""]), camera=np.array(["", "", "", ""])))
    old = {"identity": np.array([3, -1, 0, 12]), "camera": np.array([1, 2, 3, 4])}
    if suffix == ".npz":
        rewrite(path, **old)
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(path)
        for name, values in old.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, arrow.array(values))
        parquet.write_table(rows, path)
    rows = read_embeddings(path)
    assert (rows.identity.tolist(), rows.camera.tolist()) == (["3", "", "", "12"], ["1", "2", "3", "4"])
    assert rows.role.tolist() == ["", "junk", "distractor", ""]


def test_a_format_is_one_entry(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, ".x", FORMATS[".npz"])
    write_embeddings(tmp_path / "a.x", table())
    assert merge([str(tmp_path / "a.x")], tmp_path / "b.x") == 4
    assert_same(read_embeddings(tmp_path / "b.x"), table())


@EVERY
def test_backend_is_kept(tmp_path, suffix):
    """Files that were written before there was such an entry have none."""
    for name in ("openvino cpu, bfloat16", None):
        path = tmp_path / f"{name}{suffix}"
        write_embeddings(path, table(backend=name))
        assert read_embeddings(path).backend == name


def test_npz_is_plain_arrays(tmp_path):
    write_embeddings(tmp_path / "x.npz", table())
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        columns = ["id", "embedding", "width", "height", "error"]
        assert file.files == [*columns, "contract", "contract_id", "artefact_id", "backend"]
        assert all(file[name].dtype.kind != "O" for name in file.files)
        assert np.isnan(file["embedding"][1]).all()


def test_parquet_nulls(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_embeddings(tmp_path / "x.parquet", table())
    actual = parquet.read_table(tmp_path / "x.parquet")
    assert actual.schema.field("embedding").type.list_size == CONTRACT.dimension
    assert str(actual.schema.field("embedding").type.value_type) == "float"
    assert (str(actual.schema.field("id").type), str(actual.schema.field("error").type)) == ("string", "string")
    assert actual.column("embedding").is_valid().to_pylist() == [True, False, True, True]
    assert actual.column("error").to_pylist() == [None, "corrupt or truncated: größer", None, None]
    write_embeddings(tmp_path / "none.parquet", table(0))
    assert parquet.read_schema(tmp_path / "none.parquet") == actual.schema


@EVERY
def test_existing_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, table())
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"not overwritten.*--force"):
        write_embeddings(path, table(2))
    assert path.read_bytes() == before
    write_embeddings(path, table(2), force=True)
    assert len(read_embeddings(path)) == 2


@EVERY
def test_failed_write(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, table())
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(StorageError, match="No space left"):
                write_embeddings(path, table(2), force=True)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_while_writing(tmp_path):
    code = """if True:
        import os, sys
        import numpy as np
        from reid_runtime.jobs import read_embeddings, write_embeddings
        from pathlib import Path
        rows = read_embeddings(Path(sys.argv[1]))
        os.fsync = lambda number: os.kill(os.getpid(), 9)
        write_embeddings(Path(sys.argv[2]), rows)
    """
    good, path = tmp_path / "good.npz", tmp_path / "out" / "x.npz"
    path.parent.mkdir()
    write_embeddings(good, table())
    killed = subprocess.run([sys.executable, "-c", code, good, path], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(path.parent.iterdir())) == 1
    assert not path.exists()
    write_embeddings(path, table())
    assert_same(read_embeddings(path), table())


def test_unwritable_names(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").touch()
    for name, reason in (
        ("x.tsv", r"ends in \.npz or \.parquet or \.csv"),
        ("x", r"ends in \.npz or \.parquet"),
        ("folder.npz", "is a folder"),
        ("absent/x.npz", "make it first"),
        ("file/x.npz", "is not a folder"),
        ("n" * 252 + ".npz", "too long"),
    ):
        with pytest.raises(StorageError, match=reason):
            ensure_embeddings_writable(tmp_path / name, force=True)
    ensure_embeddings_writable(tmp_path / "x.npz", force=False)
    assert not (tmp_path / "x.npz").exists()


def test_read_only_folder(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("reid_runtime.io.atomic.os.open", refuse)
    with pytest.raises(StorageError, match="Read-only file system"):
        ensure_embeddings_writable(tmp_path / "x.npz", force=False)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StorageError, match=re.escape(install_line("parquet"))):
        ensure_embeddings_writable(tmp_path / "x.parquet", force=False)


@EVERY
def test_truncated_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, table(50))
    content = path.read_bytes()
    for share in (0, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(StorageError, match=rf"x\{suffix}: expected a file of embeddings"):
            read_embeddings(path)


@EVERY
def test_damaged_bytes(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, table())
    content = bytearray(path.read_bytes())
    content[content.index(table().embedding[0].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="CRC"):
        read_embeddings(path)


@EVERY
@pytest.mark.parametrize("content", [b"", b"text\n", b"PK\5\6" + b"\0" * 18, b"PAR1PAR1"])
def test_other_files(tmp_path, suffix, content):
    (tmp_path / f"x{suffix}").write_bytes(content)
    for name in ("x", "absent"):
        with pytest.raises(StorageError, match=f"{name}{suffix}: expected a file of embeddings") as caught:
            read_embeddings(tmp_path / f"{name}{suffix}")
        assert "pickle" not in str(caught.value), "numpy's advice"


def rewrite(path, **changes):
    """The npz with other arrays; None leaves one out."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None, "error": None}, "lacks error, id"),
        ({"contract": None}, "lacks contract"),
        ({"width": np.zeros(3, np.int32)}, "column width to have 4 rows"),
        ({"width": np.zeros(4)}, "column width .* kind 'i'"),
        ({"id": np.zeros(4)}, "column id .* kind 'U'"),
        ({"id": np.array("one")}, "column id"),
        ({"embedding": np.zeros(4, np.float32)}, "column embedding .* 2 axes"),
        ({"embedding": np.zeros((4, 3), np.float32)}, "8 numbers.* 3: it was altered"),
        ({"error": np.array([{}] * 4)}, "holds Python objects"),
    ],
)
def test_arrays_of_another_kind(tmp_path, change, reason):
    path = tmp_path / "x.npz"
    write_embeddings(path, table())
    rewrite(path, **change)
    with pytest.raises(StorageError, match=rf"x\.npz.*{reason}"):
        read_embeddings(path)


def test_foreign_arrays_are_ignored(tmp_path):
    path = tmp_path / "x.npz"
    write_embeddings(path, table())
    rewrite(path, notes=np.array([{}]))
    assert_same(read_embeddings(path), table())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("README", "hello")
    assert_same(read_embeddings(path), table())


@EVERY
def test_altered_contract(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, table(contract=dataclasses.replace(CONTRACT, weights="sha256:01").to_json()))
    with pytest.raises(StorageError, match=f"{CONTRACT.contract_id}.*altered"):
        read_embeddings(path)
    write_embeddings(path, table(contract="{}"), force=True)
    with pytest.raises(ContractError, match=rf"x\{suffix}"):
        read_embeddings(path)


def test_parquet_of_another_shape(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    write_embeddings(path, table(2))
    complete = parquet.read_table(path)
    lists = arrow.array([[1.0] * 8, None], arrow.list_(arrow.float32()))
    index = complete.schema.get_field_index("embedding")
    parquet.write_table(complete.set_column(index, "embedding", lists), path)
    with pytest.raises(StorageError, match="its embeddings are list"):
        read_embeddings(path)
    parquet.write_table(complete.replace_schema_metadata({}), path)
    with pytest.raises(StorageError, match="lacks artefact_id, contract"):
        read_embeddings(path)


def test_columns_of_other_shapes():
    with pytest.raises(StorageError, match="column error"):
        table(error=np.array(["", ""]))
    with pytest.raises(StorageError, match="kind 'U'"):
        table(error=np.array([None] * 4))


def test_check_same_space():
    check_same_space(table(), table(2))
    with pytest.raises(StorageError, match=f"{CONTRACT.contract_id} and {FOREIGN.contract_id}"):
        check_same_space(table(), table(contract_id=FOREIGN.contract_id))


def test_csv_is_for_other_programs(tmp_path):
    """Every number as it was, nothing for a terminal or a spreadsheet to obey, and nothing to mix by mistake."""
    rows = table(**LABELS | {"identity": np.array(["=1+1", "a\nb\x1b", "-7", "@x"])})
    write_embeddings(tmp_path / "x.csv", rows)
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["identity"] for line in lines] == ["'=1+1", "a\\nb\\x1b", "-7", "'@x"]
    assert [line["contract_id"] for line in lines] == [rows.contract_id] * 4
    assert (lines[1]["embedding_0"], lines[2]["time"], lines[3]["frame"]) == ("", "", str(2**40))
    for row in (0, 2, 3):
        vector = [lines[row][f"embedding_{number}"] for number in range(CONTRACT.dimension)]
        assert np.array_equal(np.array(vector, np.float32), rows.embedding[row])
    for read in (read_embeddings, read_vector_table):
        with pytest.raises(StorageError, match=r"x\.csv: .* a \.csv is written for other programs"):
            read(tmp_path / "x.csv")
