"""A folder of parts: what is there is what is done, and only one job's rows meet in it."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.install import install_line
from reid_runtime.io.folder import open_folder
from reid_runtime.jobs import read_embeddings
from reid_runtime.jobs.manifest import MANIFEST, read_manifest
from reid_runtime.jobs.parts import Part, begin, check_folder, clear, part_name

from ..models import CONTRACT, FOREIGN
from .tables import JOB as BARE_JOB
from .tables import assert_same, table

pytest.importorskip("pyarrow", reason="needs the extra parquet")

DIGESTS = ["sha256:0", "sha256:1", "sha256:2"]
JOB = dataclasses.replace(BARE_JOB, digests=tuple(DIGESTS))
ROWS = table(10)


def write(folder, number, rows=ROWS, failed=()):
    some = JOB.images_of(number)
    Part(len(some), DIGESTS[number], failed).write(folder, number, rows.take([*some]))


@pytest.fixture(params=["disk", "store"])
def folder(request, tmp_path):
    """An empty folder that is not there yet, of this machine or of a store."""
    if request.param == "disk":
        yield open_folder(f"{tmp_path}/out/")
    else:
        fsspec = pytest.importorskip("fsspec", reason="needs the extra s3")
        yield open_folder(f"memory://{tmp_path.name}/out/")
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def test_images_of_parts():
    assert [JOB.images_of(number) for number in range(JOB.parts)] == [range(4), range(4, 8), range(8, 10)]
    assert dataclasses.replace(JOB, images=8).parts == 2
    assert dataclasses.replace(JOB, images=0).parts == 0


def test_begin(folder):
    assert begin(folder, JOB) == {}
    assert read_manifest(folder) == JOB
    write(folder, 0, failed=(("a.jpg", "it is empty"),))
    write(folder, 2)
    assert begin(folder, JOB) == {
        0: Part(4, "sha256:0", (("a.jpg", "it is empty"),)),
        2: Part(2, "sha256:2", ()),
    }
    with pytest.raises(
        StorageError, match=r"1 of 3 parts are missing, the first is part-00001\.parquet: finish .*--resume"
    ):
        read_embeddings(folder.name)
    write(folder, 0)
    write(folder, 1)
    assert_same(read_embeddings(folder.name), ROWS)
    assert folder.names() == [MANIFEST, *map(part_name, range(3))]


def test_parts_with_labels(folder):
    begin(folder, JOB)
    rows = dataclasses.replace(ROWS, identity=np.arange(10).astype(str), split=np.array(["query", "gallery"] * 5))
    for number in range(3):
        write(folder, number, rows)
    assert_same(read_embeddings(folder.name), rows)


def test_job_without_images(folder):
    begin(folder, dataclasses.replace(JOB, images=0, digests=()))
    assert_same(read_embeddings(folder.name), table(0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"contract_id": FOREIGN.contract_id}, f"contract id {CONTRACT.contract_id}, now {FOREIGN.contract_id}"),
        ({"artefact_id": "sha256:cd"}, "model file sha256:ab, now sha256:cd"),
        ({"backend": "openvino cpu, bfloat16"}, "backend onnxruntime cpu, now openvino cpu, bfloat16"),
        ({"shard": "1/2"}, "shard 1/1, now 1/2"),
        ({"on_error": "record"}, "--on-error skip, now record"),
        ({"part_images": 5}, "images a part 4, now 5"),
    ],
)
def test_begin_with_another_job(folder, changed, message):
    begin(folder, JOB)
    write(folder, 0)
    with pytest.raises(StorageError, match=message):
        begin(folder, dataclasses.replace(JOB, **changed))
    assert read_manifest(folder) == JOB


def test_changed_images_of_finished_parts(folder):
    begin(folder, JOB)
    write(folder, 0)
    with pytest.raises(StorageError, match=r"images of part-00000\.parquet have changed.*sha256:0 .*with sha256:new"):
        begin(folder, dataclasses.replace(JOB, digests=("sha256:new", *DIGESTS[1:])))
    write(folder, 2)
    with pytest.raises(StorageError, match=r"part-00002\.parquet have changed: it was made of 2 .*now there are 3"):
        begin(folder, dataclasses.replace(JOB, images=11))
    with pytest.raises(StorageError, match=r"part-00002\.parquet have changed: it was made of 2 .*now there are 0"):
        begin(folder, dataclasses.replace(JOB, images=8, digests=JOB.digests[:2]))
    assert begin(folder, JOB).keys() == {0, 2}


def test_changed_images_of_missing_parts(folder):
    """The result is what an uninterrupted run over the images as they are now would give."""
    begin(folder, JOB)
    write(folder, 0)
    more = dataclasses.replace(JOB, images=13, digests=("sha256:0", "sha256:new", "sha256:new", "sha256:new"))
    assert begin(folder, more).keys() == {0}
    assert read_manifest(folder) == more


def test_resume_by_another_version(folder):
    begin(folder, JOB)
    assert begin(folder, dataclasses.replace(JOB, version="2.0")) == {}
    assert read_manifest(folder).version == "1.0"


def test_check_folder(folder):
    check_folder(folder, resume=False, force=False)
    check_folder(folder, resume=True, force=False)
    begin(folder, JOB)
    write(folder, 0)
    with pytest.raises(StorageError, match=r"holds a job already \(2 files\): pass --resume"):
        check_folder(folder, resume=False, force=False)
    check_folder(folder, resume=True, force=False)
    assert len(folder.names()) == 2
    check_folder(folder, resume=False, force=True)
    assert len(folder.names()) == 2
    clear(folder)
    assert folder.names() == []
    write(folder, 0)
    with pytest.raises(StorageError, match=r"parts and no manifest\.json"):
        check_folder(folder, resume=True, force=False)
    with pytest.raises(StorageError, match=r"no manifest\.json: expected a folder"):
        read_embeddings(folder.name)
    folder.write(".DS_Store", b"of the system")
    clear(folder)
    check_folder(folder, resume=False, force=False)
    write(folder, 0)
    folder.remove(".DS_Store")
    folder.write("thesis.txt", b"precious")
    for resume, force in ((False, False), (True, False), (False, True)):
        with pytest.raises(StorageError, match=r"holds thesis\.txt, which is no part of a job"):
            check_folder(folder, resume, force)
    assert folder.names() == [part_name(0), "thesis.txt"]


def test_stale_files_are_removed(tmp_path):
    folder = open_folder(str(tmp_path))
    begin(folder, JOB)
    for name in (".part-00001.parquet.0a1b2c3d.part", ".manifest.json.00000000.part"):
        (tmp_path / name).write_bytes(b"half")
    check_folder(folder, resume=True, force=False)
    assert begin(folder, JOB) == {}
    assert folder.names() == [MANIFEST]


def test_damaged_parts(folder):
    begin(folder, JOB)
    for number in range(3):
        write(folder, number)
    with folder.open(part_name(1)) as file:
        complete = file.read()
    folder.write(part_name(1), complete[:-20])
    with pytest.raises(StorageError, match=r"part-00001\.parquet is no part of a job, or damaged: .*remove it and"):
        begin(folder, JOB)
    with pytest.raises(StorageError, match=r"part-00001\.parquet: expected a file of embeddings"):
        read_embeddings(folder.name)
    altered = bytearray(complete)
    altered[40] ^= 4  # within the first page of values
    folder.write(part_name(1), bytes(altered))
    with pytest.raises(StorageError, match=r"part-00001\.parquet is no part of a job, or damaged: .*remove it and"):
        begin(folder, JOB)
    write(folder, 1, dataclasses.replace(ROWS, artefact_id="sha256:cd"))
    with pytest.raises(StorageError, match=r"part-00001\.parquet is of .*sha256:cd, the job of .*sha256:ab"):
        read_embeddings(folder.name)
    for content in (b"", b"{}", b"[]", json.dumps({"format": 3}).encode(), b'{"format": 1, "shard": "1/1"}'):
        folder.write(MANIFEST, content)
        with pytest.raises(StorageError, match=r"manifest\.json is no manifest of this version"):
            begin(folder, JOB)
    for field, value in (("part_images", 0), ("part_images", "4"), ("images", -1), ("shard", 5)):
        edited = {"format": 2} | dataclasses.asdict(JOB) | {field: value}
        folder.write(MANIFEST, json.dumps(edited).encode())
        with pytest.raises(StorageError, match=f"manifest.json is no manifest of this version: it.*{value!r}"):
            read_manifest(folder)


def test_unwritable_folder(tmp_path, monkeypatch):
    with pytest.raises(StorageError, match=r"out/ cannot be made: .*No such file or directory"):
        begin(open_folder(f"{tmp_path}/absent/out/"), JOB)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        check_folder(open_folder(f"{tmp_path}/file/"), resume=False, force=False)
    folder = open_folder(f"{tmp_path}/out/")
    begin(folder, JOB)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StorageError, match=r"part-00000\.parquet could not be written: .*No space left"):
        write(folder, 0)
    assert folder.names() == [MANIFEST]


def test_missing_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StorageError, match=re.escape(install_line("parquet"))):
        check_folder(open_folder(f"{tmp_path}/out/"), resume=False, force=False)
