"""python -m benchmarks.throughput: Offline, and what separates a folder's rate from that of the engine alone.

Four questions of each artefact, each a group of cases that are timed in turn. A folder of files to a file of
embeddings, against the engine on the same batches, ready in memory: what decoding, resizing and writing take. It is of
four windows, of which each is decoded while the one before it is embedded; of a network that takes long it is a part of
one window, which is decoded first: decoding is then next to nothing. Crops
of many sizes against crops of one with as many pixels. Batches of eight, whose multiply-adds are a share of the
machine's peak. And the command's first vector, from nothing.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.cases import Setup, Subject, SubjectError, precision_of, subject_options
from benchmarks.flops import WorkError, multiply_adds
from benchmarks.inputs import SIZE, mixed_sizes, one_size, write_files
from benchmarks.measurements import Found, Row, hand_over, in_turn, output_option, shown, text_table
from benchmarks.roofline import measure_limits, peak
from reid_runtime.batching import WINDOW, same_shape_batches
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.images.decode import load_image
from reid_runtime.images.model_input import ModelInput, to_model_input
from reid_runtime.images.resize import Pixels, resize
from reid_runtime.jobs.embed_folder import embed_folder
from reid_runtime.jobs.sources import Sources
from reid_runtime.model_file.file import carried_contract
from reid_runtime.model_file.formats import ONNX, format_of

OFFLINE, MIXED, EIGHT, COLD = "Offline", "mixed sizes", "batch of 8", "cold start"
FOLDER, ENGINE = "a folder to a file", "the engine alone, same batches"
DECODE = "decoding and resizing alone, on one core"
SPREAD, SAME = "33 widths", "one size"
_FILES, _WINDOWS = 32, 4
_HEAVY = 2e9
"""Operations of an image above which a network takes long: a ResNet-50 has two and a half times as many."""
_REPEATS = 8
"""Batches of one sample: what an engine takes to come back to its weights after others is then a small part of it."""
_START = "from reid_runtime.cli import main; main()"


def measure_throughput(setup: Setup, subjects: list[Subject]) -> Found:
    """Every subject's four groups."""
    found = Found()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(folder, setup.evidence.crops, max(_files(setup, subject) for subject in subjects))
        for subject in subjects:
            found.rows += _offline(setup, subject, files[: _files(setup, subject)])
            found.rows += _mixed(setup, subject)
        found.add(_eight(setup, subjects))
        found.rows += _cold(setup, subjects, files[0])
    return found


def _files(setup: Setup, subject: Subject) -> int:
    """By the network and not by the clock: two runs that are compared have as many."""
    if setup.budget.scale == 1:
        return _FILES
    heavy = subject.operations([SIZE]).get("operations", 0) > _HEAVY
    return _FILES * setup.budget.scale if heavy else _WINDOWS * WINDOW


def _offline(setup: Setup, subject: Subject, files: list[Path]) -> list[Row]:
    embedder = subject.embedder
    batches = ready_batches(embedder, files)

    def prepared(path: Path) -> Pixels:
        picture = load_image(path)
        return resize(picture, embedder.contract.resize.shape(*picture.shape[:2]))

    calls: dict[str, Callable[[], object]] = {
        FOLDER: lambda: embed_to_file(embedder, files, files[0].with_name("out.npz")),
        ENGINE: partial(_run_all, embedder, batches),
        DECODE: lambda: [prepared(path) for path in files],
    }
    setting = _of(subject) | {"files": len(files), "threads": setup.threads}
    facts = subject.facts | subject.operations([load_image(path).shape[:2] for path in files])
    return in_turn(
        OFFLINE, calls, setting, len(files), setup.budget, against=ENGINE, facts={FOLDER: facts, ENGINE: facts},
        rounds=min(6, setup.budget.rounds), threads=setup.threads,
    )  # fmt: skip


def _run_all(embedder: Embedder, batches: list[ModelInput]) -> None:
    for batch in batches:
        embedder.backend.run(batch)


def ready_batches(embedder: Embedder, files: list[Path]) -> list[ModelInput]:
    """The files as the engine gets them, batch for batch."""
    pictures = [load_image(path) for path in files]
    ready = [resize(picture, embedder.contract.resize.shape(*picture.shape[:2])) for picture in pictures]
    shapes = [(picture.shape[0], picture.shape[1]) for picture in ready]
    return [
        to_model_input(np.stack([ready[row] for row in rows]), embedder.contract.input)
        for rows in same_shape_batches(shapes, embedder.backend.max_batch_pixels)
    ]


def embed_to_file(embedder: Embedder, files: list[Path], output: Path) -> None:
    """What `reid-runtime embed FOLDER` does between its start and its end."""
    sources = Sources(tuple(map(str, files)), tuple(path.name for path in files))
    embed_folder(embedder, sources, output, on_error="raise", force=True)


def _mixed(setup: Setup, subject: Subject) -> list[Row]:
    crops, embedder = setup.evidence.crops, subject.embedder
    count = WINDOW if setup.budget.scale > 1 else _FILES  # a whole window: its batches are as large as they become
    rounds = min(6, setup.budget.rounds)
    same, spread = one_size(crops, count), mixed_sizes(crops, count)
    calls: dict[str, Callable[[], object]] = {
        SAME: lambda: embedder.embed(same, "rgb"),
        SPREAD: lambda: embedder.embed(spread, "rgb"),
    }
    setting = _of(subject) | {"crops": count}
    facts = {
        case: subject.facts | subject.operations([crop.shape[:2] for crop in some])
        for case, some in ((SAME, same), (SPREAD, spread))
    }
    return in_turn(
        MIXED, calls, setting, count, setup.budget, against=SAME, rounds=rounds, facts=facts, threads=setup.threads
    )


def _eight(setup: Setup, subjects: list[Subject]) -> Found:
    """All subjects in turn, the first of them what the others are compared with."""
    crops = np.stack(one_size(setup.evidence.crops, 8))
    found = Found()
    calls: dict[str, Callable[[], object]] = {}
    facts: dict[str, dict[str, float]] = {}
    for subject in subjects:
        embedder = subject.embedder
        count = 1 if embedder.backend.max_batch_pixels == 1 else 8
        pixels = to_model_input(crops, embedder.contract.input)
        parts = [pixels[start : start + count] for start in range(0, 8, count)] * _REPEATS
        calls[subject.case] = partial(_run_all, embedder, parts)
        facts[subject.case] = dict(subject.facts)
        try:
            facts[subject.case] |= {"operations": 2.0 * _REPEATS * multiply_adds(embedder.path, 8, *SIZE)}
        except WorkError as error:
            found.notes.append(f"share of the peak of {subject.case}: {error}")
    setting = {"batch": 8, "batches": _REPEATS, "height": SIZE[0], "width": SIZE[1]}
    items = 8 * _REPEATS
    found.rows = in_turn(
        EIGHT, calls, setting, items, setup.budget, against=subjects[0].case, facts=facts, threads=setup.threads
    )
    return found


def _cold(setup: Setup, subjects: list[Subject], crop: Path) -> list[Row]:
    """The command from its start to its end, a process each time; the file cache is warm."""
    calls: dict[str, Callable[[], object]] = {}
    for subject in subjects:
        # A checkpoint is no model file, and a third-party model has its contract beside it.
        path = subject.embedder.path
        if (
            subject.embedder.backend.device != "torch"
            and format_of(path) is ONNX
            and carried_contract(path) is not None
        ):
            calls[subject.case] = partial(_embed_one, subject, crop)
    if not calls:
        return []
    rounds = min(7, setup.budget.rounds)
    facts = {subject.case: dict(subject.facts) for subject in subjects if subject.case in calls}
    setting = {"command": "embed", "crops": 1}
    return in_turn(COLD, calls, setting, 1, setup.budget, rounds=rounds, facts=facts, threads=setup.threads)


def _embed_one(subject: Subject, crop: Path) -> None:
    words = [sys.executable, "-c", _START, "embed", str(crop), "-o", str(crop.with_name("cold.npz")), "--force"]
    words += ["--model", str(subject.embedder.path.resolve()), "--device", subject.device]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SubjectError(f"the command failed on one crop with {done.returncode}: {done.stderr.strip()}")


def _of(subject: Subject) -> dict[str, str]:
    return {"model": subject.embedder.path.stem, "device": subject.embedder.backend.name}


def share_of_peak(row: Row, rows: list[Row]) -> tuple[str, float] | None:
    """In which precision a row computes, and its share of this machine's peak in it; None where one is unknown."""
    if "operations" not in row.facts:
        return None
    precision = precision_of(row)
    if precision is None:
        return None
    most = peak(rows, precision)
    return None if most is None else (precision, row.facts["operations"] / row.middle / most)


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = []
    for row in shown(rows):
        if row.part == "limits":
            continue
        model = f"{row.setting['model']}, {row.setting['device']}" if "model" in row.setting else ""
        times = f"{row.facts['times']:.2f} x" if "times" in row.facts else ""
        cosine = f"{row.facts['cosine']:.6f}" if "cosine" in row.facts else ""
        share = share_of_peak(row, rows)
        of_peak = "" if share is None else f"{100 * share[1]:.0f} % of {share[0]}"
        steady = "" if row.steady else "not steady"
        lines.append([row.part, model, row.case, f"{row.rate:.1f}", times, of_peak, cosine, steady])
    return text_table(["", "model", "case", "images/s", "speed", "peak", "cosine", ""], lines)


@click.command()
@subject_options
@output_option
def main(setup: Setup, output: Path | None) -> None:
    """Images a second, all at once: a folder, mixed sizes, batches of eight, and the command's cold start."""
    subjects, notes = setup.subjects()
    found = Found(notes=notes)
    found.add(measure_limits(setup.threads, setup.budget))
    found.add(measure_throughput(setup, subjects))
    hand_over("throughput", found, as_table(found.rows), output)


if __name__ == "__main__":
    run(main)
