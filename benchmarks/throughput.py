"""python -m benchmarks.throughput: what separates a folder's rate from that of the engine alone.

A folder of files to a file of embeddings, against the engine on the same batches, ready in memory; crops of many sizes
against crops of one with as many pixels; batches of eight; and the command's first vector, from nothing.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from benchmarks.cases import Case, CaseError, Setup, case_options
from benchmarks.flops import operations
from benchmarks.inputs import SIZE, mixed_sizes, one_size, write_files
from benchmarks.measurements import Call, Measurements, Part, Row, emit, in_turn, output_option
from benchmarks.roofline import measure_roofline
from benchmarks.tables import text
from reid_runtime.batching import WINDOW
from reid_runtime.cli import run
from reid_runtime.images.decode import load_image
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.model_file.file import carried_contract

FOLDER, ENGINE = "a folder to a file", "the engine alone, images ready"
DECODE = "decoding and resizing alone, on one core"
MANY_WIDTHS, SAME = "33 widths", "one size"
_FILES, _WINDOWS, _ROUNDS = 32, 4, 6
_HEAVY = 2e9  # operations of an image above which a network takes long: a ResNet-50 has two and a half times as many
_REPEATS = 8  # batches of a sample: what an engine takes to come back to its weights after others is then little of it


def measure_throughput(setup: Setup, cases: Sequence[Case]) -> Measurements:
    """Every case's four groups."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name), setup.evidence.crops, max(_file_count(setup, case) for case in cases))
        for case in cases:
            rows += _offline(setup, case, files[: _file_count(setup, case)])
            rows += _mixed(setup, case)
        rows += _eight(setup, cases)
        rows += _cold(setup, cases, files[0])
    return Measurements(rows)


def _file_count(setup: Setup, case: Case) -> int:
    """Four windows, of which each is decoded while the one before is embedded; of a network that takes long, fewer.

    By the network and not by the clock: two runs that are compared have as many.
    """
    if setup.budget.scale == 1:
        return _FILES
    return _FILES * setup.budget.scale if (case.operations([SIZE]) or 0) > _HEAVY else _WINDOWS * WINDOW


def _offline(setup: Setup, case: Case, files: Sequence[Path]) -> list[Row]:
    images = [load_image(path) for path in files]
    batches = case.batches([case.resized(image) for image in images])
    output = files[0].with_name("out.npz")
    row = case.row(Part.OFFLINE, items=len(files), setting={"threads": setup.threads})
    counted = replace(row, operations=case.operations([image.shape[:2] for image in images]))
    return _in_turn(
        setup,
        (replace(counted, name=FOLDER), lambda: embed_folder(case.embedder, files, output, force=True)),
        (replace(counted, name=ENGINE), lambda: case.run(batches)),
        (replace(row, name=DECODE), lambda: [case.resized(load_image(path)) for path in files]),
        base=1,
    )


def _in_turn(setup: Setup, *templates: tuple[Row, Call], base: int | None = 0, rounds: int = _ROUNDS) -> list[Row]:
    return in_turn(templates, min(rounds, setup.budget.rounds), setup.budget.warmup, setup.threads, base)


def _mixed(setup: Setup, case: Case) -> list[Row]:
    count = WINDOW if setup.budget.scale > 1 else _FILES  # a whole window: its batches are as large as they become
    templates = []
    for name, make in ((SAME, one_size), (MANY_WIDTHS, mixed_sizes)):
        crops = make(setup.evidence.crops, count)
        row = case.row(Part.MIXED, name, items=count, operations=case.operations([crop.shape[:2] for crop in crops]))
        templates.append((row, partial(case.embedder.embed, crops, "rgb")))
    return _in_turn(setup, *templates)


def _eight(setup: Setup, cases: Sequence[Case]) -> list[Row]:
    """All cases in turn, the first of them what the others are compared with; the crops are not resized again."""
    crops = one_size(setup.evidence.crops, 8)
    work = [SIZE] * 8 * _REPEATS
    templates = []
    for case in cases:
        row = case.row(Part.EIGHT, items=len(work), operations=operations(case.embedder.path, work))
        templates.append((row, partial(case.run, case.batches(crops) * _REPEATS)))
    return _in_turn(setup, *templates, rounds=setup.budget.rounds)


def _cold(setup: Setup, cases: Sequence[Case], crop: Path) -> list[Row]:
    """The command from its start to its end, a process each time; the file cache is warm."""
    # A checkpoint is no model file, and a third-party model has its contract in another file.
    models = (case for case in cases if case.embedder.backend.device != "torch")
    started = [case for case in models if carried_contract(case.embedder.path) is not None]
    templates = [(case.row(Part.COLD), partial(_embed_one, case, crop)) for case in started]
    return _in_turn(setup, *templates, base=None) if templates else []


def _embed_one(case: Case, crop: Path) -> None:
    model, device, output = case.embedder.path.resolve(), case.embedder.backend.device, crop.with_name("cold.npz")
    options = ["--model", model, "--device", device, "-o", output, "--force"]
    command = [sys.executable, "-m", "reid_runtime", "embed", str(crop), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CaseError(f"the command failed on one crop with {done.returncode}: {done.stderr.strip()}")


@click.command()
@case_options
@output_option
def main(setup: Setup, output: Path | None) -> None:
    """Images a second, all at once: a folder, mixed sizes, batches of eight, and the command's cold start."""
    cases, notes = setup.cases()
    measured = Measurements(notes=notes)
    measured.add(measure_roofline(setup.threads, setup.budget))
    measured.add(measure_throughput(setup, cases))
    emit("throughput", setup.about(), measured, text(measured.rows), output)


if __name__ == "__main__":
    run(main)
