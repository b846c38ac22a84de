"""Several files as one: every row once, in order, of one model; nothing is written where that cannot be."""

import dataclasses
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_runtime.errors import StorageError
from reid_runtime.io.folder import open_folder
from reid_runtime.jobs import merge as merging
from reid_runtime.jobs import read_embeddings, write_embeddings
from reid_runtime.jobs.embeddings import join
from reid_runtime.jobs.merge import merge
from reid_runtime.jobs.parts import Part, begin, part_name

from ..models import CONTRACT, FOREIGN
from .tables import JOB, assert_same, table

pytest.importorskip("pyarrow", reason="needs the extra parquet")

EVERY = pytest.mark.parametrize("suffix", [".npz", ".parquet"])
ROWS = table(40, id=np.array([f"{row:02}.jpg" for row in range(40)]))


def write_job(folder, rows, shard="1/1", failed=()):
    """A finished job of these rows, in parts of 4."""
    job = dataclasses.replace(JOB, images=len(rows), shard=shard, contract=rows.contract, contract_id=rows.contract_id)
    job = dataclasses.replace(job, digests=("",) * job.parts)
    folder = open_folder(str(folder))
    begin(folder, job)
    for number in range(job.parts):
        Part(len(job.images_of(number)), "", failed).write(folder, number, rows.take([*job.images_of(number)]))
    return folder.name


@EVERY
def test_merge_shards(tmp_path, suffix):
    parts = np.random.default_rng(1).permutation(40) % 3
    names = [write_job(tmp_path / f"{n}", ROWS.take(np.flatnonzero(parts == n)), f"{n + 1}/3") for n in (0, 1, 2)]
    assert merge(names[::-1], tmp_path / f"out{suffix}") == 40
    assert_same(read_embeddings(tmp_path / f"out{suffix}"), ROWS)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_any_order_is_sorted(tmp_path_factory, data, group):
    """Whatever order the rows have in their files and groups, and however small the groups are."""
    folder = tmp_path_factory.mktemp("merge")
    order = data.draw(st.permutations(range(20)))
    cuts = sorted(data.draw(st.lists(st.integers(0, 20), max_size=3)))
    rows = [ROWS.take(np.array(some, np.int64)) for some in np.split(np.array(order), cuts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reid_runtime.jobs.parquet.GROUP", group)
        patch.setattr("reid_runtime.jobs.merge.GROUP", group)
        names = []
        for number, some in enumerate(rows):
            names.append(str(folder / f"{number}{data.draw(st.sampled_from(['.npz', '.parquet']))}"))
            write_embeddings(folder / names[-1], some)
        assert merge(names, folder / "out.parquet") == 20
    assert_same(read_embeddings(folder / "out.parquet"), ROWS.take(np.arange(20)))


def test_labels_come_along(tmp_path):
    labels = {
        "identity": np.arange(40).astype(str),
        "camera": (np.arange(40) % 3).astype(str),
        "split": np.array(["query", "gallery"] * 20),
    }
    rows = dataclasses.replace(ROWS, **labels)
    for number, some in enumerate(np.split(np.arange(40), 4)):
        write_embeddings(tmp_path / f"{number}.parquet", rows.take(some))
    merge([str(tmp_path / f"{number}.parquet") for number in range(4)], tmp_path / "out.parquet")
    assert_same(read_embeddings(tmp_path / "out.parquet"), rows)
    write_embeddings(tmp_path / "bare.parquet", table(1))
    with pytest.raises(StorageError, match=r"0\.parquet has the columns .*split, .*bare\.parquet .*error; expected"):
        merge([str(tmp_path / "0.parquet"), str(tmp_path / "bare.parquet")], tmp_path / "x.parquet")


@EVERY
def test_duplicate_id(tmp_path, suffix):
    write_embeddings(tmp_path / "a.parquet", ROWS.take(np.arange(10)))
    write_embeddings(tmp_path / "b.npz", ROWS.take(np.arange(9, 30)))
    write_embeddings(tmp_path / "c.parquet", join([ROWS, ROWS.take(np.array([7]))]))
    for names, message in (
        (["a.parquet", "b.npz"], r"09\.jpg is in .*and again in"),
        (["c.parquet"], r"07\.jpg is twice in"),
    ):
        with pytest.raises(StorageError, match=message):
            merge([str(tmp_path / name) for name in names], tmp_path / f"out{suffix}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.npz", "c.parquet"]


def test_two_models(tmp_path):
    write_embeddings(tmp_path / "a.npz", ROWS.take(np.arange(3)))
    foreign = {"contract": FOREIGN.to_json(), "contract_id": FOREIGN.contract_id}
    write_embeddings(tmp_path / "b.parquet", dataclasses.replace(ROWS.take(np.arange(3, 5)), **foreign))
    write_embeddings(tmp_path / "c.parquet", dataclasses.replace(ROWS.take(np.arange(3, 5)), artefact_id="sha256:cd"))
    job = write_job(tmp_path / "job", dataclasses.replace(ROWS.take(np.arange(0)), **foreign))
    both = f"{CONTRACT.contract_id} and {FOREIGN.contract_id}"
    for other, message in (("b.parquet", both), ("c.parquet", "sha256:ab and sha256:cd"), (job, both)):
        with pytest.raises(StorageError, match=message):
            merge([str(tmp_path / "a.npz"), str(tmp_path / other)], tmp_path / "out.npz")


@EVERY
def test_backends_of_merged_files(tmp_path, suffix):
    names = ["onnxruntime cuda", "onnxruntime cpu", "onnxruntime cuda", None]
    for row, name in enumerate(names):
        write_embeddings(tmp_path / f"{row}.npz", dataclasses.replace(ROWS.take(np.array([row])), backend=name))
    both = "onnxruntime cuda; onnxruntime cpu"
    for count, expected in ((1, "onnxruntime cuda"), (2, both), (3, both), (4, None)):
        output = tmp_path / f"of {count}{suffix}"
        merge([str(tmp_path / f"{row}.npz") for row in range(count)], output)
        assert read_embeddings(output).backend == expected


def test_missing_parts_and_shards(tmp_path):
    names = [write_job(tmp_path / f"{n}", ROWS.take(np.arange(n * 10, n * 10 + 10)), f"{n}/5") for n in (1, 3)]
    with pytest.raises(StorageError, match=r"shards are missing: 2/5, 4/5, 5/5; .*--partial"):
        merge(names, tmp_path / "out.npz")
    assert merge(names, tmp_path / "out.npz", allow_missing=True) == 20
    (tmp_path / "1" / part_name(1)).unlink()
    with pytest.raises(
        StorageError, match=r"1: 1 of 3 parts are missing, the first is part-00001\.parquet: .*--resume"
    ):
        merge(names, tmp_path / "out.npz", force=True)
    assert merge(names, tmp_path / "out.npz", force=True, allow_missing=True) == 16


def test_jobs_without_rows(tmp_path):
    empty = write_job(tmp_path / "empty", ROWS.take(np.arange(0)))
    for name in ("out.npz", "out.parquet"):
        assert merge([empty], tmp_path / name) == 0
        assert_same(read_embeddings(tmp_path / name), table(0))
    assert merge([empty, str(tmp_path / "out.npz")], tmp_path / "out.parquet", force=True) == 0


def test_missing_inputs(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("absent.npz", "absent.npz: expected"),
        ("absent.parquet", "absent.parquet"),
        ("folder", "manifest"),
    ):
        with pytest.raises(StorageError, match=message):
            merge([str(tmp_path / name)], tmp_path / "out.npz")


def test_parts_are_held_one_at_a_time(tmp_path, monkeypatch):
    """What is held does not grow with the number of parts: that of one, and the rows that wait to be written."""
    monkeypatch.setattr(merging, "GROUP", 4)
    shards = [write_job(tmp_path / f"{n}", ROWS.take(np.arange(n, 40, 2)), f"{n + 1}/2") for n in (0, 1)]
    held, most = [], 0
    read = merging._sorted

    def counted(run):
        nonlocal most
        rows, ids = read(run)
        held.append(weakref.ref(rows.embedding))
        most = max(most, sum(rows() is not None for rows in held))
        return rows, ids

    monkeypatch.setattr(merging, "_sorted", counted)
    merge(shards, tmp_path / "out.parquet")
    assert len(held) == 10
    assert 2 <= most <= 4


@EVERY
def test_prefix(tmp_path, monkeypatch, suffix):
    """Two cameras' files of the same names, and a folder of parts."""
    monkeypatch.chdir(tmp_path)
    for name in ("cam2", "cam1"):
        write_embeddings(f"{name}{suffix}", ROWS)
    write_job("job", ROWS)
    inputs = [f"cam2{suffix}", f"./cam1{suffix}", "job/"]
    with pytest.raises(StorageError, match=r"00\.jpg is in .* expected every id once; pass --prefix"):
        merge(inputs, tmp_path / "out.npz")
    assert merge(inputs, tmp_path / "out.npz", prefix=True) == 120
    rows = read_embeddings("out.npz")
    assert rows.id.tolist() == [f"{name}/{row}" for name in ("cam1", "cam2", "job") for row in ROWS.id]
    assert np.array_equal(rows.embedding, np.tile(ROWS.embedding, (3, 1)), equal_nan=True)


@EVERY
def test_earlier_files_have_no_reasons(tmp_path, suffix):
    """They merge with files that have the column."""
    flagged = table(3, id=np.array(["a", "b", "c"]), reasons=np.array(["blank", "", "too_small"]))
    old, new, both = (tmp_path / f"{name}{suffix}" for name in ("old", "new", "both"))
    write_embeddings(old, table(3))
    write_embeddings(new, flagged)
    for inputs in ((old, new), (new, old)):
        assert merge([*map(str, inputs)], both, force=True) == 6
        rows = read_embeddings(both)
        assert rows.reasons.tolist() == ["blank", "", "too_small", "", "", ""]
        assert rows.flagged() == (("a", "blank"), ("c", "too_small"))


@EVERY
def test_vectors_that_are_not_of_unit_length_are_refused(tmp_path, suffix):
    write_embeddings(tmp_path / "good.npz", ROWS.take(np.arange(20)))
    altered = ROWS.take(np.arange(20, 40))
    row = int(np.flatnonzero(altered.error == "")[0])
    altered.embedding[row] *= 1.5
    write_embeddings(tmp_path / f"altered{suffix}", altered)
    with pytest.raises(StorageError, match=rf"altered{suffix}: 1 vectors are not of unit length.*{altered.id[row]}"):
        merge([str(tmp_path / "good.npz"), str(tmp_path / f"altered{suffix}")], tmp_path / "all.npz")
    assert not (tmp_path / "all.npz").exists()
