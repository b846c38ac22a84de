"""EmbedBatch in a real Ray cluster on this machine: a worker that is killed loses no row and repeats none."""

import os
import subprocess
import sys

import numpy as np
import pytest

from .sample_images import encode, sample_image

pytest.importorskip("ray.data", reason="needs the extra ray")
pytestmark = pytest.mark.slow

ROWS = 120

JOB = '''
import os, signal, sys, time
from pathlib import Path
import numpy as np, ray
from reid_runtime import EmbedBatch

folder, model, tally, output = sys.argv[1:]


class Watched(EmbedBatch):
    """The callable as it is. Around it, who worked is noted, and one of two workers dies with a batch in hand."""

    def __call__(self, batch):
        made = super().__call__(batch)
        mine = Path(tally, str(os.getpid()))
        again = mine.exists()
        mine.touch()
        deadline = time.monotonic() + 60
        while len(os.listdir(tally)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)  # two at work, however slowly the other one starts
        if again:
            try:
                with open(output + ".killed", "x") as file:
                    file.write(str(os.getpid()))
            except FileExistsError:
                return made
            os.kill(os.getpid(), signal.SIGKILL)
        return made


# Two for the workers and one that reads: without it the job waits for ever.
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
pictures = ray.data.read_binary_files(folder, include_paths=True, override_num_blocks=24)
rows = pictures.map_batches(
    Watched if tally else EmbedBatch,
    fn_constructor_kwargs={"model": model, "column": "bytes", "threads": 1},
    compute=ray.data.ActorPoolStrategy(size=2),
    batch_size=5,
    num_cpus=1,
).take_all()
names = [os.path.basename(row["path"]) for row in rows]
columns = {name: np.stack([row[name] for row in rows]) for name in ("embedding", "error", "width", "height")}
np.savez(output, path=names, **columns)
'''


@pytest.mark.parametrize("killed", [True, False], ids=["a worker is killed", "undisturbed"])
def test_every_row_comes_once(tiny, tiny_model, tmp_path, killed):
    folder, tally, output = tmp_path / "pictures", tmp_path / "tally", tmp_path / "rows.npz"
    folder.mkdir()
    tally.mkdir()
    contents = [encode(sample_image(48, 16 + number % 7, number), "PNG") for number in range(ROWS)]
    contents[17] = contents[17][:60]
    for number, content in enumerate(contents):
        (folder / f"{number:03}.png").write_bytes(content)

    arguments = [str(folder), str(tiny_model), str(tally) if killed else "", str(output)]
    patient = os.environ | {"RAY_raylet_start_wait_time_s": "240"}  # a busy machine takes long to start a cluster
    job = subprocess.run(
        [sys.executable, "-c", JOB, *arguments], capture_output=True, text=True, timeout=500, check=False, env=patient
    )
    assert job.returncode == 0, job.stderr[-3000:]
    assert (tmp_path / "rows.npz.killed").exists() == killed
    if killed:
        assert len(list(tally.iterdir())) >= 2
        assert (tally / (tmp_path / "rows.npz.killed").read_text()).exists()

    with np.load(output) as rows:
        order = np.argsort(rows["path"])
        assert rows["path"][order].tolist() == [f"{number:03}.png" for number in range(ROWS)]
        actual = {name: rows[name][order] for name in ("embedding", "error", "width", "height")}
    good = [number for number in range(ROWS) if number != 17]
    assert np.array_equal(actual["embedding"][good], tiny.embed([contents[number] for number in good]))
    assert np.isnan(actual["embedding"][17]).all()
    assert [number for number in range(ROWS) if actual["error"][number]] == [17]
    assert actual["width"][good].tolist() == [16 + number % 7 for number in good]
