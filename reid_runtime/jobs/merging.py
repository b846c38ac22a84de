"""Several files of embeddings and folders of parts as one file, in the order of the ids.

What is read at once is a run: a row group of a parquet file, or a whole npz. Runs are opened when the order comes to
their first id and let go behind their last, so only those are held that overlap: one a shard, where each shard is of
a folder, whose parts follow each other in the order of their ids; all of them where a list gave another order.
"""

import heapq
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial as bound
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.io.remote import is_url
from reid_runtime.jobs.files import check_writable, read_embeddings, write_file
from reid_runtime.jobs.folders import Folder, LocalFolder, open_folder
from reid_runtime.jobs.npz import write_npz
from reid_runtime.jobs.parquet import GROUP, read_parquet, survey, write_parquet_tables
from reid_runtime.jobs.parts import Job, absent_parts, empty, part_name, read_job
from reid_runtime.jobs.sources import Shard
from reid_runtime.jobs.table import Embeddings, check_same_space, checked, join, one_backend


@dataclass(frozen=True)
class _Run:
    """Rows that are read at once."""

    file: str
    """For messages."""
    first: str
    """The least id."""
    read: Callable[[], Embeddings]


@dataclass(frozen=True)
class _Input:
    """A file of embeddings, or a job's manifest: its model and columns, and its runs."""

    name: str
    header: Embeddings
    """No rows."""
    runs: list[_Run]


def merge(named: Sequence[str], output: Path, *, force: bool = False, partial: bool = False) -> int:
    """Write the rows of all that is named into one file, ordered by id; gives their number.

    Raises StorageError, and writes nothing, where two embedding spaces or model files would mix, an id comes twice,
    or, unless `partial`, parts of a job or shards of a set are missing. A parquet output is written as its rows are
    read; those of an npz are held, as are inputs that are npz.
    """
    check_writable(output, force)
    inputs: list[_Input] = []
    jobs: list[tuple[Folder, Job]] = []
    for name in named:
        if is_url(name) or os.path.isdir(name):
            folder = open_folder(name)
            jobs.append((folder, job := read_job(folder)))
            inputs += _job(folder, job, partial)
        else:
            inputs.append(_file(Path(name)))
    if not partial:
        _check_shards([job for _, job in jobs])
    _check_one_model(inputs)
    header = replace(inputs[0].header, backend=one_backend([item.header for item in inputs]))
    tables = _ordered(header, [run for item in inputs for run in item.runs])
    if output.suffix == ".parquet":
        return write_file(output, lambda file: write_parquet_tables(file, tables), force)
    rows = join(list(tables))
    write_file(output, lambda file: write_npz(file, rows), force)
    return len(rows)


def _job(folder: Folder, job: Job, partial: bool) -> list[_Input]:
    absent = absent_parts(folder, job)
    if absent and not partial:
        raise StorageError(
            f"{folder.name}: {len(absent)} of {job.parts} parts are missing, the first is {part_name(absent[0])}: "
            "finish the job with --resume, or pass --partial to merge what is there"
        )
    there = sorted({*range(job.parts)} - {*absent})
    return [_parquet(folder, part_name(number)) for number in there] or [_Input(folder.name, empty(job), [])]


def _file(path: Path) -> _Input:
    if path.suffix == ".parquet":
        return _parquet(LocalFolder(str(path.parent)), path.name)
    rows = read_embeddings(path)
    runs = [_Run(str(path), min(rows.id.tolist()), lambda: rows)] if len(rows) else []
    return _Input(str(path), rows.take(np.empty(0, np.int64)), runs)


def _parquet(folder: Folder, name: str) -> _Input:
    path = f"{folder.name.rstrip('/')}/{name}"
    groups: list[tuple[int, str]] = []

    def header() -> dict[str, Any]:
        with folder.open(name) as file:
            found, groups[:] = survey(file)
        return found

    def read(group: int) -> Embeddings:
        with folder.open(name) as file:
            return checked(path, lambda: read_parquet(file, group))

    found = checked(path, header)
    return _Input(path, found, [_Run(path, first, bound(read, group)) for group, first in groups])


def _check_shards(jobs: Sequence[Job]) -> None:
    found: dict[int, set[int]] = {}
    for job in jobs:
        shard = Shard.parse(job.shard)
        found.setdefault(shard.count, set()).add(shard.number)
    for count, numbers in sorted(found.items()):
        absent = [str(Shard(number, count)) for number in range(1, count + 1) if number not in numbers]
        if absent:
            raise StorageError(
                f"shards are missing: {', '.join(absent)}; name their folders too, or pass --partial to merge what is "
                "there"
            )


def _check_one_model(inputs: Sequence[_Input]) -> None:
    first = inputs[0]
    for item in inputs:
        try:
            check_same_space(first.header, item.header)
        except StorageError as error:
            raise StorageError(f"{first.name} and {item.name}: {error}") from error
        if first.header.artefact_id != item.header.artefact_id:
            raise StorageError(
                f"{first.name} and {item.name} are of two model files, {first.header.artefact_id} and "
                f"{item.header.artefact_id}; one file names one: merge those of each apart"
            )
        if first.header.columns().keys() != item.header.columns().keys():
            raise StorageError(
                f"{first.name} has the columns {', '.join(first.header.columns())}, {item.name} "
                f"{', '.join(item.header.columns())}; expected the same"
            )


def _ordered(header: Embeddings, runs: Sequence[_Run]) -> Iterator[Embeddings]:
    """The rows of all runs in the order of their ids, in tables of about GROUP rows; at first an empty one."""
    yield header
    waiting = [(run.first, number) for number, run in enumerate(runs)]
    heapq.heapify(waiting)
    opened: dict[int, tuple[Embeddings, list[str]]] = {}
    taken: list[tuple[int, range]] = []
    last, last_file, count = None, "", 0
    while waiting:
        name, number = heapq.heappop(waiting)
        if number not in opened:
            opened[number] = _sorted(runs[number])
        _, ids = opened[number]
        if name == last:
            raise StorageError(f"{name} is in {last_file} and again in {runs[number].file}: expected every id once")
        start = bisect_left(ids, name)
        stop = bisect_left(ids, waiting[0][0], start + 1) if waiting else len(ids)
        stop = max(min(stop, start + GROUP), start + 1)
        taken.append((number, range(start, stop)))
        last, last_file, count = ids[stop - 1], runs[number].file, count + stop - start
        if stop < len(ids):
            heapq.heappush(waiting, (ids[stop], number))
        if count >= GROUP or not waiting:
            yield _gathered(opened, taken)
            open_still = {number for _, number in waiting}
            opened = {number: run for number, run in opened.items() if number in open_still}
            taken, count = [], 0


def _sorted(run: _Run) -> tuple[Embeddings, list[str]]:
    rows = run.read()
    rows = rows.take(np.argsort(rows.id, kind="stable"))
    ids: list[str] = rows.id.tolist()
    twice = next((name for name, following in pairwise(ids) if name == following), None)
    if twice is not None:
        raise StorageError(f"{twice} is twice in {run.file}: expected every id once")
    return rows, ids


def _gathered(opened: dict[int, tuple[Embeddings, list[str]]], taken: Sequence[tuple[int, range]]) -> Embeddings:
    """The taken rows, in order: each run's at once, then all of them into their places."""
    rows: dict[int, list[int]] = {}
    places: dict[int, list[int]] = {}
    place = 0
    for number, some in taken:
        rows.setdefault(number, []).extend(some)
        places.setdefault(number, []).extend(range(place, place + len(some)))
        place += len(some)
    together = join([opened[number][0].take(np.array(mine)) for number, mine in rows.items()])
    return together.take(np.argsort(np.concatenate([np.array(mine) for mine in places.values()])))
