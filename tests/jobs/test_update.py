"""A folder of parts that is brought up to date: the rows of a new job, and parts without a change are not touched."""

import os
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_runtime.errors import OptionsError, StorageError
from reid_runtime.io.folder import open_folder
from reid_runtime.jobs import read_embeddings
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.jobs.manifest import Manifest
from reid_runtime.jobs.parts import part_name
from reid_runtime.jobs.update import _order

from ..sample_images import encode, sample_image

pytest.importorskip("pyarrow", reason="needs the extra parquet")


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """Eleven images, of which one is none, next to which the tests run; four make a part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reid_runtime.jobs.job.Manifest", partial(Manifest, part_images=4))
    (tmp_path / "crops").mkdir()
    for number in range(11):
        add(tmp_path / "crops", f"{number:02}.png", number)
    (tmp_path / "crops/05.png").write_bytes(b"")
    return tmp_path / "crops"


def add(folder, name, seed=0):
    (folder / name).write_bytes(encode(sample_image(10, 10, seed), "PNG"))


def inodes():
    return {name: os.stat(f"out/{name}").st_ino for name in os.listdir("out")}


def updated(tiny, **options):
    """Bring it up to date; which parts were not touched. What is there then is what a new job gives."""
    before = inodes()
    result = embed_folder(tiny, "crops", "out/", update=True, **options)
    embed_folder(tiny, "crops", "new.npz", force=True, **options)
    actual, expected = read_embeddings("out"), read_embeddings("new.npz")
    assert dict(zip(actual.id.tolist(), actual.embedding.tolist(), strict=True)) == dict(
        zip(expected.id.tolist(), expected.embedding.tolist(), strict=True)
    )
    assert (result.embedded, len(actual)) == (len(expected), len(expected))
    return [number for number in range(9) if before.get(part_name(number)) == inodes().get(part_name(number), -1)]


def test_update(crops, tiny):
    embed_folder(tiny, "crops", "out/", update=True)
    assert updated(tiny) == [0, 1, 2]
    add(crops, "00b.png", 20)  # sorted before the others; they fill the last part and begin another
    add(crops, "20.png", 21)
    assert updated(tiny) == [0, 1]
    assert updated(tiny) == [0, 1, 2, 3]
    add(crops, "05.png", 22)
    assert 1 not in updated(tiny)
    os.remove(crops / "01.png")
    os.remove(crops / "02.png")
    assert len(updated(tiny)) >= 1
    for path in crops.iterdir():
        if path.name not in ("00.png", "20.png"):
            path.unlink()
    assert updated(tiny) == []
    assert sorted(os.listdir("out")) == ["manifest.json", part_name(0)]


def test_interrupted_and_damaged(crops, tiny):
    embed_folder(tiny, "crops", "out/")
    add(crops, "00b.png", 20)
    with pytest.raises(StorageError, match=r"have changed: .* pass --update"):
        embed_folder(tiny, "crops", "out/", resume=True)
    with open(f"out/{part_name(0)}", "r+b") as file:
        file.truncate(100)

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_folder(tiny, "crops", "out/", update=True, progress=interrupted)
    with pytest.raises(StorageError):
        read_embeddings("out")
    assert updated(tiny) == [1]


def test_another_job_is_not_updated(crops, tiny):
    embed_folder(tiny, "crops", "out/")
    before = inodes()
    with pytest.raises(StorageError, match="--on-error skip, now record"):
        embed_folder(tiny, "crops", "out/", update=True, on_error="record")
    assert inodes() == before
    assert open_folder("out/").names() == sorted(before)
    for output, options in (("out/", {"force": True}), ("x.npz", {})):
        with pytest.raises(OptionsError, match="--update"):
            embed_folder(tiny, "crops", output, update=True, **options)


@given(st.data(), st.integers(0, 30), st.integers(1, 4))
def test_order(data, count, part_images):
    """Every image once, and a part that stays is where it was, in whole."""
    numbers = data.draw(st.sets(st.integers(0, 6), max_size=count // part_images))
    free = data.draw(st.permutations(range(count)))
    kept = {number: sorted(free[k * part_images : (k + 1) * part_images]) for k, number in enumerate(sorted(numbers))}
    order = list(_order(kept, count, part_images))
    assert sorted(order) == list(range(count))
    for number, indices in kept.items():
        assert order[number * part_images : (number + 1) * part_images] == indices
