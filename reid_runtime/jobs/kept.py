"""What an interrupted job kept for a file, `NAME.partial.npz`, and going on from there.

Such a file says of which images it was made, as a part of a folder does. Only full windows of it are gone on from, so
that the batches, and with them the bytes, are those of a job that nobody interrupted.
"""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import numpy as np

from reid_runtime.batching import WINDOW
from reid_runtime.errors import StorageError
from reid_runtime.images.limits import changed_limits
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.jobs.formats import format_of, read_embeddings, write_embeddings
from reid_runtime.jobs.job_input import JobInput
from reid_runtime.jobs.parts import Part


@dataclass(frozen=True)
class Kept:
    """What is gone on from."""

    path: Path
    rows: Embeddings
    part: Part
    """Which images it was made of: the job's first."""


def write_kept(output: Path, rows: Embeddings, part: Part, limits: str, before: Kept | None) -> Path:
    """Write what is finished for `output`, in place of the file that was gone on from; gives its name."""
    path = next(path for path in _names(output) if not os.path.lexists(path)) if before is None else before.path
    write_embeddings(path, rows, force=before is not None, notes=part.notes() | {"limits": limits})
    return path


def read_kept(output: Path, sources: JobInput, header: Embeddings, on_error: str, limits: str) -> Kept | None:
    """What the last interrupted job kept for `output`, in full windows; None where there is nothing.

    Raises StorageError where it is of another model, other columns, other limits or other images than
    `header` and the others say.
    """
    there = [*takewhile(os.path.lexists, _names(output))]
    if not there:
        return None
    path, advice = there[-1], "begin again without --resume, or remove it"
    rows = read_embeddings(path)
    try:
        notes = format_of(path).read_notes(path)
        part = Part.from_notes(notes)
    except Exception as error:  # damage comes in many kinds
        raise StorageError(f"{path} does not say of which images it was made: {advice}") from error
    before = rows.metadata() | {"columns": ", ".join(rows.columns())}
    now = header.metadata() | {"columns": ", ".join(header.columns())}
    differing = [f"{name} {before[name]}, now {now[name]}" for name in before if before[name] != now[name]]
    differing += filter(None, [changed_limits(notes.get("limits", ""), limits)])
    if differing:
        raise StorageError(f"{path} was made with {'; '.join(differing)}: rows of both must not mix; {advice}")
    if part.images > len(sources) or part.digest != sources.digest(range(part.images)):
        raise StorageError(
            f"{path}: the first {part.images} images of the job have changed since it was made: {advice}"
        )
    images = part.images if part.images == len(sources) else part.images - part.images % WINDOW
    ids, without = {*sources.ids[:images]}, {name for name, _ in part.failed}
    expected = [name for name in sources.ids[:images] if on_error == "record" or name not in without]
    if rows.id[: len(expected)].tolist() != expected:
        raise StorageError(f"{path} has other rows than the job, or --on-error was another: {advice}")
    failed = tuple((name, reason) for name, reason in part.failed if name in ids)
    return Kept(path, rows.take(np.arange(len(expected))), dataclasses.replace(part, images=images, failed=failed))


def _names(output: Path) -> Iterator[Path]:
    """`NAME.partial.npz`, `NAME.partial-2.npz`, ..."""
    suffix = format_of(output).kept_as or output.suffix
    for number in count(1):
        yield output.with_name(f"{output.stem}.partial{f'-{number}' if number > 1 else ''}{suffix}")
