"""reid-runtime embed into a folder of parts, resumed, sharded, merged; and stores in place of folders."""

import json
import os
import re
import shutil
import sys

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.io.folder import open_folder
from reid_runtime.jobs import read_embeddings
from reid_runtime.jobs.manifest import PART_IMAGES
from reid_runtime.jobs.parts import Part, part_name

from ..models import DIMENSION, write_model
from ..sample_images import encode, sample_image

pytest.importorskip("pyarrow", reason="needs the extra parquet")

COUNT = 2 * PART_IMAGES + 100
"""Images of two full parts and a short one."""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder in which images of seven shapes, three of each, and one that is none, have very many names."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(21):
        (folder / f"{number}.bmp").write_bytes(encode(sample_image(10 + 3 * (number % 7), 10, number), "BMP"))
    (folder / "21.bmp").touch()
    for number in range(22, COUNT):
        os.link(folder / f"{number * number % 31 % 21 if number % 500 else 21}.bmp", folder / f"{number}.bmp")
    return folder


@pytest.fixture
def embed(command, tiny_model, tmp_path, monkeypatch):
    """`reid-runtime embed` with the small model, on ONNX Runtime unless another device is named."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        device = () if "--device" in arguments else ("--device", "cpu")
        return command("embed", *arguments, "--model", tiny_model, *device)

    return run


DOUBT = "embedded, with reasons for doubt: 1 (blank 1)\n"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_folder_equals_file(embed, many, tmp_path, tiny):
    complete, parts = embed(many, "-o", "complete.npz"), embed(many, "-o", "out/", "--json")
    assert (complete.code, parts.code) == (3, 3)
    *lines, after = complete.err.replace("complete.npz", "out/").splitlines()
    assert lines == parts.err.splitlines()
    assert after.startswith("next: ")
    assert sorted(contents(tmp_path / "out")) == ["manifest.json", *map(part_name, range(3))]
    expected, actual = read_embeddings(tmp_path / "complete.npz"), read_embeddings(tmp_path / "out")
    assert actual.id.tolist() == expected.id.tolist()
    assert actual.embedding.tobytes() == expected.embedding.tobytes()
    message = json.loads(parts.out)
    assert (message["images"], message["embedded"], message["output"]) == (COUNT, len(actual), "out/")
    assert len(message["failed"]) == COUNT - len(actual) > 3
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["contract_id"] == tiny.contract.contract_id
    assert (manifest["backend"], manifest["shard"], manifest["on_error"]) == (tiny.backend.name, "1/1", "skip")


def company(backend):
    """A backend that gives an image another vector in other company, as some engines do."""

    class Sociable:
        name, device, max_batch_pixels = backend.name, backend.device, 5 * 16 * 10

        def run(self, images):
            vectors = backend.run(images) + np.float32(images.astype(np.float32).mean() / 1000)
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return Sociable()


def without_times(run):
    summary = json.loads(run.out)
    del summary["seconds"], summary["stage_seconds"]
    return run.code, summary, run.err


@pytest.mark.parametrize("device", ["cpu", "openvino", "sociable"])
def test_resumed_job_gives_the_same_bytes(embed, many, tmp_path, tiny, monkeypatch, device):
    """Whichever parts were done, on every backend, also where a vector depends on what else is in its batch."""
    if device == "openvino":
        pytest.importorskip("openvino", reason="needs the extra openvino")
    if device == "sociable":
        sociable = Embedder(company(tiny.backend), tiny.contract, tiny.path)
        alone, among = (
            sociable.embed([sample_image(seed=1)], "rgb"),
            sociable.embed([sample_image(seed=1), sample_image()], "rgb"),
        )
        assert not np.array_equal(alone[0], among[0])
        monkeypatch.setattr("reid_runtime.cli.embed.load_model", lambda *_, **__: sociable)
    options = ("--device", "cpu" if device == "sociable" else device)
    message = without_times(embed(many, "-o", "out/", "--json", *options))
    complete = contents(tmp_path / "out")
    for kept in ([0], [1]):
        for number in {0, 1, 2} - {*kept}:
            (tmp_path / "out" / part_name(number)).unlink()
        assert without_times(embed(many, "-o", "out/", "--resume", "--json", *options)) == message
        assert contents(tmp_path / "out") == complete


def test_resume_of_a_complete_job(embed, many, tmp_path, monkeypatch):
    (tmp_path / "few").mkdir()
    shutil.copy(many / "1.bmp", tmp_path / "few")
    first = embed("few", "-o", "out/", "--resume")
    done = f"embedded 1 of 1 image: {DIMENSION} numbers each, in out/\n{DOUBT}  1.bmp: blank\n"
    assert first.err.startswith(f"{done}next: reid-runtime search IMAGE --in out/")
    before = contents(tmp_path / "out")
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}

    def never(*_):
        pytest.fail("an image was read again")

    monkeypatch.setattr("reid_runtime.preparation.decode_image", never)
    again = embed("few", "-o", "out", "--resume")
    assert (again.code, again.err) == (0, first.err.replace("out/", "out"))
    assert contents(tmp_path / "out") == before
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


@pytest.mark.parametrize(
    ("taken", "message"),
    [(part_name(0), "part-00000.parquet was removed .* --resume"), ("manifest.json", "has no manifest.json")],
)
def test_files_removed_while_running(embed, tmp_path, monkeypatch, taken, message):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "1.png").write_bytes(encode(sample_image(), "PNG"))
    write = Part.write

    def write_and_lose(part, *arguments):
        write(part, *arguments)
        (tmp_path / "out" / taken).unlink()

    monkeypatch.setattr(Part, "write", write_and_lose)
    run = embed("few", "-o", "out/")
    assert run.code == 1
    assert re.search(f"error: out/.* {message}", run.err)


def test_resume_of_another_job_is_refused(embed, command, many, tmp_path, tiny):
    shutil.copytree(many, tmp_path / "crops", copy_function=os.link)
    embed("crops", "-o", "out/")
    (tmp_path / "out" / part_name(2)).unlink()
    other = write_model(tmp_path / "other.onnx", tiny.contract, output="raw")
    for options, message in (
        (["--shard", "2/3"], "shard 1/1, now 2/3"),
        (["--on-error", "record"], "--on-error skip, now record"),
    ):
        run = embed("crops", "-o", "out/", "--resume", *options)
        assert run.code == 1
        assert message in run.err
        assert "to go on" not in run.err
    run = command("embed", "crops", "-o", "out/", "--resume", "--model", other, "--device", "cpu")
    assert f"model file {tiny.artefact_id}, now sha256:" in run.err
    (tmp_path / "crops/00.bmp").write_bytes(encode(sample_image(), "BMP"))
    run = embed("crops", "-o", "out/", "--resume")
    assert run.code == 1
    assert f"the images of part-00000.parquet have changed: it was made of {PART_IMAGES}" in run.err
    assert part_name(2) not in contents(tmp_path / "out")
    run = embed("crops", "-o", "out/")
    assert run.code == 1
    assert "out/ holds a job already (3 files): pass --resume" in run.err
    before = contents(tmp_path / "out")
    assert embed("absent", "-o", "out/", "--force").code == 2
    assert contents(tmp_path / "out") == before
    assert embed("crops", "-o", "out/", "--force").code == 3
    assert "00.bmp" in read_embeddings(tmp_path / "out").id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.npz", "--resume", "--force"], "name one"),
        (["-o", "x.txt"], "expected a name that ends in .npz or .parquet or .csv"),
        (["-o", "x.NPZ"], "expected a name that ends in .npz or .parquet"),
        (["absent"], "absent: no such file or folder in /"),
        (["*.absent"], "*.absent: no such file or folder in /"),
        (["-o", "out/", "--resume", "--force"], "name one"),
        (["-o", "out/", "--shard", "0/4"], "expected a shard i/n"),
    ],
)
def test_usage(embed, many, tmp_path, arguments, message):
    run = embed(many, *arguments)
    assert run.code == 2
    assert message in run.err
    assert list(tmp_path.iterdir()) == []


def test_resume_after_bad_image(embed, many, tmp_path):
    """What had to change was in no finished part."""
    shutil.copytree(many, tmp_path / "crops", copy_function=os.link)
    for path in (tmp_path / "crops").iterdir():
        if path.stat().st_size == 0:
            path.unlink()
    (tmp_path / "crops/9x.bmp").touch()
    run = embed("crops", "-o", "out/", "--on-error", "raise")
    assert run.code == 1
    ended, error = run.err.splitlines()
    assert ended.startswith(f"ended after 2 of 3 parts, {2 * PART_IMAGES:,} of ")
    assert "to go on: reid-runtime embed --resume crops -o out/ " in ended
    assert error == "error: 9x.bmp: the file is empty (0 bytes)"
    shutil.copyfile(tmp_path / "crops/1.bmp", tmp_path / "crops/9x.bmp")
    assert embed("crops", "-o", "out/", "--on-error", "raise", "--resume").code == 0
    actual = read_embeddings(tmp_path / "out")
    assert actual.id.tolist() == sorted(path.name for path in (tmp_path / "crops").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no lock that ends with its process")
def test_folder_is_locked(embed, tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "1.png").write_bytes(encode(sample_image(), "PNG"))
    with open_folder("out/").locked():
        for options in ([], ["--resume"], ["--force"]):
            run = embed("few", "-o", "out/", *options)
            assert (run.code, run.err) == (
                1, "error: another run is going on in out: wait for its end, or choose another folder\n"
            )  # fmt: skip
    assert not (tmp_path / "out").exists()
    os.symlink("nowhere", tmp_path / "link")
    assert embed("few", "-o", "link/").err == "error: link cannot be opened: No such file or directory\n"
    assert embed("few", "-o", "out/").code == 0
    assert embed("few", "-o", "out/", "--resume").code == 0


def test_failed_start_leaves_no_folder(embed, tmp_path):
    assert embed("absent", "-o", "out/").code == 2
    assert list(tmp_path.iterdir()) == []


def test_merged_shards_equal_the_job(embed, command, many, tmp_path):
    embed(many, "-o", "complete.parquet")
    for number in (1, 2, 3):
        embed(many, "-o", f"{number}/", "--shard", f"{number}/3")
    run = command("merge", "1", "3", "-o", "out.parquet")
    assert (run.code, "shards are missing: 2/3" in run.err) == (1, True)
    run = command("merge", "3", "1", "2", "-o", "out.parquet")
    assert run.code == 0
    complete, merged = read_embeddings(tmp_path / "complete.parquet"), read_embeddings(tmp_path / "out.parquet")
    assert run.err == f"merged {len(complete):,} rows of 3 inputs, in out.parquet\n"
    assert merged.id.tolist() == complete.id.tolist()
    assert merged.embedding.tobytes() == complete.embedding.tobytes()


def test_resume_after_full_disk(embed, many, tmp_path, monkeypatch):
    embed(many, "-o", "complete/")

    def full(beside, path):
        if path.name == part_name(1):
            raise OSError(28, "No space left on device")
        os.rename(beside, path)

    with monkeypatch.context() as patch:
        patch.setattr("reid_runtime.io.atomic.os.replace", full)
        run = embed(many, "-o", "out/")
    assert run.code == 1
    ended, error = run.err.splitlines()
    assert ended.startswith(
        f"ended after 1 of 3 parts, {PART_IMAGES:,} of {COUNT:,} images, which are in out/; to go on: "
    )
    assert error == "error: out/part-00001.parquet could not be written: [Errno 28] No space left on device"
    assert sorted(contents(tmp_path / "out")) == ["manifest.json", part_name(0)]
    assert embed(many, "-o", "out/", "--resume").code == 3
    assert contents(tmp_path / "out") == contents(tmp_path / "complete")


def test_remote_to_remote(embed, command, many, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="needs the extra s3")
    store = fsspec.filesystem("memory")
    for path in sorted(many.iterdir())[: PART_IMAGES + 9]:
        store.pipe_file(f"/embed/crops/{path.name}", path.read_bytes())
    try:
        assert embed("memory://embed/crops", "-o", "memory://embed/out").code == 3
        names = [name.rpartition("/")[2] for name in store.ls("/embed/out", detail=False)]
        assert sorted(names) == ["manifest.json", part_name(0), part_name(1)]
        store.rm_file(f"/embed/out/{part_name(0)}")
        assert embed("memory://embed/crops", "-o", "memory://embed/out").code == 1
        assert embed("memory://embed/crops", "-o", "memory://embed/out", "--resume").code == 3
        assert command("merge", "memory://embed/out", "-o", "out.npz").code == 0
    finally:
        store.rm("/embed", recursive=True)
    actual = read_embeddings(tmp_path / "out.npz")
    embed(many, "-o", "complete.npz")
    complete = read_embeddings(tmp_path / "complete.npz")
    assert actual.id.tolist() == complete.id.tolist()[: len(actual)]
    assert actual.embedding.tobytes() == complete.embedding[: len(actual)].tobytes()


@pytest.fixture
def bucket(monkeypatch):
    """An empty bucket of a real HTTP server that speaks S3; gives the file system."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs the extra s3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdir("crops")
    yield store
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_s3(embed, command, bucket, many, tmp_path, tiny):
    names = ["1.bmp", "2.bmp", "21.bmp", "3.bmp"]
    for name in names:
        bucket.pipe_file(f"crops/camera 1/{name}", (many / name).read_bytes())
    run = embed("s3://crops/camera 1", "-o", "s3://crops/out/")
    assert (run.code, "skipped: 1\n  21.bmp: the file is empty" in run.err) == (3, True)
    assert sorted(bucket.ls("crops/out", detail=False)) == ["crops/out/manifest.json", "crops/out/part-00000.parquet"]
    assert embed("s3://crops/camera 1", "-o", "s3://crops/out/", "--resume").code == 3
    bucket.pipe_file("crops/camera 1/2.bmp", (many / "1.bmp").read_bytes())
    run = embed("s3://crops/camera 1", "-o", "s3://crops/out/", "--resume")
    assert (run.code, "have changed" in run.err) == (1, True)
    assert command("merge", "s3://crops/out/", "-o", "out.npz").code == 0
    expected = tiny.embed([many / name for name in names if name != "21.bmp"])
    assert np.array_equal(read_embeddings(tmp_path / "out.npz").embedding, expected)
    run = embed("s3://absent/crops", "-o", "s3://crops/other/")
    assert (run.code, "Traceback" in run.err) == (1, False)
