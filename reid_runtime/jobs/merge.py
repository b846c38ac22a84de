"""Several files of embeddings and folders of parts as one file, in the order of the ids.

What is read at once is a run: a row group of a Parquet file, or all of an npz. Runs are opened when the order comes to
their first id and let go behind their last, so only those are held that overlap: one a shard, where each shard is of
a folder, whose parts follow each other in the order of their ids; all of them where a list gave another order.
"""

import heapq
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.io.folder import Folder, LocalFolder, open_folder
from reid_runtime.io.remote import is_url
from reid_runtime.jobs.embeddings import Embeddings, check_same_space, join, one_backend, validated, with_judgement
from reid_runtime.jobs.formats import ensure_embeddings_writable, format_of, write_tables
from reid_runtime.jobs.manifest import Manifest, read_manifest
from reid_runtime.jobs.parquet import GROUP
from reid_runtime.jobs.parts import check_part, no_rows, part_name, present_parts
from reid_runtime.jobs.shard import Shard

_NAMED = 10
"""Missing shards that an error names."""


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


def merge(
    inputs: Sequence[str], output: Path, *, force: bool = False, allow_missing: bool = False, prefix: bool = False
) -> int:
    """Write the rows of several inputs into one file, ordered by id, each id once.

    A Parquet output is written as its rows are read; those of an npz are held, as are inputs that are npz.

    Args:
        inputs: Files of embeddings, and folders of parts or their URLs.
        output: The file to write; its suffix says in which format.
        force: Whether to overwrite a file that is there.
        allow_missing: Whether parts of a job and shards of a set may be missing.
        prefix: Whether each id gets the name of its input before it: `cam1/` for `cam1.npz` and for the folder `cam1`.

    Returns:
        The number of rows.

    Raises:
        StorageError: Where two embedding spaces or model files would mix, an id comes twice, something is missing or
            cannot be read or written; then nothing is written.
    """
    ensure_embeddings_writable(output, force)
    opened: list[_Input] = []
    jobs: list[Manifest] = []
    for name in inputs:
        if is_url(name) or os.path.isdir(name):
            folder = open_folder(name)
            jobs.append(job := read_manifest(folder))
            opened += _parts(folder, job, allow_missing, f"{name.rstrip('/' + os.sep)}/" if prefix else "")
        else:
            before = f"{Path(name).with_suffix('').as_posix()}/" if prefix else ""
            opened.append(_open(LocalFolder(str(Path(name).parent)), Path(name).name, before))
    if not allow_missing:
        _check_shards(jobs)
    _check_one_model(opened)
    header = replace(opened[0].header, backend=one_backend([item.header for item in opened]))
    runs = [run for item in opened for run in item.runs]
    header = with_judgement(header, [item.header for item in opened])
    return write_tables(output, _ordered(header, runs), force)


def _parts(folder: Folder, job: Manifest, allow_missing: bool, prefix: str) -> list[_Input]:
    present = present_parts(folder, job, allow_missing)
    opened = [_open(folder, part_name(number), prefix) for number in present]
    for number in present:
        check_part(folder, job, number)
    return opened or [_Input(folder.name, no_rows(job), [])]


def _open(folder: Folder, name: str, prefix: str) -> _Input:
    path, kind = f"{folder.name.rstrip('/')}/{name}".removeprefix("./"), format_of(Path(name))

    def rows_by(read: Callable[[BinaryIO], dict[str, Any]]) -> Embeddings:
        def values() -> dict[str, Any]:
            with folder.open(name) as file:
                return read(file)

        rows = validated(path, values)
        return replace(rows, id=np.char.add(prefix, rows.id)) if prefix else rows

    if kind.groups is None:
        rows = rows_by(kind.read)
        runs = [_Run(path, min(rows.id.tolist()), lambda: rows)] if len(rows) else []
        return _Input(path, rows.take(np.empty(0, np.int64)), runs)
    survey, read_group = kind.groups.survey, kind.groups.read
    groups: list[tuple[int, str]] = []

    def header(file: BinaryIO) -> dict[str, Any]:
        values, groups[:] = survey(file)
        return values

    def run(number: int, first: str) -> _Run:
        return _Run(path, prefix + first, lambda: rows_by(lambda file: read_group(file, number)))

    return _Input(path, rows_by(header), [run(number, first) for number, first in groups])


def _check_shards(jobs: Sequence[Manifest]) -> None:
    sets: dict[int, set[int]] = {}
    for job in jobs:
        shard = Shard.parse(job.shard)
        sets.setdefault(shard.count, set()).add(shard.number)
    for count, numbers in sorted(sets.items()):
        missing = (str(Shard(number, count)) for number in range(1, count + 1) if number not in numbers)
        named = [*islice(missing, _NAMED)]
        if named:
            more = count - len(numbers) - len(named)
            raise StorageError(
                f"shards are missing: {', '.join(named)}{f' and {more} more' if more else ''}; name their folders too, "
                "or pass --partial to merge what is there"
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
        both = first.header, item.header
        if len({tuple(with_judgement(header, both).columns()) for header in both}) > 1:
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
            raise StorageError(
                f"{name} is in {last_file} and again in {runs[number].file}: expected every id once; "
                "pass --prefix to put the name of its input before each id"
            )
        start = bisect_left(ids, name)
        stop = bisect_left(ids, waiting[0][0], start + 1) if waiting else len(ids)
        stop = max(min(stop, start + GROUP), start + 1)
        taken.append((number, range(start, stop)))
        last, last_file, count = ids[stop - 1], runs[number].file, count + stop - start
        if stop < len(ids):
            heapq.heappush(waiting, (ids[stop], number))
        if count >= GROUP or not waiting:
            yield join([header, _gathered(opened, taken)])
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
