"""Jobs with one file that were interrupted, and go on: the bytes of a job that nobody interrupted, or a refusal."""

import itertools
import os

import numpy as np
import pytest

from reid_runtime.errors import ImageError, StorageError
from reid_runtime.jobs.embed_folder import embed_folder

from ..sample_images import encode, sample_image

EVERY = pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """Twelve images, of which two are none, next to which the tests run; four make a window."""
    (tmp_path / "crops").mkdir()
    for number in range(12):
        content = b"" if number in (2, 6) else encode(sample_image(10 + number % 3, 10, number), "PNG")
        (tmp_path / f"crops/{number:02}.png").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reid_runtime.jobs.kept.WINDOW", 4)
    return tmp_path / "crops"


def interrupted_after(images):
    """What progress calls: Ctrl-C while the image behind so many is taken."""
    calls = itertools.count()

    def progress(_):
        if next(calls) > images:
            raise KeyboardInterrupt

    return progress


@EVERY
@pytest.mark.parametrize("on_error", ["skip", "record"])
def test_interrupted_twice(crops, tiny, suffix, on_error):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    complete = embed_folder(tiny, "crops", f"complete{suffix}", on_error=on_error)
    for images in (3, 6, 3):  # nothing but windows is gone on from: the last call does four images again
        with pytest.raises(KeyboardInterrupt) as caught:
            embed_folder(
                tiny, "crops", f"out{suffix}", on_error=on_error, resume=True, progress=interrupted_after(images)
            )
        kept = f"out.partial{suffix.replace('csv', 'npz')}"
        assert f"what was finished is in {kept}" in caught.value.__notes__[0]
    finished = []
    result = embed_folder(tiny, "crops", f"out{suffix}", on_error=on_error, resume=True, progress=finished.append)
    assert finished == [4, *[1] * 8]
    assert result.failed == complete.failed
    assert len(result.failed) == 2
    assert (crops.parent / f"out{suffix}").read_bytes() == (crops.parent / f"complete{suffix}").read_bytes()
    assert not os.path.lexists(kept)


def test_nothing_to_go_on_from(crops, tiny):
    embed_folder(tiny, "crops", "out.npz", resume=True)
    with pytest.raises(StorageError, match=r"out\.npz exists"):
        embed_folder(tiny, "crops", "out.npz", resume=True)
    with pytest.raises(KeyboardInterrupt) as caught:
        embed_folder(tiny, "crops", "other.npz", progress=interrupted_after(-1))
    assert caught.value.__notes__ == ["ended after 0 of 12 images, and none was finished"]


def test_another_job_is_refused(crops, tiny):
    with pytest.raises(KeyboardInterrupt):
        embed_folder(tiny, "crops", "out.npz", progress=interrupted_after(8))
    kept = dict(np.load("out.partial.npz"))

    def refused(reason, **options):
        with pytest.raises(StorageError, match=reason):
            embed_folder(tiny, "crops", "out.npz", resume=True, **options)
        assert not os.path.lexists("out.npz")

    refused("--on-error was another: begin again", on_error="record")
    refused("the first 8 images of the job have changed since it was made: begin again", shard="1/2")
    (crops / "00.png").touch()
    refused("the first 8 images of the job have changed")
    np.savez("out.partial.npz", **(kept | {"artefact_id": "sha256:other"}))
    refused(f"was made with artefact_id sha256:other, now {tiny.artefact_id}: rows of both must not mix")
    np.savez("out.partial.npz", **{name: values for name, values in kept.items() if name != "part"})
    refused("does not say of which images it was made")


def test_no_file_of_nothing(crops, tiny):
    for path in crops.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"none of the 12 images can be used, and out\.npz is not written; .* 00"):
        embed_folder(tiny, "crops", "out.npz")
    assert [path.name for path in crops.parent.iterdir()] == ["crops"]
