"""Where the time of a folder goes: decode, resize, copy, inference, write.

Each stage is the runtime's own code, run alone on the same crops, in turn with the others and the reference load, on
one thread: two would wait for each other. Not in them are the threads that hand images on, and the disk. A window is a
process of its own: what differs from process to process, as memory's layout does, is then part of the noise that
`benchmarks.compare` sees, and not a difference between two versions.
"""

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.cases import Case, Setup, load
from benchmarks.inputs import write_files
from benchmarks.measurements import Call, Measurements, Part, Row, in_turn
from benchmarks.timing import Budget
from reid_runtime import jobs
from reid_runtime.batching import WINDOW
from reid_runtime.images import decode

STAGES = ("decode", "resize", "copy", "inference", "write")
CROPS = 4
"""Few, so that a sample is shorter than a turn that the system gives to others: the best of many is undisturbed."""
_ROUNDS = 30
_MEMORY = "/dev/shm"  # Linux's folder in memory


def stages(case: Case, files: Sequence[Path], folder: Path) -> dict[str, Call]:
    """Each stage as a call on what the stage before it gives; `write` is of a table of WINDOW rows, to a new file."""
    embedder = case.embedder
    decoded = [decode.load_image(path) for path in files]
    ready = [case.resized(image) for image in decoded]
    batches = case.batches(ready)
    vectors = np.random.default_rng(0).standard_normal((WINDOW, embedder.dimension), np.float32)
    ids = [f"{number:06}.jpg" for number in range(WINDOW)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = jobs.Embeddings.of(embedder, ids, vectors, np.zeros((WINDOW, 2), np.int32))
    return {
        "decode": lambda: [decode.load_image(path) for path in files],
        "resize": lambda: [case.resized(image) for image in decoded],
        "copy": lambda: case.batches(ready),
        "inference": lambda: case.run(batches),
        "write": lambda: jobs.write_embeddings(folder / "embeddings.npz", table, force=True),
    }


def window(case: Case, files: Sequence[Path], budget: Budget) -> list[Row]:
    """One window of the stages over CROPS image files, in this process."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as name:
        # A file costs as much whatever is in it: over a few crops that would be more than in any folder.
        templates = [
            (case.row(Part.STAGES, stage, items=WINDOW if stage == "write" else CROPS, processes=1), call)
            for stage, call in stages(case, files, Path(name)).items()
        ]
        return in_turn(templates, max(_ROUNDS, budget.rounds), budget.warmup)


def _load_and_measure(model: Path, device: str, files: Sequence[Path], budget: Budget) -> list[Row]:
    return window(Case(load(model, device, threads=1)), files, budget)


def join_windows(parts: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of several windows as one series each, window after window; all have as many samples."""
    rows = []
    for same in zip(*parts, strict=True):
        seconds, load = (tuple(second for row in same for second in getattr(row, name)) for name in ("seconds", "load"))
        rows.append(replace(same[0], seconds=seconds, load=load, processes=len(same)))
    return rows


def measure_stages(setup: Setup, cases: Sequence[Case]) -> Measurements:
    """Every case's stages, each window in a process of its own and the cases in turn.

    Parity is that of the stage that makes the vectors.
    """
    parts: list[list[list[Row]]] = [[] for _ in cases]
    processes = ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as name, processes:
        files = write_files(Path(name), setup.evidence.crops, CROPS)
        for _ in range(setup.budget.windows):
            for case, windows in zip(cases, parts, strict=True):
                arguments = case.embedder.path, case.embedder.backend.device, files, setup.budget
                windows.append(processes.submit(_load_and_measure, *arguments).result())
    joined = [(case, row) for case, each in zip(cases, parts, strict=True) for row in join_windows(each)]
    return Measurements([replace(row, parity=case.parity) if row.name == "inference" else row for case, row in joined])
