"""Folders and files that were altered: no row is lost without a word, and no memory is taken by what they promise."""

import dataclasses
import io
import json
import os
import shutil
import sys
import zipfile

import numpy as np
import pytest

from reid_runtime.errors import StorageError
from reid_runtime.io.folder import open_folder
from reid_runtime.jobs import read_embeddings, write_embeddings
from reid_runtime.jobs.manifest import MANIFEST, read_manifest
from reid_runtime.jobs.merge import merge
from reid_runtime.jobs.parts import Part, part_name

from .tables import assert_same, table
from .test_merge import ROWS, write_job

pytest.importorskip("pyarrow", reason="needs the extra parquet")


@pytest.fixture
def job(tmp_path):
    """A finished job of forty rows in ten parts."""
    return tmp_path / write_job(tmp_path / "out", ROWS)


def rewrite(folder, version, **changes):
    """Make the manifest one of an earlier format, with changes."""
    values = json.loads((folder / MANIFEST).read_text()) | {"format": version}
    values = {name: value for name, value in values.items() if name not in ("digest", "digests", "limits")}
    names = {"images": "pictures", "part_images": "part_pictures"} if version == 1 else {}
    values = {names.get(name, name): value for name, value in (values | changes).items()}
    (folder / MANIFEST).write_text(json.dumps(values))


def refused(folder, reason):
    """Reading and merging, also of what is there, are refused."""
    with pytest.raises(StorageError, match=reason):
        read_embeddings(folder)
    for allow_missing in (False, True):
        with pytest.raises(StorageError, match=reason):
            merge([str(folder)], folder.parent / "x.npz", allow_missing=allow_missing)
    assert not (folder.parent / "x.npz").exists()


@pytest.mark.parametrize("version", [1, 2])
def test_earlier_formats_are_read(job, version):
    rewrite(job, version)
    assert_same(read_embeddings(job), ROWS)
    assert merge([str(job)], job.parent / "x.npz") == 40


def test_an_altered_manifest_is_seen(job):
    text = (job / MANIFEST).read_text()
    for before, after in (
        ('"images": 40', '"images": 36'),
        ('"shard": "1/1"', '"shard": "1/2"'),
        ("sha256:ab", "sha256:ac"),
    ):
        (job / MANIFEST).write_text(text.replace(before, after))
        refused(job, r"manifest\.json is no manifest of this version: it was altered")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": 20}, r"holds part-00005\.parquet, and its manifest\.json says 5 parts of 20 images"),
        ({"images": 39}, r"part-00009\.parquet was altered, or is another job's: expected 3 images .*, found 4"),
        ({"part_images": 10**40}, r"holds part-00001\.parquet, and its manifest\.json says 1 parts"),
        ({"part_images": 1, "images": 10}, r"part-00000\.parquet was altered"),
    ],
)
def test_a_manifest_of_another_count(job, changes, reason):
    rewrite(job, 2, **changes)
    refused(job, reason)


@pytest.mark.parametrize("images", [41, 10**15, 10**30])
def test_a_manifest_of_more_than_there_is(job, images):
    """It takes the time and memory of the parts that are there."""
    rewrite(job, 2, images=images)
    for read in (read_embeddings, lambda folder: merge([str(folder)], job.parent / "x.npz")):
        with pytest.raises(StorageError, match=rf"{-(-images // 4) - 10} of {-(-images // 4)} parts are missing"):
            read(job)


def test_a_shard_of_very_many(job):
    rewrite(job, 2, shard="3/10000000000")
    with pytest.raises(StorageError, match=r"shards are missing: 1/10000000000, 2/1.* and 9999999989 more; name"):
        merge([str(job)], job.parent / "x.npz")
    rewrite(job, 2, shard="x")
    refused(job, r"no manifest of this version: expected a shard")


def test_parts_of_other_images(job):
    """Another job's part of the same model and number of images, and one that lost a row."""
    other = write_job(job.parent / "other", ROWS)
    folder, manifest = open_folder(str(job)), read_manifest(open_folder(other))
    dataclasses.replace(manifest, digests=tuple(f"sha256:{number}" for number in range(10))).write(folder)
    refused(job, r"part-00000\.parquet was altered, or is another job's: .* with the digest sha256:0, found 4, .* with")
    manifest.write(folder)
    shutil.copy(job / part_name(2), job / "part-000002.parquet")
    refused(job, r"holds part-000002\.parquet")
    os.remove(job / "part-000002.parquet")
    Part(4, "", ()).write(folder, 3, ROWS.take(np.arange(12, 15)))
    refused(job, r"part-00003\.parquet was altered.* expected 4 images .* of which 3 are there")


def header(kind, shape):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": kind, "fortran_order": False, "shape": shape})
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "start", "zeros", "reason"),
    [
        ("embedding", header("<f4", (4, 10**8)), 10**8, "arrays need 100,.* bytes, out of a file of"),
        ("contract", header("<U100000000", ()), 10**8, "arrays need 100,.* bytes, out of a file of"),
        ("embedding", header("<f4", (10**12, 8)), 1, r"embedding\.npy says 32,000,000,000,128 bytes and has 129"),
        ("id", header("<U100000000", (4,)), 1000, r"id\.npy says 1,600,000,128 bytes"),
        ("id", header("<f4", (4, 8)).replace(b"8)", b"-8)"), 10, r"id\.npy says"),
    ],
)
def test_npz_of_promises(tmp_path, name, start, zeros, reason):
    write_embeddings(tmp_path / "a.npz", table())
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as honest,
        zipfile.ZipFile(tmp_path / "b.npz", "w", 8, compresslevel=1) as bomb,
    ):
        for member in honest.namelist():
            bomb.writestr(member, start + bytes(zeros) if member == f"{name}.npy" else honest.read(member))
    for read in (read_embeddings, lambda path: merge([str(path)], tmp_path / "x.npz")):
        with pytest.raises(StorageError, match=reason):
            read(tmp_path / "b.npz")


def test_parquet_of_promises(tmp_path, monkeypatch):
    """Ten million rows without a vector, of one id, in a few kilobytes."""
    import pyarrow
    from pyarrow import parquet

    write_embeddings(tmp_path / "a.parquet", table())
    row = parquet.read_table(tmp_path / "a.parquet").slice(1, 1)
    many = row.take(pyarrow.array(np.zeros(10**6, np.int64)))
    parquet.write_table(many, tmp_path / "b.parquet")
    assert (tmp_path / "b.parquet").stat().st_size < 50_000
    monkeypatch.setattr("reid_runtime.jobs.parquet._LARGEST", 2**23)
    for read in (read_embeddings, lambda path: merge([str(path)], tmp_path / "x.npz")):
        with pytest.raises(StorageError, match="its 1,000,000 rows need 32,000,000 bytes, out of a file of"):
            read(tmp_path / "b.parquet")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_no_part(job):
    (job / part_name(4)).unlink()
    os.mkfifo(job / part_name(4))
    refused(job, "part-00004.parquet cannot be read: it is a pipe")
