"""What a larger input costs: image area, batch, crops of a frame, files of a folder, scored gallery, threads."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.cases import Case, Setup, load
from benchmarks.inputs import frame_with_boxes, labelled_vectors, one_size, write_files
from benchmarks.measurements import Call, Measurements, Part, Row, in_turn
from reid_runtime.embedder import Embedder
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import FixedSize, Pixels, resize
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.scoring.ranking import score
from reid_runtime.scoring.reranking import score_reranked

FOLDER, GALLERIES = "files of a folder", ("gallery, scored", "gallery, re-ranked")
_QUERIES = 200

Calls = dict[int, Call]
"""What is timed, by the value of an axis."""


def measure_scaling(setup: Setup, case: Case) -> Measurements:
    """Every axis, of one case."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        axes: dict[str, Callable[[], Calls]] = {
            "image area, engine alone": lambda: _areas(setup, case),
            "batch, engine alone": lambda: _batches(setup, case),
            "crops of a frame": lambda: _frames(setup, case),
            FOLDER: lambda: _folders(setup, case, Path(name)),
            GALLERIES[0]: lambda: _galleries(score, _steps(setup, 1000, 16_000 * setup.budget.scale)),
            GALLERIES[1]: lambda: _galleries(score_reranked, _steps(setup, 500, 2_000 * setup.budget.scale)),
            "threads, engine alone": lambda: _threads(setup, case),
        }
        for axis, make in axes.items():
            row = Row(Part.SCALING, axis) if axis in GALLERIES else case.row(Part.SCALING, axis)
            calls = make()
            templates = [(replace(row, items=value), call) for value, call in calls.items()]
            # Folders are of many seconds: half the rounds.
            rounds = -(-setup.budget.rounds // 2) if axis == FOLDER else setup.budget.rounds
            rows += in_turn(templates, rounds, setup.budget.warmup, setup.threads) if len(calls) > 1 else []
    return Measurements(rows)


def _steps(setup: Setup, least: int, most: int) -> list[int]:
    """Powers of two from `least` to `most`; on a trial powers of four, to a fourth of it."""
    step, end = (2, most) if setup.budget.scale > 1 else (4, most // 4)
    values = [least]
    while values[-1] * step <= end:
        values.append(values[-1] * step)
    return values


def _engine_alone(embedder: Embedder, crops: Sequence[Pixels]) -> Call:
    return partial(embedder.backend.run, to_model_input(np.stack(crops), embedder.contract.input))


def _areas(setup: Setup, case: Case) -> Calls:
    if isinstance(case.embedder.contract.resize, FixedSize):
        return {}  # such a model takes one size
    shapes = [(height, height // 2) for height in ((64, 128, 256, 512) if setup.budget.scale > 1 else (64, 128, 256))]
    crop = setup.evidence.crops[0]
    return {shape[0] * shape[1]: _engine_alone(case.embedder, [resize(crop, shape)]) for shape in shapes}


def _batches(setup: Setup, case: Case) -> Calls:
    counts = [] if case.embedder.backend.max_batch_pixels == 1 else _steps(setup, 1, 64)
    return {count: _engine_alone(case.embedder, one_size(setup.evidence.crops, count)) for count in counts}


def _frames(setup: Setup, case: Case) -> Calls:
    counts = _steps(setup, 4, 64)
    frame, boxes = frame_with_boxes(setup.evidence.crops, counts[-1])
    return {count: partial(case.embedder.embed_boxes, frame, boxes[:count], "rgb") for count in counts}


def _folders(setup: Setup, case: Case, folder: Path) -> Calls:
    counts = _steps(setup, 64, 1024 * setup.budget.scale)[::2]
    files, out = write_files(folder, setup.evidence.crops, counts[-1]), folder / "embeddings.npz"
    return {count: partial(embed_folder, case.embedder, files[:count], out, force=True) for count in counts}


def _galleries(scorer: Callable[..., object], counts: Sequence[int]) -> Calls:
    query = labelled_vectors(_QUERIES)
    return {count: partial(scorer, *query, *labelled_vectors(count, seed=1)) for count in counts}


def _threads(setup: Setup, case: Case) -> Calls:
    counts = sorted({1, *(value for value in (2, 4, 8, 16, 32) if value < setup.threads), setup.threads})
    path, device, crop = case.embedder.path, case.embedder.backend.device, one_size(setup.evidence.crops, 1)
    return {count: _engine_alone(load(path, device, count), crop) for count in counts}
