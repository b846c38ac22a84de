"""Files of `evaluate --save`: back into a task, matched with a data set's folder, or with each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.evaluation.tasks import Items, Task
from reid_runtime.jobs import Embeddings, read_embeddings
from reid_runtime.jobs.table import one_backend
from reid_runtime.vectors import Vectors

_PARTS = ("query", "gallery", "multi_query")


def read_saved(paths: Sequence[Path]) -> Embeddings:
    """The rows of one file, or of several together; raises StorageError for files of two embedding spaces,
    rows without a vector or without the columns of a labelled set.
    """
    files = [read_embeddings(path) for path in paths]
    for path, rows in zip(paths, files, strict=True):
        _check_labelled(path, rows)
    others = [place for place, rows in enumerate(files) if rows.contract_id != files[0].contract_id]
    if others:
        raise StorageError(
            f"{len(others)} of {len(files)} files have another contract id than {paths[0]} ({files[0].contract_id}), "
            f"the first is {paths[others[0]]} ({files[others[0]].contract_id}): vectors of two embedding spaces "
            "cannot be compared; embed all with one model"
        )
    columns = {name: np.concatenate([rows.columns()[name] for rows in files]) for name in _columns(files)}
    first = files[0]
    return Embeddings(
        **columns,
        contract=first.contract,
        contract_id=first.contract_id,
        artefact_id=first.artefact_id,
        backend=one_backend(files),
    )


def task_of_rows(rows: Embeddings, dataset: str) -> Task:
    """The task that saved rows are of, without its pictures; raises StorageError where that takes the folder.

    A file does not say by which protocol its set chose the queries and the gallery, nor whether a vector is of a
    picture or of a tracklet; the task's method therefore says only where they come from.
    """
    parts = {name: _items(rows, name) for name in _PARTS}
    empty = [name for name in ("query", "gallery") if not len(parts[name])]
    if empty:
        raise StorageError(f"no row is of the split {' or '.join(empty)}; `evaluate --save` keeps both")
    if any("#xywh=" in name for name in parts["gallery"].ids[:1]):
        raise StorageError(
            "these are the boxes of a person search, where each query has its own gallery; name the folder of the set"
        )
    more = parts["multi_query"] if len(parts["multi_query"]) else None
    task = Task(dataset, "query and gallery as saved", parts["query"], parts["gallery"], more)
    task.check()
    return task


def rows_of(task: Task, rows: Embeddings) -> dict[str, Vectors]:
    """The vectors of each split of the task; raises StorageError where the rows are not of its items."""
    for name, items in task.parts.items():
        _check_equal(name, _lines(items), _lines(_items(rows, name)), task.dataset, "the vectors")
    return {name: rows.embedding[rows.split == name] for name in task.parts}


def check_same_data(before: Embeddings, after: Embeddings, names: tuple[str, str]) -> None:
    """Raises StorageError unless two files are of one data set, row for row; their models may be two."""
    for split in ("query", "gallery"):
        one, other = (_lines(_items(rows, split)) for rows in (before, after))
        _check_equal(split, one, other, *names)


def _lines(items: Items) -> list[str]:
    """One line a row, as messages name it."""
    return [
        f"{name!r}, identity {identity} of camera {camera}"
        for name, identity, camera in zip(items.ids, items.identities.tolist(), items.cameras.tolist(), strict=True)
    ]


def _check_equal(split: str, one: list[str], other: list[str], first: str, second: str) -> None:
    if one == other:
        return
    for here, there, inside, outside in ((one, other, first, second), (other, one, second, first)):
        known = set(there)
        absent = [line for line in here if line not in known]
        if absent:
            raise StorageError(
                f"{len(absent)} of {len(here)} {split} rows of {inside} are not in {outside}, the first is "
                f"{absent[0]}; expected one data set, with the same labels"
            )
    raise StorageError(f"{first} and {second} have the same {split} rows in another order, or some of them twice")


def _items(rows: Embeddings, split: str) -> Items:
    """The items of one split, without pictures."""
    if rows.split is None or rows.identity is None or rows.camera is None:
        raise StorageError("the rows have no split, identity or camera; `evaluate --save` keeps them")
    part = rows.split == split
    ids = tuple(rows.id[part].tolist())
    return Items(ids, rows.identity[part], rows.camera[part], ((),) * len(ids))


def _check_labelled(path: Path, rows: Embeddings) -> None:
    absent = [name for name in ("identity", "camera", "split") if getattr(rows, name) is None]
    if absent:
        raise StorageError(f"{path} has no column {', '.join(absent)}; expected a file of `evaluate --save`")
    failed = np.flatnonzero(rows.error != "")
    if failed.size:
        raise StorageError(
            f"{path}: {failed.size} of {len(rows)} rows have no vector, the first is {rows.id[failed[0]]}: "
            f"{rows.error[failed[0]]}"
        )
    wrong = np.flatnonzero(~np.isfinite(rows.embedding).all(axis=1))
    if wrong.size:
        raise StorageError(
            f"{path}: {wrong.size} of {len(rows)} vectors hold NaN or infinity, the first is that of "
            f"{rows.id[wrong[0]]}; embed these again"
        )


def _columns(files: Sequence[Embeddings]) -> list[str]:
    """The columns that all files have."""
    return [name for name in files[0].columns() if all(name in rows.columns() for rows in files)]
