"""Files of `evaluate --save`: read back as a set, matched with a data set's folder, or with each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.evaluation.eval_set import Entries, EvalSet
from reid_runtime.jobs import Embeddings, read_embeddings
from reid_runtime.jobs.embeddings import one_backend
from reid_runtime.jobs.labels import integer_labels
from reid_runtime.scoring.labels import LabelNames
from reid_runtime.vectors import Vectors

_SPLITS = ("query", "gallery", "multi_query")


def read_saved(paths: Sequence[Path]) -> Embeddings:
    """The rows of one file, or of several together; raises StorageError for files of two embedding spaces,
    rows without a vector or without the columns of a labelled set.
    """
    files = [read_embeddings(path) for path in paths]
    for path, rows in zip(paths, files, strict=True):
        _check_labelled(path, rows)
    first = files[0]
    differing = [row for row, rows in enumerate(files) if rows.contract_id != first.contract_id]
    if differing:
        raise StorageError(
            f"{len(differing)} of {len(files)} files have another contract id than {paths[0]} ({first.contract_id}), "
            f"the first is {paths[differing[0]]} ({files[differing[0]].contract_id}): vectors of two embedding spaces "
            "cannot be compared; embed all with one model"
        )
    shared = [name for name in first.columns() if all(name in rows.columns() for rows in files)]
    columns = {name: np.concatenate([rows.columns()[name] for rows in files]) for name in shared}
    return Embeddings(
        **columns,
        contract=first.contract,
        contract_id=first.contract_id,
        artefact_id=first.artefact_id,
        backend=one_backend(files),
    )


def eval_set_of_rows(rows: Embeddings, name: str, *, camera_rule: bool = True) -> EvalSet:
    """The set that saved rows are of, without its images; raises StorageError where that takes the folder.

    `camera_rule` as for `eval_set_of`.

    A file does not say by which protocol its set chose the queries and the gallery, nor whether a vector is of a
    crop or of a tracklet; the set's method therefore says only where they come from.
    """
    splits = {split: _entries(rows, split) for split in _SPLITS}
    empty = [split for split in ("query", "gallery") if not len(splits[split])]
    if empty:
        raise StorageError(f"no row is of the split {' or '.join(empty)}; `evaluate --save` keeps both")
    if any("#xywh=" in entry for entry in splits["gallery"].ids[:1]):
        raise StorageError(
            "these are the boxes of a person search, where each query has its own gallery; name the folder of the set"
        )
    more = splits["multi_query"] if len(splits["multi_query"]) else None
    eval_set = EvalSet(name, "query and gallery as saved", splits["query"], splits["gallery"], more)
    if not (camera_rule and eval_set.query.names.has_cameras):
        eval_set = eval_set.without_cameras()
    eval_set.check()
    return eval_set


def vectors_by_split(eval_set: EvalSet, rows: Embeddings) -> dict[str, Vectors]:
    """The vectors of each split of the set; raises StorageError where the rows are not of its entries."""
    for split, entries in eval_set.splits.items():
        _check_equal(split, _lines(entries), _lines(_entries(rows, split)), eval_set.dataset, "the vectors")
    return {split: rows.embedding[rows.split == split] for split in eval_set.splits}


def check_same_data(before: Embeddings, after: Embeddings, names: tuple[str, str]) -> None:
    """Raises StorageError unless two files are of one data set, row for row; their models may differ."""
    for split in ("query", "gallery"):
        one, other = (_lines(_entries(rows, split)) for rows in (before, after))
        _check_equal(split, one, other, *names)


def _lines(entries: Entries) -> list[str]:
    """One line a row, as messages name it."""
    return [
        f"{name!r}, identity {_number(entries.names.identity(identity))} of camera "
        f"{_number(entries.names.camera(camera))}"
        for name, identity, camera in zip(
            entries.ids, entries.identities.tolist(), entries.cameras.tolist(), strict=True
        )
    ]


def _number(name: str) -> str:
    """A whole number without the zeros before it, which earlier files left out; other names as they are."""
    return str(int(name)) if name.isascii() and name.isdecimal() else name


def _check_equal(split: str, one: list[str], other: list[str], first: str, second: str) -> None:
    if one == other:
        return
    for here, there, inside, outside in ((one, other, first, second), (other, one, second, first)):
        there_too = set(there)
        absent = [line for line in here if line not in there_too]
        if absent:
            raise StorageError(
                f"{len(absent)} of {len(here)} {split} rows of {inside} are not in {outside}, the first is "
                f"{absent[0]}; expected one data set, with the same labels"
            )
    raise StorageError(f"{first} and {second} have the same {split} rows in another order, or some of them twice")


def _entries(rows: Embeddings, split: str) -> Entries:
    """The entries of one split, without images."""
    if rows.split is None or rows.identity is None or rows.camera is None:
        raise StorageError("the rows have no split, identity or camera; `evaluate --save` keeps them")
    stated = rows.camera if (rows.camera != "").any() else np.full(len(rows), "1")
    identities, cameras = integer_labels(rows.id, rows.identity, stated, rows.role)
    people = dict(zip(identities.tolist(), rows.identity.tolist(), strict=True))
    names = LabelNames(people, dict(zip(cameras.tolist(), rows.camera.tolist(), strict=True)))
    part = rows.split == split
    ids = tuple(rows.id[part].tolist())
    return Entries(ids, identities[part], cameras[part], ((),) * len(ids), names)


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
