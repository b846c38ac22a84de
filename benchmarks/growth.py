"""python -m benchmarks growth: time and memory against work, cores and processes; each case a process of its own."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.environment import environment
from benchmarks.inputs import frame_with_boxes, write_files
from benchmarks.measurements import markdown_table
from export.gate import EXAMPLES, read_crops
from reid_runtime.backends import DEVICES
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.concurrency import cores
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.sources import find_sources

_DISTINCT = 512
"""Images; the others are links to them, so that a million need no gigabytes of disk."""


@dataclass(frozen=True)
class Growth:
    """What some work took."""

    work: str
    items: int
    cores: int
    processes: int
    seconds: float
    """From the loaded model to the end; of several processes the longest."""
    mib: float
    """The largest resident memory of a process."""


def embed_files(folder: Path, model: str, device: str, shard: Shard) -> tuple[int, float]:
    """The images of this shard, and the seconds that a folder of parts takes."""
    embedder = Embedder.load(model, device=device)
    sources = find_sources([str(folder)]).of(shard)
    with tempfile.TemporaryDirectory() as output:
        begin = time.perf_counter()
        embed_folder(embedder, sources, Path(output) / "parts/", shard=shard)
        return len(sources), time.perf_counter() - begin


def embed_frame(boxes: int, model: str, device: str) -> tuple[int, float]:
    """The boxes, and the least seconds that one frame of so many takes, of three."""
    embedder = Embedder.load(model, device=device)
    frame, corners = frame_with_boxes(read_crops(EXAMPLES)[1], boxes)
    seconds = []
    for _ in range(4 if boxes < 1000 else 2):
        begin = time.perf_counter()
        embedder.embed_boxes(frame, corners, "rgb")
        seconds.append(time.perf_counter() - begin)
    return boxes, min(seconds[1:])  # the first prepares


def _child(kind: str, *arguments: str) -> None:
    if kind == "files":
        folder, model, device, shard = arguments
        items, seconds = embed_files(Path(folder), model, device, Shard.parse(shard))
    else:
        boxes, model, device = arguments
        items, seconds = embed_frame(int(boxes), model, device)
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([items, seconds, mib]))


def _in_processes(work: str, on: int, *cases: tuple[str, ...]) -> Growth:
    """Each case in a process, all at once, each on as many cores as there are for it."""
    free = sorted(os.sched_getaffinity(0))[:on]
    share = on // len(cases)
    started = []
    for number, case in enumerate(cases):
        mine = free[number * share : (number + 1) * share]
        command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {mine}); import sys; "
                   "from benchmarks.growth import _child; _child(*sys.argv[1:])", *case]  # fmt: skip
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    said = [json.loads(process.communicate()[0]) for process in started]
    items, seconds, mib = zip(*said, strict=True)
    return Growth(work, sum(items), on, len(cases), max(seconds), max(mib))


def measure(model: str, device: str, most: int, boxes: int) -> list[Growth]:
    """Crops from a thousand, and boxes of a frame from ten, by tens; ten thousand crops on one core and in two ways."""
    rows = []
    every = cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = write_files(folder, read_crops(EXAMPLES)[1], _DISTINCT)
        made = len(originals)
        for count in (10**power for power in range(3, 1 + int(np.log10(most)))):
            for number in range(made, count):
                os.symlink(originals[number % _DISTINCT], folder / f"{number:07}.jpg")
            made = count
            rows.append(_in_processes("crops", every, ("files", name, model, device, "1/1")))
            if count == 10_000:
                rows.append(_in_processes("crops", 1, ("files", name, model, device, "1/1")))
                if every > 1:
                    rows.append(_in_processes("crops", 2, *(("files", name, model, device, f"{n}/2") for n in (1, 2))))
    for count in (10**power for power in range(1, 1 + int(np.log10(boxes)))):
        rows.append(_in_processes("boxes of a frame", every, ("frame", str(count), model, device)))
    return rows


def table(rows: list[Growth]) -> str:
    """A line a row."""
    head = ["", "items", "cores", "processes", "seconds", "ms an item", "peak MiB"]
    lines = [
        [row.work, f"{row.items:,}", str(row.cores), str(row.processes), f"{row.seconds:.2f}",
         f"{1e3 * row.seconds / row.items:.2f}", f"{row.mib:.0f}"]
        for row in rows
    ]  # fmt: skip
    return markdown_table(head, lines)


@click.command()
@click.option(
    "--model", type=ModelPath(), default="tiny", show_default=True, help="A packaged model's name, or a file."
)
@click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True)
@click.option("--most", type=click.IntRange(1000), default=100_000, show_default=True, help="Crops.")
@click.option("--boxes", type=click.IntRange(10), default=10_000, show_default=True, help="Of one frame.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.json")
@click.option("--force", is_flag=True, help="Overwrite the file of -o.")
def main(model: Path, device: str, most: int, boxes: int, output: Path, force: bool) -> None:
    """Measure how time and memory grow with crops, boxes, cores and processes."""
    ensure_writable(output, force)
    rows = measure(str(model), device, most, boxes)
    with atomic_write(output) as tmp_path:
        tmp_path.write_text(json.dumps({"environment": environment(), "rows": [asdict(row) for row in rows]}, indent=1))
    click.echo(table(rows))


if __name__ == "__main__":
    run(main)
