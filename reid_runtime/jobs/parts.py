"""A folder of parts: a job that may be killed at any moment, and goes on without losing or repeating a row.

The pictures of a job are cut, in their order, into parts of PART_PICTURES; the last one is shorter. A part is one
parquet file, `part-00000.parquet` and so on, that is there whole or not at all; it says in its metadata of which
pictures it was made. The manifest says what is the same for all. There is nothing else to keep in step: what is done
is what is there, and a part that is missing, or was taken away, is made again, with the same bytes (`batching`).
"""

import dataclasses
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_runtime.batching import WINDOW
from reid_runtime.errors import StorageError
from reid_runtime.io.atomic import is_stale_temp
from reid_runtime.jobs.folders import Folder
from reid_runtime.jobs.parquet import import_pyarrow, read_facts, read_parquet, write_parquet
from reid_runtime.jobs.table import Embeddings, checked, join
from reid_runtime.model_file.contract import Contract

MANIFEST = "manifest.json"
PART_PICTURES = 2 * WINDOW
"""Pictures of a part: what a killed job does again at most, and what it holds in memory. Whole windows, so that a
part's batches are the same whatever came before.
"""

_FORMAT = 1
_PART_NAME = re.compile(r"part-\d{5,}\.parquet")
_FACT = "part"


@dataclass(frozen=True)
class Job:
    """What is the same for all parts; the manifest."""

    contract: str
    """The contract's JSON."""
    contract_id: str
    artefact_id: str
    backend: str
    """The engine, device and precision, by the backend's name."""
    shard: str
    """i/n."""
    on_error: str
    pictures: int
    """How many the shard has."""
    version: str
    """The package's, for people."""
    part_pictures: int = PART_PICTURES

    @property
    def parts(self) -> int:
        """How many parts there will be."""
        return -(-self.pictures // self.part_pictures)

    def rows(self, part: int) -> range:
        """Which of the pictures a part is made of."""
        start = part * self.part_pictures
        return range(start, max(start, min(start + self.part_pictures, self.pictures)))


@dataclass(frozen=True)
class Part:
    """What a part's file says of itself beside its rows."""

    pictures: int
    digest: str
    """Of the pictures' ids, sizes and times."""
    failed: tuple[tuple[str, str], ...]
    """(id, reason) of the pictures that could not be used."""

    def write(self, folder: Folder, number: int, rows: Embeddings) -> None:
        """Commit the part; raises StorageError."""
        content = io.BytesIO()
        write_parquet(content, rows, {_FACT: json.dumps(dataclasses.asdict(self))})
        folder.write(part_name(number), content.getvalue())


def part_name(number: int) -> str:
    """The file of a part, counted from 0."""
    return f"part-{number:05}.parquet"


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
    """Take an earlier job away; raises StorageError."""
    names = folder.names()
    # The manifest first: parts without it are never taken for a job.
    for name in [name for name in names if name == MANIFEST] + [name for name in names if _PART_NAME.fullmatch(name)]:
        folder.remove(name)


def begin(folder: Folder, job: Job, digests: Sequence[str]) -> dict[int, Part]:
    """Begin a job in a folder that `check_folder` passed, or go on with the one there; gives the parts that are done.

    `digests` are of each part's pictures as they are now. Raises StorageError, with both values, where the job
    was begun with something else, or the pictures of a part have changed since.
    """
    names = folder.names()
    for name in filter(is_stale_temp, names):
        folder.remove(name)
    done: dict[int, Part] = {}
    if MANIFEST in names:
        before = read_job(folder)
        _check_same(folder, before, job)
        for name in filter(_PART_NAME.fullmatch, names):
            number = int(name.removeprefix("part-").removesuffix(".parquet"))
            done[number] = part = _read_part(folder, name)
            pictures, now = len(job.rows(number)), digests[number] if number < job.parts else "of nothing"
            if (part.pictures, part.digest) != (pictures, now):
                raise StorageError(
                    f"{folder.name}: the pictures of {name} have changed: it was made of {part.pictures} with the "
                    f"digest {part.digest} of their names, sizes and times, and now there are {pictures} with {now}; "
                    "put them back, or begin again in another folder"
                )
        job = dataclasses.replace(job, version=before.version)
        if before == job:
            return done
    folder.write(MANIFEST, (json.dumps({"format": _FORMAT} | dataclasses.asdict(job), indent=2) + "\n").encode())
    return done


def read_job(folder: Folder) -> Job:
    """The job that a folder's manifest is of; raises StorageError."""
    if MANIFEST not in folder.names():
        raise StorageError(f"{folder.name} has no {MANIFEST}: expected a folder that `reid-runtime embed` wrote")
    with folder.open(MANIFEST) as file:
        content = file.read()
    try:
        found = json.loads(content)
        if found.pop("format") != _FORMAT:
            raise ValueError(f"expected format {_FORMAT}")
        job = Job(**found)
        for field in dataclasses.fields(job):
            if type(value := getattr(job, field.name)) is not field.type:
                raise ValueError(f"its {field.name} is {value!r}")
        if job.pictures < 0 or job.part_pictures < 1:
            raise ValueError(f"it has {job.pictures} pictures in parts of {job.part_pictures}")
        return job
    except Exception as error:  # damage comes in many kinds
        raise StorageError(f"{folder.name}/{MANIFEST} is no manifest of this version: {error}") from error


def absent_parts(folder: Folder, job: Job) -> list[int]:
    """The parts of a job that are not in its folder."""
    names = set(folder.names())
    return [number for number in range(job.parts) if part_name(number) not in names]


def read_folder(folder: Folder) -> Embeddings:
    """All rows of a job that is complete, in the pictures' order; raises StorageError."""
    job = read_job(folder)
    absent = absent_parts(folder, job)
    if absent:
        raise StorageError(
            f"{folder.name}: {len(absent)} of {job.parts} parts are missing, the first is {part_name(absent[0])}: "
            "finish the job with --resume, or take what is there with `reid-runtime merge --partial`"
        )
    return join([_read_rows(folder, job, part_name(number)) for number in range(job.parts)] or [empty(job)])


def empty(job: Job) -> Embeddings:
    """No rows, of the job's model."""
    contract = Contract.from_json(job.contract, MANIFEST)
    text, number = np.empty(0, np.str_), np.empty(0, np.int32)
    vectors = np.empty((0, contract.dimension), np.float32)
    return Embeddings(text, vectors, number, number, text, job.contract, job.contract_id, job.artefact_id, job.backend)


def _read_rows(folder: Folder, job: Job, name: str) -> Embeddings:
    with folder.open(name) as file:
        rows = checked(f"{folder.name}/{name}", lambda: read_parquet(file))
    if (rows.contract_id, rows.artefact_id) != (job.contract_id, job.artefact_id):
        raise StorageError(
            f"{folder.name}/{name} is of contract {rows.contract_id} and model file {rows.artefact_id}, "
            f"the job of {job.contract_id} and {job.artefact_id}: it belongs to another"
        )
    return rows


def _read_part(folder: Folder, name: str) -> Part:
    with folder.open(name) as file:
        try:
            found: dict[str, Any] = json.loads(read_facts(file)[_FACT])
            read_parquet(file)  # against its checksums: what a bad disk has altered is not done
            return Part(found["pictures"], found["digest"], tuple((picture, why) for picture, why in found["failed"]))
        except Exception as error:  # damage comes in many kinds
            raise StorageError(
                f"{folder.name}/{name} is no part of a job, or damaged: {error}; remove it and it is made again"
            ) from error


_WORDS = {
    "contract_id": "contract id",
    "artefact_id": "model file",
    "backend": "backend",
    "shard": "shard",
    "on_error": "--on-error",
    "part_pictures": "pictures a part",
}


def _check_same(folder: Folder, before: Job, now: Job) -> None:
    differing = [
        f"{word} {getattr(before, name)}, now {getattr(now, name)}"
        for name, word in _WORDS.items()
        if getattr(before, name) != getattr(now, name)
    ]
    if differing:
        raise StorageError(
            f"{folder.name}: the job was begun with {'; '.join(differing)}: rows of both must not mix; go on with the "
            "first, or begin in another folder"
        )
