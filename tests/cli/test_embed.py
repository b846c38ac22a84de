"""reid-runtime embed: what is written, what is printed where, and how it ends."""

import io
import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reid_runtime import Embedder
from reid_runtime.jobs import read_embeddings
from reid_runtime.model_file.contract import TrainedOn

from ..models import CONTRACT, DIMENSION, write_model
from ..sample_images import claiming, encode, sample_image

BAD = {
    "b/broken.jpg": encode(sample_image(), "JPEG")[:200],
    "b/empty.png": b"",
    "b/text.jpg": b"hello, this is a text",
    "b/bomb.bmp": claiming("BMP", 30_000, 30_000),
}
GOOD = {
    "a/1.jpg": encode(sample_image(seed=1), "JPEG"),
    "a/2.PNG": encode(sample_image(30, 70), "PNG"),
    "b/1.jpg": encode(sample_image(seed=2), "JPEG"),
    "c/palette.bmp": encode(Image.fromarray(sample_image(seed=3)).quantize(5), "BMP"),
    "c/w.webp": encode(sample_image(1, 9), "WEBP"),
}


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """A folder `crops` with good and bad images, next to which the commands run."""
    for name, content in {**GOOD, **BAD, "a/readme.md": b"#"}.items():
        path = tmp_path / "crops" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "crops/b/dangling.jpg").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "crops"


@pytest.fixture
def embed(command, tiny_model, crops):
    """`reid-runtime embed` with the small model."""
    return lambda *arguments: command("embed", "--model", tiny_model, "--device", "cpu", *arguments)


REASONS = {
    "b/bomb.bmp": "more than 64,000,000 pixels",
    "b/broken.jpg": "corrupt or truncated",
    "b/dangling.jpg": "No such file or directory",
    "b/empty.png": "empty (0 bytes)",
    "b/text.jpg": "not a JPEG, PNG, BMP, WebP or TIFF image",
}


def test_bad_images_are_skipped(embed, tiny, crops):
    run = embed("crops")
    assert run.code == 3
    rows = read_embeddings(crops.parent / "embeddings.npz")
    assert rows.id.tolist() == sorted(GOOD)
    assert np.array_equal(rows.embedding, tiny.embed([GOOD[name] for name in sorted(GOOD)]))
    assert list(zip(rows.width, rows.height, strict=True)) == [(32, 64), (70, 30), (32, 64), (32, 64), (9, 1)]
    assert not any(rows.error)
    assert (rows.contract_id, rows.artefact_id) == (tiny.contract.contract_id, tiny.artefact_id)
    assert run.out == ""
    lines = run.err.splitlines()
    assert lines[0] == f"embedded 5 of 10 images: {DIMENSION} numbers each, in embeddings.npz"
    assert lines[1] == "passed over, not images by their names: 1 .md"
    assert lines[2:4] == [
        "embedded, with reasons for doubt: 1 (blank 1, extreme_aspect 1, too_small 1)",
        "  c/w.webp: too_small,extreme_aspect,blank",
    ]
    assert rows.reasons.tolist() == ["", "", "", "", "too_small,extreme_aspect,blank"]
    assert lines[4] == "skipped: 5"
    for line, (name, reason) in zip(lines[5:-1], REASONS.items(), strict=True):
        assert line.startswith(f"  {name}: ")
        assert reason in line


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_on_error_record(embed, crops, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    run = embed("crops", "--on-error", "record", "-o", f"out{suffix}")
    assert run.code == 3
    assert "recorded with their errors: 5" in run.err
    rows = read_embeddings(crops.parent / f"out{suffix}")
    assert rows.id.tolist() == sorted([*GOOD, *REASONS])
    for name, vector, width, error in zip(rows.id, rows.embedding, rows.width, rows.error, strict=True):
        assert REASONS.get(name, "") in error
        assert bool(error) == (name in REASONS) == np.isnan(vector).all() == (width == 0)


def test_on_error_raise(embed, crops):
    run = embed("crops", "--on-error", "raise")
    assert run.code == 1
    kept, message = run.err.splitlines()
    assert kept.startswith("ended after 3 of 10 images; what was finished is in embeddings.partial.npz; to go on: ")
    assert "reid-runtime embed --resume " in kept
    assert message.startswith("error: b/bomb.bmp: 30000x30000 is more than")
    assert len(read_embeddings(crops.parent / "embeddings.partial.npz")) == 3
    assert not (crops.parent / "embeddings.npz").exists()


def test_partial_files_are_not_overwritten(embed, crops):
    for name in ("embeddings.partial.npz", "embeddings.partial-2.npz"):
        embed("crops", "--on-error", "raise")
        assert len(read_embeddings(crops.parent / name)) == 3


def test_all_good_is_0(embed, crops):
    run = embed("crops/a", "crops/c", "-o", "x.npz")
    assert (run.code, run.out) == (0, "")
    assert run.err.splitlines()[0] == f"embedded 4 of 4 images: {DIMENSION} numbers each, in x.npz"
    assert read_embeddings(crops.parent / "x.npz").id.tolist() == [
        f"crops/{name}" for name in ("a/1.jpg", "a/2.PNG", "c/palette.bmp", "c/w.webp")
    ]


def test_missing_images_of_a_list(embed, crops):
    (crops / "list.txt").write_text("crops/a/1.jpg\na/1.jpg\n")
    run = embed("crops/list.txt")
    assert run.code == 3
    assert f"  a/1.jpg: cannot be read: No such file or directory in {crops.parent}\n" in run.err


def test_no_usable_image(embed, crops):
    run = embed("crops/b/empty.png", "crops/b/text.jpg")
    assert run.code == 1
    assert (
        "error: none of the 2 images can be used, and embeddings.npz is not written; the first is crops/b/" in run.err
    )
    assert [path.name for path in crops.parent.iterdir()] == ["crops"]
    assert embed("crops/b/empty.png", "--on-error", "record").code == 1
    assert np.isnan(read_embeddings(crops.parent / "embeddings.npz").embedding).all()


def test_files_lists_and_stdin_agree(embed, crops, monkeypatch):
    names = ["crops/c/w.webp", "crops/a/1.jpg", "crops/b/1.jpg"]
    (crops.parent / "list.txt").write_text("\n".join(names) + "\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(names).encode())))
    for arguments in (names, ["list.txt"], ["-"]):
        assert embed(*arguments, "--force").code == 0
        rows = read_embeddings(crops.parent / "embeddings.npz")
        assert rows.id.tolist() == names
    assert embed(*names, "--root", "crops", "--force").code == 0
    rows = read_embeddings(crops.parent / "embeddings.npz")
    assert rows.id.tolist() == ["c/w.webp", "a/1.jpg", "b/1.jpg"]


def test_stdin_names_not_utf8(embed, crops, monkeypatch):
    os.rename(crops / "a/1.jpg", os.fsencode(crops) + b"/a/\xff.jpg")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"crops/a/\xff.jpg\n"), encoding="utf-8"))
    assert embed("-").code == 0
    assert read_embeddings(crops.parent / "embeddings.npz").id.tolist() == ["crops/a/\\xff.jpg"]


def test_same_run_same_bytes(embed, crops):
    for name in ("one.npz", "two.npz"):
        embed("crops", "-o", name)
    one, two = (read_embeddings(crops.parent / name) for name in ("one.npz", "two.npz"))
    assert one.id.tolist() == two.id.tolist()
    assert one.embedding.tobytes() == two.embedding.tobytes()


def test_existing_output_is_checked_first(embed, crops, monkeypatch):
    (crops.parent / "embeddings.npz").write_text("precious")

    def never(*_, **__):
        pytest.fail("work began before the output was checked")

    with monkeypatch.context() as patch:
        patch.setattr("reid_runtime.cli.embed.find_sources", never)
        patch.setattr("reid_runtime.cli.embed.load_model", never)
        run = embed("crops")
    assert run.code == 1
    assert "embeddings.npz exists and is not overwritten" in run.err
    assert (crops.parent / "embeddings.npz").read_text() == "precious"
    assert embed("crops", "--force").code == 3
    assert len(read_embeddings(crops.parent / "embeddings.npz")) == 5


def test_json_summary(embed, tiny, crops):
    (crops / "circle").symlink_to(crops)
    run = embed("crops", "crops/a/1.jpg", "--json")
    assert run.code == 3
    actual = json.loads(run.out)
    assert [failure["id"] for failure in actual["failed"]] == [f"crops/{name}" for name in REASONS]
    assert all(REASONS[failure["id"].removeprefix("crops/")] in failure["error"] for failure in actual.pop("failed"))
    assert max(actual.pop("stage_seconds").values()) < actual.pop("seconds") + 1
    assert actual == {
        "output": "embeddings.npz",
        "images": 10,
        "embedded": 5,
        "flagged": [{"id": "crops/c/w.webp", "reasons": ["too_small", "extreme_aspect", "blank"]}],
        "duplicates": 1,
        "skipped_files": 1,
        "skipped": {".md": 1},
        "skipped_links": 1,
        "dimension": DIMENSION,
        "contract_id": tiny.contract.contract_id,
        "artefact_id": tiny.artefact_id,
        "backend": "onnxruntime cpu",
    }
    assert read_embeddings(crops.parent / "embeddings.npz").backend == "onnxruntime cpu"
    assert "named more than once, embedded once: 1" in run.err
    assert "links to folders: 1" in run.err


def test_smallest_size_and_other_limits_are_set(embed, crops):
    for arguments, name, reason in (
        (("--min-size", "31"), "a/2.PNG", "70x30 is too small: expected at least 31 pixels on each side"),
        (("--max-pixels", "2099"), "a/2.PNG", "70x30 is more than 2,099 pixels"),
        (("--max-bytes", str(len(GOOD["c/palette.bmp"]) - 1)), "c/palette.bmp", "bytes are more than"),
    ):
        run = embed("crops", "--force", *arguments)
        assert run.code == 3
        assert any(line.startswith(f"  {name}: ") and reason in line for line in run.err.splitlines())
        assert name not in read_embeddings(crops.parent / "embeddings.npz").id.tolist()


def test_control_characters_in_names(embed, crops):
    for name in ("two\nlines.jpg", "\x1b[31mred.jpg", "日本.jpg"):
        (crops / name).touch()
    lines = embed("crops").err.splitlines()
    for name in (r"two\nlines.jpg", r"\x1b[31mred.jpg", "日本.jpg"):
        assert f"  {name}: the file is empty (0 bytes)" in lines
    lines = embed("no\nthing", "-o", "x.npz").err.splitlines()
    assert rf"error: no\nthing: no such file or folder in {crops.parent}" in lines


def test_long_lists_of_errors_are_cut(embed, crops):
    for number in range(30):
        (crops / f"b/x{number:02}.jpg").touch()
    run = embed("crops")
    assert "skipped: 35" in run.err
    assert "and 25 more; --on-error record keeps every reason" in run.err
    assert len(run.err.splitlines()) == 17
    for number in range(11):
        shutil.copy(crops / "c/w.webp", crops / f"c/x{number:02}.webp")
    run = embed("crops", "--force")
    assert "embedded, with reasons for doubt: 12 (blank 12, extreme_aspect 12, too_small 12)" in run.err
    assert "and 2 more; the column reasons has them all" in run.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent"], 2, "error: absent: no such file or folder"),
        (["crops", "-o", "absent/x.npz"], 1, "error: absent is not a folder"),
        (["crops", "-o", "x.txt"], 2, "expected a name that ends in .npz or .parquet"),
        (["crops", "--model", "absent.onnx"], 1, "error: absent.onnx: no such model file"),
        (["crops", "--contract", "absent.json"], 1, "carries its own contract"),
        ([], 2, "Missing argument 'PATH...'"),
        (["crops", "--on-error", "ignore"], 2, "'ignore' is not one of"),
        (["crops", "--device", "cpu:1"], 2, "'cpu:1' is not one of"),
        (["crops", "--nonsense"], 2, "No such option"),
    ],
)
def test_error_messages(embed, arguments, code, message):
    run = embed(*arguments)
    assert run.code == code
    assert message in run.err
    assert "Traceback" not in run.err
    assert run.out == ""


def test_failing_model_leaves_no_file(command, crops, tmp_path):
    broken = write_model(tmp_path / "m.onnx", output="nan")
    run = command("embed", "crops", "--model", broken, "--device", "cpu")
    assert run.code == 1
    assert run.err.startswith("error: image 0 (crops/a/1.jpg), first of its batch of 3: the model gave NaN")
    assert not (tmp_path / "embeddings.npz").exists()


def test_full_disk(embed, crops, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    run = embed("crops/a")
    assert run.code == 1
    assert "error: embeddings.npz could not be written: [Errno 28] No space left" in run.err
    assert [path.name for path in crops.parent.iterdir()] == ["crops"]


@pytest.mark.parametrize("model", [None, "base", "tiny"])
def test_a_packaged_model_by_its_name(command, crops, model):
    run = command("embed", "crops/a", "--device", "auto", *([] if model is None else ["--model", model]))
    assert run.code == 0
    assert run.err.startswith("device auto: onnxruntime ")
    assert "research" not in run.err
    made_by = Embedder.load(model).contract.contract_id
    assert read_embeddings(crops.parent / "embeddings.npz").contract_id == made_by


def test_terms_that_restrict_are_said_in_a_line(command, crops, tmp_path, caplog):
    terms = (TrainedOn("a data set", "Academic research only", 10, 100),)
    model = write_model(tmp_path / "restricted.onnx", replace(CONTRACT, trained_on=terms))
    run = command("embed", "crops/a", "--device", "cpu", "--model", model)
    assert run.err.splitlines()[0].startswith("model restricted.onnx: research use only")
    assert run.err.count("research") == 1
    caplog.clear()
    Embedder.load(model)
    assert [record.levelname for record in caplog.records if "research use only" in record.message] == ["WARNING"]
