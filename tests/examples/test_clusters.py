"""The examples of Ray, Dask and Spark on real local clusters: a worker is killed, and the rows are one machine's."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reid_runtime import embed_folder, read_embeddings
from reid_runtime.jobs.merge import merge

from ..sample_images import encode, sample_image

pytestmark = pytest.mark.slow

ENGINES = {"ray": ("ray", "ray::"), "dask": ("distributed", "spawn_main"), "spark": ("pyspark", "pyspark.daemon")}
"""What is imported, and the words in the command line of a worker."""
IMAGES, SHARDS, BAD = 600, 6, 17
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def bucket():
    """An S3 server on this machine with images, of which one is cut off; gives the environment that finds it."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs", reason="needs the extra s3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found_by = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in found_by.items():
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        store = s3fs.S3FileSystem()
        store.mkdir("site")
        for number in range(IMAGES):
            content = encode(sample_image(200, 80 + number % 9, number), "JPEG")
            store.pipe_file(f"site/crops/{number:04}.jpg", content[:60] if number == BAD else content)
        yield store
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(scope="module")
def alone(bucket, default, tmp_path_factory):
    """What one process makes of them."""
    path = tmp_path_factory.mktemp("alone") / "rows.npz"
    embed_folder(default, "s3://site/crops", path)
    return read_embeddings(path)


def workers_of(driver, words):
    """The process ids of a driver's descendants with these words in their command lines."""
    parents, named = {}, []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if words in command:
                named.append(int(folder.name))

    def descends(process):
        while process in parents:
            process = parents[process]
            if process == driver:
                return True
        return False

    return [process for process in named if descends(process)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_is_killed_in_mid_job(bucket, alone, tmp_path, engine):
    module, words = ENGINES[engine]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}")
    if engine == "spark" and not shutil.which("java"):
        pytest.skip("needs Java")
    environment = os.environ | {
        "RAY_raylet_start_wait_time_s": "240", "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    output = f"site/rows-{engine}"
    command = [
        sys.executable, EXAMPLES / f"cluster_{engine}.py", "s3://site/crops", f"s3://{output}",
        "--shards", str(SHARDS), "--workers", "2",
    ]  # fmt: skip
    with open(tmp_path / "log", "w") as log:
        job = subprocess.Popen([*map(str, command)], stdout=log, stderr=log, env=environment)
    killed = None
    deadline = time.monotonic() + 500
    while job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
        bucket.invalidate_cache()
        begun = bucket.glob(f"{output}/*/manifest.json")
        if killed is None and len(begun) > 1 and (workers := workers_of(job.pid, words)):
            assert len(bucket.glob(f"{output}/*/part-*")) < SHARDS
            killed = workers[-1]
            os.kill(killed, signal.SIGKILL)
    text = (tmp_path / "log").read_text()[-3000:]
    assert job.poll() == 0, text
    assert killed is not None, text
    assert f"{IMAGES - 1} images in" in text

    folders = [f"s3://{output}/shard-{number:05}-of-{SHARDS:05}/" for number in range(1, SHARDS + 1)]
    assert merge(folders, tmp_path / "rows.npz") == IMAGES - 1
    rows = read_embeddings(tmp_path / "rows.npz")
    assert rows.id.tolist() == sorted(alone.id.tolist())
    assert rows.embedding.tobytes() == alone.embedding.tobytes()


@pytest.mark.parametrize("engine", ["dask", "spark"])
def test_a_batch_of_a_data_frame(tiny, tiny_model, tmp_path, engine):
    """EmbedBatch in Dask's map_partitions and Spark's mapInPandas, as its docstring calls it."""
    pandas = pytest.importorskip("pandas")
    from reid_runtime import EmbedBatch

    contents = [encode(sample_image(48, 16 + number % 7, number), "PNG") for number in range(60)]
    contents[BAD] = contents[BAD][:60]
    paths = [str(tmp_path / f"{number:03}.png") for number in range(60)]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_bytes(content)
    embed, frame = EmbedBatch(str(tiny_model), threads=1), pandas.DataFrame({"path": paths})
    if engine == "dask":
        dask = pytest.importorskip("dask.dataframe")
        meta = {"path": "object", "embedding": "object", "width": "int32", "height": "int32", "error": "object"}
        rows = dask.from_pandas(frame, npartitions=4).map_partitions(embed, meta=meta).compute(scheduler="processes")
    else:
        sql = pytest.importorskip("pyspark.sql")
        os.environ["PYSPARK_PYTHON"] = sys.executable
        session = sql.SparkSession.builder.master("local[2,4]").getOrCreate()
        schema = "path string, embedding array<float>, width int, height int, error string"
        rows = session.createDataFrame(frame).mapInPandas(lambda batches: map(embed, batches), schema).toPandas()
        session.stop()
    rows = rows.sort_values("path")
    assert rows["path"].tolist() == paths
    good = [number for number in range(60) if number != BAD]
    expected = tiny.embed([contents[number] for number in good])
    assert [list(rows["embedding"].iloc[number]) for number in good] == expected.tolist()
    assert rows["embedding"].iloc[BAD] is None
    assert rows["error"].iloc[BAD]
