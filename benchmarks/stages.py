"""python -m benchmarks.stages: where the time of a folder goes: decode, resize, copy, inference, write.

Each stage is the runtime's own code, run alone, one after the other on the same crops, in turn with the yardstick.
Everything runs on one thread, as the yardstick does: two would wait for each other wherever something else runs.
That is done in several processes, one window each: what differs from process to process, as memory's layout does, is
then part of the noise that `benchmarks.compare` sees, and not a difference between two versions.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from benchmarks.device_time import host_and_device
from benchmarks.inputs import one_size, write_files
from benchmarks.results import Found, Row, hand_over, in_turn, output_option, rows_of, shown, text_table
from benchmarks.subjects import Setup, Subject, SubjectError, load, subject_options
from benchmarks.timing import Budget
from export.gate import EXAMPLES, read_crops
from reid_runtime import images, storage
from reid_runtime import resize as resizing
from reid_runtime.batching import same_shape_batches
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError
from reid_runtime.resize import Pixels
from reid_runtime.storage import Embeddings

STAGES = ("decode", "resize", "copy", "inference", "write")
PART, GPU_PART = "stages", "host and device"
_ON_GPU = ("cuda", "tensorrt")
CROPS = 4
"""Few, so that a sample is shorter than a turn that the system gives to others: the best of many is undisturbed."""
_ROUNDS = 30


def stages(embedder: Embedder, files: list[Path], folder: Path) -> dict[str, Callable[[], object]]:
    """Each stage as a call on what the stage before it gives."""
    rule, wanted = embedder.contract.resize, embedder.contract.input
    # Called through their modules, as whoever replaces one there expects it.
    decoded = [images.load_image(path) for path in files]

    def resized() -> list[Pixels]:
        return [resizing.resize(picture, rule.shape(*picture.shape[:2])) for picture in decoded]

    ready = resized()
    shapes = [(picture.shape[0], picture.shape[1]) for picture in ready]
    rows = list(same_shape_batches(shapes, embedder.backend.max_batch_pixels))
    batches = [np.stack([ready[row] for row in some]) for some in rows]
    inputs = [images.to_model_input(batch, wanted) for batch in batches]
    table = Embeddings(
        id=np.array([path.name for path in files], dtype=np.str_),
        embedding=np.zeros((len(files), embedder.dimension), np.float32),
        width=np.zeros(len(files), np.int32),
        height=np.zeros(len(files), np.int32),
        error=np.full(len(files), "", dtype=np.str_),
        contract=embedder.contract.to_json(),
        contract_id=embedder.contract.contract_id,
        artefact_id=embedder.artefact_id,
    )
    return {
        "decode": lambda: [images.load_image(path) for path in files],
        "resize": resized,
        "copy": lambda: [images.to_model_input(np.stack([ready[row] for row in some]), wanted) for some in rows],
        "inference": lambda: [embedder.backend.run(batch) for batch in inputs],
        "write": lambda: storage.write_embeddings(folder / "embeddings.npz", table, force=True),
    }


def window(embedder: Embedder, device: str, crops: tuple[Pixels, ...], budget: Budget) -> list[Row]:
    """One window of the stages, in this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(folder, crops, CROPS)
        calls = stages(embedder, files, folder)
        setting = _of(embedder, device) | {"windows": 1}
        return in_turn(PART, calls, setting, CROPS, budget, rounds=max(_ROUNDS, budget.rounds))


def joined(parts: list[list[Row]]) -> list[Row]:
    """The rows of several windows as one series each, window after window; all have as many samples."""
    first = parts[0]
    rows = []
    for place, row in enumerate(first):
        seconds = tuple(value for part in parts for value in part[place].seconds)
        setting = dict(row.setting) | {"windows": len(parts)}
        rows.append(Row(row.case, setting, seconds, row.items, row.facts, row.part))
    return rows


def measure_stages(setup: Setup, subjects: list[Subject]) -> Found:
    """Every subject's stages, each window in a process of its own and the subjects in turn."""
    found = Found()
    parts: dict[str, list[list[Row]]] = {subject.case: [] for subject in subjects}
    for _ in range(setup.budget.windows):
        for subject in subjects:
            parts[subject.case].append(_window_apart(subject, setup))
    for rows in parts.values():
        found.rows += joined(rows)
    for subject in subjects:
        if subject.device in _ON_GPU:
            found.add(_apart(setup, subject))
    return found


def _apart(setup: Setup, subject: Subject) -> Found:
    """Host and device time of the inference, apart, where that can be measured."""
    found = Found()
    batch = images.to_model_input(np.stack(one_size(setup.evidence.crops, CROPS)), subject.embedder.contract.input)
    if subject.device != "cuda":
        found.notes.append(f"device time of {subject.case}: only ONNX Runtime CUDA takes a stream to record events on")
        return found
    try:
        samples = host_and_device(subject.embedder.path, batch, _ROUNDS, setup.budget.warmup)
    except BackendError as error:
        found.notes.append(f"device time of {subject.case}: {error}")
        return found
    found.rows = rows_of(GPU_PART, samples, _of(subject.embedder, subject.device), CROPS)
    return found


def _of(embedder: Embedder, device: str) -> dict[str, object]:
    return {"model": embedder.path.stem, "device": device, "crops": CROPS}


def _window_apart(subject: Subject, setup: Setup) -> list[Row]:
    words = [sys.executable, "-m", "benchmarks.stages", "--child", "--model", str(subject.embedder.path.resolve())]
    words += ["--device", subject.device, "--threads", str(setup.threads)]
    words += ["--quick"] if setup.budget.scale == 1 else []
    done = subprocess.run(words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SubjectError(f"the process for the stages of {subject.case} ended with {done.returncode}; see above")
    return [Row(**(row | {"seconds": tuple(row["seconds"])})) for row in json.loads(done.stdout)]


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = []
    for row in shown(rows):
        total = sum(other.middle for other in shown(rows) if other.setting == row.setting)
        model = f"{row.setting['model']}, {row.setting['device']}"
        share = f"{100 * row.middle / total:.1f} %"
        lines.append([model, row.case, f"{1e3 * row.middle / row.items:.3f}", share])
    return text_table(["model", "stage", "ms an image", "share"], lines)


@click.command()
@subject_options
@output_option
@click.option("--child", is_flag=True, hidden=True)
def main(setup: Setup, output: Path | None, child: bool) -> None:
    """Split the time of a folder into its stages, each on one core."""
    if child:
        embedder = load(setup.models[0], setup.devices[0], threads=1)
        rows = window(embedder, setup.devices[0], read_crops(EXAMPLES)[1], setup.budget)
        click.echo(json.dumps([asdict(row) for row in rows]))
        return
    subjects, notes = setup.subjects()
    found = Found(notes=notes)
    found.add(measure_stages(setup, subjects))
    hand_over("stages", found, as_table(found.rows), output)


if __name__ == "__main__":
    run(main)
