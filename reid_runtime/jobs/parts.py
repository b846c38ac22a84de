"""A folder of parts: a job that may be killed at any moment, and goes on without losing or repeating a row.

The images of a job are cut, in their order, into parts; the last one is shorter. A part is one Parquet file,
`part-00000.parquet` and so on, that is there complete or not at all; its metadata say of which images it was made.
There is nothing else to keep in step: what is done is what is there, and a part that is missing, or was removed, is
made again, with the same bytes (`batching`).
"""

import dataclasses
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.io.atomic import is_stale_temp
from reid_runtime.io.folder import Folder
from reid_runtime.jobs.embeddings import Embeddings, join, validated
from reid_runtime.jobs.manifest import MANIFEST, Manifest, check_same_job, read_manifest
from reid_runtime.jobs.parquet import import_pyarrow, read_footer, read_parquet, write_parquet
from reid_runtime.model_file.contract import Contract

_PART_NAME = re.compile(r"part-\d{5,}\.parquet")
_NOTE = "part"
"""The key of a file's metadata under which a Part lies."""


@dataclass(frozen=True)
class Part:
    """What a part's file says of itself, next to its rows."""

    images: int
    digest: str
    """Of the images' ids, sizes and times."""
    failed: tuple[tuple[str, str], ...]
    """(id, reason) of the images that could not be used."""
    flagged: tuple[tuple[str, str], ...] = ()
    """(id, codes) of those that are hardly worth their vectors."""

    def notes(self) -> dict[str, str]:
        """As it lies in a file's metadata."""
        return {_NOTE: json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_notes(cls, notes: Mapping[str, str]) -> "Part":
        """Of what `notes` gave; raises many kinds of errors for anything else."""
        note: dict[str, Any] = json.loads(notes[_NOTE])
        images = note["images"] if "images" in note else note["pictures"]  # as earlier versions call them
        failed, flagged = (tuple((image, text) for image, text in note.get(name, ())) for name in ("failed", "flagged"))
        return cls(images, note["digest"], failed, flagged)

    def write(self, folder: Folder, number: int, rows: Embeddings) -> None:
        """Commit the part; raises StorageError."""
        content = io.BytesIO()
        write_parquet(content, [rows], self.notes())
        folder.write(part_name(number), content.getvalue())


def part_name(number: int) -> str:
    """The file of a part, counted from 0."""
    return f"part-{number:05}.parquet"


def _number(name: str) -> int:
    return int(name.removeprefix("part-").removesuffix(".parquet"))


def check_folder(folder: Folder, resume: bool, force: bool) -> None:
    """Find out before the work starts whether a job may begin, or go on, in a folder; raises StorageError.

    Without `resume` the folder must be empty, or, with `force`, hold nothing but an earlier job, for `clear`.
    """
    import_pyarrow()
    names = [name for name in folder.names() if not name.startswith(".")]
    foreign = [name for name in names if name != MANIFEST and not _PART_NAME.fullmatch(name)]
    if foreign:
        raise StorageError(
            f"{folder.name} holds {foreign[0]}, which is no part of a job; choose a folder that is empty or new"
        )
    if names and not (resume or force):
        raise StorageError(
            f"{folder.name} holds a job already ({len(names)} files): pass --resume to go on with it, --force to "
            "begin again, or choose another folder"
        )
    if resume and names and MANIFEST not in names:
        raise StorageError(f"{folder.name} has parts and no {MANIFEST}: what they belong to is not known; use --force")


def clear(folder: Folder) -> None:
    """Remove an earlier job; raises StorageError."""
    names = folder.names()
    # The manifest first: parts without it are never taken for a job.
    for name in [name for name in names if name == MANIFEST] + [name for name in names if _PART_NAME.fullmatch(name)]:
        folder.remove(name)


def begin(folder: Folder, job: Manifest) -> dict[int, Part]:
    """Begin a job in a folder that `check_folder` passed, or go on with the one there; gives the parts that are done.

    Raises StorageError, with both values, where the job was begun with something else, or the images of a part, whose
    digests are the job's, have changed since.
    """
    names = folder.names()
    for name in filter(is_stale_temp, names):
        folder.remove(name)
    done: dict[int, Part] = {}
    if MANIFEST in names:
        before = read_manifest(folder)
        check_same_job(folder, before, job)
        for name in filter(_PART_NAME.fullmatch, names):
            number = _number(name)
            done[number] = part = _read_part(folder, name)
            images, now = len(job.images_of(number)), job.digests[number] if number < job.parts else "of nothing"
            if (part.images, part.digest) != (images, now):
                raise StorageError(
                    f"{folder.name}: the images of {name} have changed: it was made of {part.images} with the digest "
                    f"{part.digest} of their names, sizes and times, and now there are {images} with {now}; pass "
                    "--update to make such parts again, or put them back"
                )
        job = dataclasses.replace(job, version=before.version)
        if before == job:
            return done
    job.write(folder)
    return done


def missing_parts(folder: Folder, job: Manifest) -> list[int]:
    """The parts of a job that are not in its folder."""
    names = set(folder.names())
    return [number for number in range(job.parts) if part_name(number) not in names]


def part_numbers(folder: Folder) -> list[int]:
    """The numbers of all parts in a folder, in order."""
    return sorted(_number(name) for name in folder.names() if _PART_NAME.fullmatch(name))


def read_ids(folder: Folder, number: int) -> tuple[Part, set[str]]:
    """A part, and the ids of the images that it was made of; raises StorageError where it is damaged."""
    part = _read_part(folder, part_name(number))
    with folder.open(part_name(number)) as file:
        return part, {*read_parquet(file)["id"].tolist(), *(name for name, _ in part.failed)}


def present_parts(folder: Folder, job: Manifest, allow_missing: bool = False) -> list[int]:
    """The numbers of the parts in a job's folder, in order: as many as there are, whatever the manifest says.

    Raises StorageError for parts that the manifest does not count, and without `allow_missing` where some are missing.
    """
    names, numbers = [name for name in folder.names() if _PART_NAME.fullmatch(name)], part_numbers(folder)
    surplus = [name for name in names if _number(name) >= job.parts or name != part_name(_number(name))]
    if surplus:
        raise StorageError(
            f"{folder.name} holds {min(surplus)}, and its {MANIFEST} says {job.parts} parts of {job.images} images: "
            "one of them was altered; finish the job again with --resume"
        )
    if len(numbers) < job.parts and not allow_missing:
        first = next(number for number, there in enumerate([*numbers, -1]) if number != there)
        raise StorageError(
            f"{folder.name}: {job.parts - len(numbers)} of {job.parts} parts are missing, the first is "
            f"{part_name(first)}: finish the job with --resume, or take what is there with `reid-runtime merge "
            "--partial`"
        )
    return numbers


def check_part(folder: Folder, job: Manifest, number: int) -> None:
    """Hold what a part says of itself, and its number of rows, to the manifest; raises StorageError."""
    name = f"{folder.name}/{part_name(number)}"
    with folder.open(part_name(number)) as file:
        part, notes, rows = _read_note(name, file)
    check_note(part, notes, rows, name, job, number)


def check_note(part: Part, notes: Mapping[str, str], rows: int, name: str, job: Manifest, number: int) -> None:
    """As `check_part`, of a part that is read already: what it says of itself, its metadata and its number of rows."""
    images = len(job.images_of(number))
    model = notes.get("contract_id"), notes.get("artefact_id")
    if model != (job.contract_id, job.artefact_id):
        raise StorageError(
            f"{name} is of contract {model[0]} and model file {model[1]}, the job of {job.contract_id} and "
            f"{job.artefact_id}: it belongs to another"
        )
    made_of = part.images, rows if job.on_error == "record" else rows + len(part.failed), part.digest
    expected = images, images, job.digests[number] if job.digests else part.digest
    if made_of != expected:
        raise StorageError(
            f"{name} was altered, or is another job's: expected {images} images with the digest {expected[2]}, found "
            f"{part.images}, of which {made_of[1]} are there, with {part.digest}; remove it and --resume the job"
        )


def read_folder(folder: Folder) -> Embeddings:
    """All rows of a job that is complete, in the images' order; raises StorageError."""
    job = read_manifest(folder)
    return join([_read_rows(folder, job, number) for number in present_parts(folder, job)] or [no_rows(job)])


def no_rows(job: Manifest) -> Embeddings:
    """An empty table, of the job's model."""
    contract = Contract.from_json(job.contract, MANIFEST)
    text, number = np.empty(0, np.str_), np.empty(0, np.int32)
    vectors = np.empty((0, contract.dimension), np.float32)
    return Embeddings(text, vectors, number, number, text, job.contract, job.contract_id, job.artefact_id, job.backend)


def _read_rows(folder: Folder, job: Manifest, number: int) -> Embeddings:
    with folder.open(part_name(number)) as file:
        rows = validated(f"{folder.name}/{part_name(number)}", lambda: read_parquet(file))
    check_part(folder, job, number)
    return rows


def _read_part(folder: Folder, name: str) -> Part:
    with folder.open(name) as file:
        part, _, _ = _read_note(f"{folder.name}/{name}", file, check_rows=True)
    return part


def _read_note(name: str, file: BinaryIO, check_rows: bool = False) -> tuple[Part, dict[str, str], int]:
    """A part, its file's metadata and number of rows; with `check_rows`, what a bad disk has altered is damaged."""
    try:
        notes, rows = read_footer(file)
        if check_rows:
            read_parquet(file)  # against its checksums
        return Part.from_notes(notes), notes, rows
    except Exception as error:  # damage comes in many kinds
        raise StorageError(
            f"{name} is no part of a job, or damaged: {error}; remove it and it is made again"
        ) from error
