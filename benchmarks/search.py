"""python -m benchmarks.search: how long a search among a million vectors takes, cold and warm, and its memory.

Each repetition is a process of its own. Cold is from its start to the first answer; warm are further searches of the
gallery that is open then, of one query and of 64. Processor seconds stand beside those that passed: on a machine that
others use too, they say what it would have been alone.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment
from reid_runtime import __version__
from reid_runtime.io.folder import open_folder
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.jobs.formats import write_tables
from reid_runtime.jobs.manifest import PART_IMAGES, Manifest
from reid_runtime.jobs.parts import Part
from reid_runtime.model_file.file import ModelFile
from reid_runtime.model_file.packaged import default_model

TARGETS = {"cold": 5.0, "one": 0.3, "batch": 1.5, "memory": 1.6e9}
"""Seconds, seconds of one query and of 64, and bytes, for a million vectors of 256 on two cores."""

_BATCH = 64
_SEED = 0

_MEASURED = """
import json, os, sys, time
begin = float(sys.argv[3])
import numpy as np
from reid_runtime.jobs.search.gallery import open_gallery
from reid_runtime.jobs.search.queries import read_queries
from reid_runtime.jobs.search.run import search
from dataclasses import replace

def processor():
    spent = os.times()
    return spent.user + spent.system

queries, gallery = read_queries([sys.argv[2]]), open_gallery(sys.argv[1])
one = replace(queries, queries=queries.queries[:1])
search(one, gallery)
found = {"cold": [time.time() - begin, processor()]}
for name, these in (("one", one), ("batch", queries)):
    for _ in range(3):
        wall, spent = time.perf_counter(), processor()
        search(these, gallery)
        found[name] = min(found.get(name, [1e9, 1e9]), [time.perf_counter() - wall, processor() - spent])
with open("/proc/self/status") as status:
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM"))
print(json.dumps(found | {"memory": 1024 * int(peak)}))
"""


def write_gallery(folder: Path, rows: int, kind: str) -> Path:
    """A gallery of random unit vectors of the default model's space, ten to a track; gives its path."""
    file = ModelFile.open(default_model())
    contract = file.contract

    def tables() -> Iterator[Embeddings]:
        generator = np.random.default_rng(_SEED)
        for start in range(0, rows, PART_IMAGES):
            numbers = np.arange(start, min(start + PART_IMAGES, rows))
            vectors = generator.standard_normal((len(numbers), contract.dimension), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            size, nothing = np.full(len(numbers), 64, np.int32), np.full(len(numbers), "", np.str_)
            yield Embeddings(
                np.array([f"track-{row // 10:06}/{row:08}.jpg" for row in numbers]), vectors, size, size, nothing,
                contract.to_json(), contract.contract_id, file.artefact_id, "none", reasons=nothing,
                camera=np.array([f"{row // 10 % 8}" for row in numbers]),
                track=np.array([f"{row // 10:06}" for row in numbers]),
            )  # fmt: skip

    if kind != "parts":
        path = folder / f"gallery.{kind}"
        write_tables(path, tables(), force=True)
        return path
    parts = open_folder(f"{folder}/gallery/")
    digests = tuple(f"sha256:{number}" for number in range(-(-rows // PART_IMAGES)))
    Manifest(
        contract.to_json(), contract.contract_id, file.artefact_id, "none", "1/1", "skip", rows, __version__,
        digests=digests,
    ).write(parts)  # fmt: skip
    for number, (digest, table) in enumerate(zip(digests, tables(), strict=True)):
        Part(len(table), digest, ()).write(parts, number, table)
    return folder / "gallery"


def measure(gallery: Path, queries: Path, repetitions: int, threads: int) -> dict[str, Any]:
    """The medians of so many processes: (seconds, processor seconds) of each search, and the peak memory in bytes."""
    runs = []
    for _ in range(repetitions):
        command = [sys.executable, "-c", _MEASURED, str(gallery), str(queries), str(time.time())]
        settings = os.environ | {"OMP_NUM_THREADS": str(threads)}
        runs.append(json.loads(subprocess.run(command, capture_output=True, check=True, env=settings).stdout))
    medians: dict[str, Any] = {
        name: [statistics.median(run[name][clock] for run in runs) for clock in (0, 1)]
        for name in ("cold", "one", "batch")
    }
    return medians | {"memory": max(run["memory"] for run in runs), "load": os.getloadavg()[0]}


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.json")
@click.option("--rows", type=click.IntRange(min=_BATCH), default=1_000_000, show_default=True)
@click.option("--kind", type=click.Choice(["parts", "npz", "parquet"]), default="parts", show_default=True)
@click.option("--repetitions", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Of the matrix products.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep the gallery here, or take it thence."
)
def main(output: Path, rows: int, kind: str, repetitions: int, threads: int, keep: Path | None) -> None:
    """Measure a search in a gallery of random vectors; a million take about a gigabyte of disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if keep is None else keep
        folder.mkdir(exist_ok=True)
        gallery = folder / ("gallery" if kind == "parts" else f"gallery.{kind}")
        if not gallery.exists():
            gallery = write_gallery(folder, rows, kind)
        queries = Path(name) / "few"
        queries.mkdir()
        measured = measure(gallery, write_gallery(queries, _BATCH, "npz"), repetitions, threads)
    output.write_text(
        json.dumps({"environment": environment(), "rows": rows, "kind": kind, **measured}, indent=2) + "\n"
    )
    for each, target in TARGETS.items():
        if each == "memory":
            click.echo(f"memory  {measured[each] / 1e9:.2f} GB, target {target / 1e9:.1f}")
        else:
            wall, spent = measured[each]
            click.echo(f"{each:<6}  {wall:.2f} s, {spent:.2f} of the processor, target {target:.1f}")
    click.echo(f"load of the machine: {measured['load']:.1f}")


if __name__ == "__main__":
    main()
