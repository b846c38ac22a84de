"""python -m benchmarks.stages: where the time of a folder goes: decode, resize, copy, inference, write.

Each stage is the runtime's own code, run alone, one after the other on the same crops, in turn with the yardstick;
where the embedder has a call for it, it is that call, so that all that a folder's pictures go through is in a stage.
What is in none: the threads that hand pictures on, the columns of the table beside the vectors, and where the system
has a folder in memory, the disk, which takes twice as long in one second as in the next and would hide what the code
takes. The Offline cases of a report, which are whole runs, have them all.

Everything runs on one thread, as the yardstick does: two would wait for each other wherever something else runs.
That is done in several processes, one window each: what differs from process to process, as memory's layout does, is
then part of the noise that `benchmarks.compare` sees, and not a difference between two versions.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from benchmarks.cases import Setup, Subject, SubjectError, load, subject_options
from benchmarks.device_time import host_and_device
from benchmarks.inputs import one_size, write_files
from benchmarks.measurements import Found, Row, hand_over, in_turn, output_option, rows_of, shown, text_table
from benchmarks.timing import Budget
from reid_runtime import jobs as storage
from reid_runtime.batching import WINDOW, same_shape_batches
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.images import decode as images
from reid_runtime.images.model_input import ModelInput, to_model_input
from reid_runtime.jobs import Embeddings
from reid_runtime.vectors import Vectors

STAGES = ("decode", "resize", "copy", "inference", "write")
PART, GPU_PART = "stages", "host and device"
_ON_GPU = ("cuda", "tensorrt")
CROPS = 4
"""Few, so that a sample is shorter than a turn that the system gives to others: the best of many is undisturbed."""
_ROUNDS = 30
_MEMORY = "/dev/shm"
"""Linux's folder in memory."""


@dataclass(frozen=True)
class _Idle:
    """An engine that answers at once: what an embedder's inference takes with it is the making of batches."""

    max_batch_pixels: int
    answer: Vectors
    """Unit vectors, as many as there are crops."""
    name: str = "no engine"
    device: str = "cpu"
    artefact_id: str = ""

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """So many vectors, always the same."""
        return self.answer[: len(images)]


def stages(embedder: Embedder, files: Sequence[Path], folder: Path) -> dict[str, Callable[[], object]]:
    """Each stage as a call on what the stage before it gives; `write` is on a table of WINDOW rows, to a new file."""
    # Called through their modules, as whoever replaces one there expects it.
    decoded = [images.load_image(path) for path in files]
    ready = [embedder._resized(picture) for picture in decoded]
    shapes = [(picture.shape[0], picture.shape[1]) for picture in ready]
    batches = [
        to_model_input(np.stack([ready[row] for row in rows]), embedder.contract.input)
        for rows in same_shape_batches(shapes, embedder.backend.max_batch_pixels)
    ]
    vectors = np.random.default_rng(0).standard_normal((WINDOW, embedder.dimension), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    idle = Embedder(_Idle(embedder.backend.max_batch_pixels, vectors[: len(files)]), embedder.contract, embedder.path)
    ids = [f"{number:06}.jpg" for number in range(WINDOW)]
    table = Embeddings.of(embedder, ids, vectors, np.zeros((WINDOW, 2), np.int32))
    return {
        "decode": lambda: [images.load_image(path) for path in files],
        "resize": lambda: [embedder._resized(picture) for picture in decoded],
        "copy": lambda: idle._infer(ready),
        "inference": lambda: [embedder.backend.run(batch) for batch in batches],
        "write": lambda: storage.write_embeddings(folder / "embeddings.npz", table, force=True),
    }


def window(embedder: Embedder, files: Sequence[Path], budget: Budget) -> list[Row]:
    """One window of the stages over CROPS picture files, in this process."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as name:
        calls = stages(embedder, files, Path(name))
        rows = in_turn(PART, calls, _of(embedder) | {"windows": 1}, CROPS, budget, rounds=max(_ROUNDS, budget.rounds))
    # A file costs as much as it costs, whatever is in it: over a few crops that would be more than in any folder.
    return [replace(row, items=WINDOW) if row.case == "write" else row for row in rows]


def joined(parts: list[list[Row]]) -> list[Row]:
    """The rows of several windows as one series each, window after window; all have as many samples."""
    first = parts[0]
    rows = []
    for place, row in enumerate(first):
        seconds = tuple(value for part in parts for value in part[place].seconds)
        rows.append(replace(row, setting=dict(row.setting) | {"windows": len(parts)}, seconds=seconds))
    return rows


def measure_stages(setup: Setup, subjects: list[Subject]) -> Found:
    """Every subject's stages, each window in a process of its own and the subjects in turn.

    What the vectors are stands beside the stage that makes them.
    """
    found = Found()
    parts: dict[str, list[list[Row]]] = {subject.case: [] for subject in subjects}
    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name), setup.evidence.crops, CROPS)
        for _ in range(setup.budget.windows):
            for subject in subjects:
                parts[subject.case].append(window_apart(subject.embedder.path, subject.device, Path(name), setup))
    for subject in subjects:
        for row in joined(parts[subject.case]):
            found.rows.append(replace(row, facts=subject.facts) if row.case == "inference" else row)
        if subject.device in _ON_GPU:
            found.add(_apart(setup, subject))
    return found


def _apart(setup: Setup, subject: Subject) -> Found:
    """Host and device time of the inference, apart, where that can be measured."""
    batch = to_model_input(np.stack(one_size(setup.evidence.crops, CROPS)), subject.embedder.contract.input)
    try:
        samples = host_and_device(subject.embedder, batch, _ROUNDS, setup.budget.warmup)
    except Exception as error:  # of torch or an engine, whatever it is; the stages are measured already
        return Found(notes=[f"device time of {subject.case}: {type(error).__name__}: {error}"])
    facts = dict.fromkeys(samples, subject.facts)
    return Found(rows_of(GPU_PART, samples, _of(subject.embedder), CROPS, facts=facts))


def _of(embedder: Embedder) -> dict[str, object]:
    return {"model": embedder.path.stem, "device": embedder.backend.name, "crops": CROPS}


def window_apart(
    model: Path, device: str, crops: Path, setup: Setup, command: Sequence[str] = ("benchmarks.stages",)
) -> list[Row]:
    """One window in a process of its own, over the pictures of a folder; SubjectError where that process fails."""
    words = [sys.executable, "-m", *command, "--child", "--model", str(model.resolve()), "--device", device]
    words += ["--crops", str(crops), "--threads", str(setup.threads)]
    words += ["--quick"] if setup.budget.scale == 1 else []
    done = subprocess.run(words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SubjectError(f"the process for the stages of {model.name} ended with {done.returncode}; see above")
    return [Row(**(row | {"seconds": tuple(row["seconds"])})) for row in json.loads(done.stdout)]


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = []
    for row in shown(rows):
        total = sum(1 / other.rate for other in shown(rows) if other.setting == row.setting)
        model = f"{row.setting['model']}, {row.setting['device']}"
        lines.append([model, row.case, f"{1e3 / row.rate:.3f}", f"{100 / row.rate / total:.1f} %"])
    return text_table(["model", "stage", "ms an image", "share"], lines)


@click.command()
@subject_options
@output_option
@click.option("--child", is_flag=True, hidden=True)
def main(setup: Setup, output: Path | None, child: bool) -> None:
    """Split the time of a folder into its stages, each on one core."""
    if child:
        rows = window(load(setup.models[0], setup.devices[0], threads=1), setup.files, setup.budget)
        click.echo(json.dumps([asdict(row) for row in rows]))
        return
    subjects, notes = setup.subjects()
    found = Found(notes=notes)
    found.add(measure_stages(setup, subjects))
    hand_over("stages", found, as_table(found.rows), output)


if __name__ == "__main__":
    run(main)
