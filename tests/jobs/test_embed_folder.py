"""embed_folder as a call: what it gives, what it reports on the way, and what an exception says of what was kept."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from reid_runtime import Embedder, ImageError, JobResult, StorageError, embed_folder
from reid_runtime.images.limits import ImageLimits
from reid_runtime.jobs import Embeddings, read_embeddings
from reid_runtime.jobs.manifest import MANIFEST, Manifest
from reid_runtime.jobs.parts import part_name

from ..models import DIMENSION
from ..sample_images import encode, sample_image


@pytest.fixture
def crops(tmp_path):
    """Five images, of which the third is none, and a file that is not one by its name."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encode(sample_image(seed=number), "PNG") if number != 2 else b"")
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture
def parts_of_two(monkeypatch):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    monkeypatch.setattr(Manifest.__init__, "__defaults__", (2, *Manifest.__init__.__defaults__[1:]))


@pytest.mark.parametrize("name", ["out.npz", "out.parquet", "out/"])
def test_every_kind_of_output(tiny, crops, tmp_path, name, capfd):
    if name != "out.npz":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    finished = []
    result = embed_folder(tiny, crops, f"{tmp_path}/{name}", on_error="record", progress=finished.append)
    assert result == JobResult(
        f"{tmp_path}/{name}", 5, 4, (("2.png", "the file is empty (0 bytes)"),), (), 0, 1, {".txt": 1}, 0,
        DIMENSION, tiny.contract.contract_id, tiny.artefact_id, tiny.backend.name,
        result.seconds, result.stage_seconds,
    )  # fmt: skip
    assert result.seconds > 0
    assert set(result.stage_seconds) == {"decode", "resize", "infer", "write"}
    rows = read_embeddings(f"{tmp_path}/{name}")
    assert rows.id.tolist() == [f"{number}.png" for number in range(5)]
    good = [crops / f"{number}.png" for number in (0, 1, 3, 4)]
    assert np.array_equal(rows.embedding[[0, 1, 3, 4]], tiny.embed(good))
    assert sum(finished) == 5
    assert capfd.readouterr() == ("", "")


def test_path_without_suffix_is_a_folder(tiny, crops, tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    assert embed_folder(tiny, [crops / "0.png", str(crops / "1.png")], tmp_path / "out").embedded == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MANIFEST, part_name(0)]
    with pytest.raises(StorageError, match=r"out\.txt: expected a name that ends in \.npz or \.parquet or \.csv"):
        embed_folder(tiny, crops, tmp_path / "out.txt")


def test_exception_names_the_kept_file(tiny, crops, tmp_path):
    with pytest.raises(ImageError, match=r"2\.png: the file is empty") as caught:
        embed_folder(tiny, crops, tmp_path / "out.npz", on_error="raise")
    partial = tmp_path / "out.partial.npz"
    assert caught.value.__notes__ == [f"ended after 2 of 5 images; what was finished is in {partial}"]
    assert len(read_embeddings(partial)) == 2


def test_resume_after_exception(tiny, crops, tmp_path, parts_of_two):
    output = f"{tmp_path}/out/"
    with pytest.raises(ImageError) as caught:
        embed_folder(tiny, crops, output, on_error="raise")
    assert caught.value.__notes__ == [f"ended after 1 of 3 parts, 2 of 5 images, which are in {output}"]
    (crops / "2.png").write_bytes((crops / "0.png").read_bytes())
    with pytest.raises(StorageError, match="holds a job already"):
        embed_folder(tiny, crops, output, on_error="raise")
    finished = []
    assert embed_folder(tiny, crops, output, on_error="raise", resume=True, progress=finished.append).embedded == 5
    assert finished == [2, 1, 1, 1]
    embed_folder(tiny, crops, f"{tmp_path}/again/", on_error="raise")
    for name in (MANIFEST, *map(part_name, range(3))):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in which a file is open cannot be removed")
def test_one_job_per_folder(tiny, crops, tmp_path, parts_of_two):
    output = f"{tmp_path}/out/"

    def start_another(finished):
        if not (tmp_path / "gone").exists():
            with pytest.raises(StorageError, match="another run is going on"):
                embed_folder(tiny, crops, output, resume=True)
            (tmp_path / "out").rename(tmp_path / "gone")
            embed_folder(tiny, crops, output)

    with pytest.raises(StorageError, match="removed or replaced while the job ran"):
        embed_folder(tiny, crops, output, on_error="record", progress=start_another)
    assert len(read_embeddings(output)) == 4, "the second job's rows and no others"


def test_resume_format_1(tiny, crops, tmp_path, parts_of_two):
    """Its manifest and its parts called images pictures."""
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "out"
    embed_folder(tiny, crops, output)
    expected = read_embeddings(output)
    manifest = json.loads((output / MANIFEST).read_text())
    old = manifest | {"format": 1, "pictures": manifest["images"], "part_pictures": manifest["part_images"]}
    (output / MANIFEST).write_text(json.dumps({name: old[name] for name in old if "images" not in name}))
    for number in range(3):
        table = parquet.read_table(output / part_name(number))
        note = json.loads(table.schema.metadata[b"part"])
        note["pictures"] = note.pop("images")
        table = table.replace_schema_metadata(table.schema.metadata | {b"part": json.dumps(note).encode()})
        parquet.write_table(table, output / part_name(number), write_page_checksum=True)
    (output / part_name(1)).unlink()
    assert embed_folder(tiny, crops, output, resume=True).embedded == 4
    assert read_embeddings(output).embedding.tobytes() == expected.embedding.tobytes()


def test_from_results(tiny):
    results = list(tiny.stream([encode(sample_image(40, 20), "PNG"), b""]))
    rows = Embeddings.from_results(tiny, ["a", "b"], results)
    assert (rows.width.tolist(), rows.height.tolist()) == ([20, 0], [40, 0])
    assert (rows.contract, rows.backend) == (tiny.contract.to_json(), tiny.backend.name)
    assert (rows.error.tolist(), np.isnan(rows.embedding[1]).all()) == (["", "the file is empty (0 bytes)"], True)
    with pytest.raises(StorageError, match=r"expected the roles junk, distractor or none, found \['thief'\]"):
        dataclasses.replace(rows, role=np.array(["", "thief"]))


@pytest.mark.parametrize("name", ["out.npz", "out/"])
def test_nothing_is_written_where_no_image_can_be_used(tiny, tmp_path, name, parts_of_two):
    for number in range(5):
        (tmp_path / f"{number}.png").touch()
    paths = sorted(tmp_path.glob("*.png"))
    output = f"{tmp_path}/{name}"
    with pytest.raises(ImageError, match=r"none of the 5 images .* not written; the first is .*0\.png: the file"):
        embed_folder(tiny, paths, output)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [path.name for path in paths]
    assert embed_folder(tiny, paths, output, on_error="record").embedded == 0
    assert len(read_embeddings(output)) == 5


def test_another_smallest_size_is_another_job(tiny_model, crops, tmp_path, parts_of_two):
    embed_folder(Embedder.load(tiny_model), crops, tmp_path / "out")
    other = Embedder.load(tiny_model, limits=ImageLimits(min_side=9))
    with pytest.raises(StorageError, match="begun with min_side 1, now 9"):
        embed_folder(other, crops, tmp_path / "out", resume=True)


@pytest.mark.parametrize("name", ["out.npz", "out/"])
def test_doubtful_images_are_named_after_resuming_too(tiny, crops, tmp_path, name, parts_of_two):
    (crops / "0.png").write_bytes(encode(sample_image(40, 3), "PNG"))
    output, bad = f"{tmp_path}/{name}", (crops / "2.png").read_bytes()
    with pytest.raises(ImageError):
        embed_folder(tiny, crops, output, on_error="raise")
    (crops / "2.png").write_bytes(encode(np.full((64, 32, 3), 7, np.uint8), "PNG"))
    assert bad != (crops / "2.png").read_bytes()
    result = embed_folder(tiny, crops, output, on_error="raise", resume=True)
    assert result.flagged == (("0.png", "too_small,extreme_aspect"), ("2.png", "blank"))
    assert read_embeddings(output).flagged() == result.flagged
