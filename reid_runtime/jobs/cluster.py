"""Who is who in files of embeddings: the columns that say what cannot be one person, and the names of the groups."""

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.images.quality import WORTHLESS
from reid_runtime.jobs.embeddings import Embeddings, check_same_space, join
from reid_runtime.jobs.labels import Texts
from reid_runtime.matching.calibration import Calibration
from reid_runtime.matching.clustering import Constraint, ConstraintError, Grouping, group, read_links
from reid_runtime.matching.units import Sightings, Windows, apart, number_units, pool_units

_COMMON = (
    "reasons",
    "quality",
    "camera",
    "track",
    "time",
    "frame",
    "identity",
    "role",
    "split",
    "x1",
    "y1",
    "x2",
    "y2",
)
_NUMBERS = {"time": np.float64} | dict.fromkeys(("quality", "x1", "y1", "x2", "y2"), np.float32)
_KINDS = {name: _NUMBERS.get(name, np.str_) for name in _COMMON}
_OPTIONAL = {name: np.nan if name in _NUMBERS else "" for name in _COMMON}
"""What stands in a column that only another of several tables has."""


@dataclass(frozen=True)
class Clusters:
    """Who is who."""

    rows: Embeddings
    """All rows, with the column `identity`: `person-0001` and so on, empty for those that are unsure."""
    grouping: Grouping
    units: int
    """Tracks and crops without one that were grouped."""
    unsure: int
    """Rows with a vector and without an identity: of no worth, or nobody can tell."""


def cluster(
    tables: Embeddings | Sequence[Embeddings],
    calibration: Calibration | None,
    *,
    constraints: Sequence[Constraint] = (),
    threshold: float | None = None,
    windows: Windows | None = None,
    before: Mapping[str, str] | None = None,
) -> Clusters:
    """Tell who is who among unknown people.

    Tracks are grouped as a whole, by the mean of their crops weighted by `quality`, crops without one each by itself.
    Crops of no worth, by their reason codes, are unsure. Two boxes of one frame, and two tracks of one camera that
    overlap in time, are never one person.

    Args:
        tables: Embeddings of one model, of one camera or of several, with distinct ids. The columns camera, track,
            time and frame are used where they are there; a table without cameras is a camera of its own.
        calibration: What similarities mean in this embedding space; None with a threshold.
        constraints: What a person has said of pairs of crops; it holds whatever they look like.
        threshold: A cosine, in place of the one that the calibration gives.
        windows: How long people take from one camera to another.
        before: Who was who in an earlier run, by id: a group keeps the name that most of its crops had.

    Returns:
        All rows with their identities.

    Raises:
        StorageError: For tables of two embedding spaces, and for an id that comes twice.
        ConstraintError: For constraints that contradict each other.
        CalibrationError: For a calibration of another space.
        OptionsError: For neither a calibration nor a threshold.
    """
    rows = _joined([tables] if isinstance(tables, Embeddings) else tables)
    if calibration is not None:
        calibration.require_space(rows.contract_id, "the embeddings")
    usable = rows.error == ""
    if rows.reasons is not None:
        usable &= np.array([not {*codes.split(",")} & {*WORTHLESS} for codes in rows.reasons.tolist()], np.bool_)
    camera = np.full(len(rows), "") if rows.camera is None else rows.camera
    sightings = Sightings(camera, rows.track, rows.time, rows.frame)
    units = number_units(sightings, usable)
    weights = np.ones(len(rows)) if rows.quality is None else np.nan_to_num(rows.quality.astype(np.float64), nan=1.0)
    vectors = pool_units(rows.embedding, units, weights)
    links = read_links(rows.id, units, constraints, apart(sightings, units, windows or {}))
    grouping = group(vectors, units, links, calibration, threshold)
    identity = _named(grouping, rows.id, before or {})
    unsure = int(((identity == "") & (rows.error == "")).sum())
    return Clusters(replace(rows, identity=identity), grouping, int(units.max(initial=-1)) + 1, unsure)


def read_constraints(path: str | os.PathLike[str]) -> list[Constraint]:
    """Read a CSV file with the columns `a`, `b` (ids) and `link`, which is `must` or `cannot`.

    Args:
        path: The file; a first line `a,b,...` is its heading, and may be missing.

    Returns:
        The constraints.

    Raises:
        StorageError: For a file that cannot be read.
        ConstraintError: For any other line, by its number.
    """
    constraints = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(csv.reader(file), 1):
                if not line or (number == 1 and line[:2] == ["a", "b"]):
                    continue
                if len(line) != 3 or line[2].strip() not in ("must", "cannot"):
                    raise ConstraintError(f"{path}, line {number}: expected id,id,must or id,id,cannot, found {line}")
                constraints.append(Constraint(line[0], line[1], "must" if line[2].strip() == "must" else "cannot"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageError(f"{path}: the constraints cannot be read: {error}") from error
    return constraints


def _joined(tables: Sequence[Embeddings]) -> Embeddings:
    for table in tables[1:]:
        check_same_space(tables[0], table)
    if len(tables) > 1:
        names = [name for name in _COMMON if any(getattr(table, name) is not None for table in tables)]
        tables = [_completed(table, number, names) for number, table in enumerate(tables, 1)]
    rows = tables[0] if len(tables) == 1 else join(tables)
    twice = [name for name, count in Counter(rows.id.tolist()).items() if count > 1]
    if twice:
        raise StorageError(
            f"the id {twice[0]!r} comes twice: put the names of the files before them (reid-runtime merge --prefix)"
        )
    return rows


def _completed(table: Embeddings, number: int, names: Sequence[str]) -> Embeddings:
    """The table with all the columns that one of several has; where it has no cameras, it is one by its number."""
    if "frame" in names and table.frame is None:
        raise StorageError("some of the files have the column frame and others not: expected it in all, or in none")
    missing = [name for name in names if getattr(table, name) is None]
    columns: dict[str, Any] = {name: np.full(len(table), _OPTIONAL[name]).astype(_KINDS[name]) for name in missing}
    if table.camera is None:
        columns["camera"] = np.full(len(table), f"camera-{number}")
    return replace(table, **columns)


def _named(grouping: Grouping, ids: Texts, before: Mapping[str, str]) -> Texts:
    """(N,) names; a group has the earlier name that most of its crops had, new ones have numbers that are free."""
    votes = Counter(
        (number, before[name])
        for number, name in zip(grouping.groups.tolist(), ids.tolist(), strict=True)
        if number >= 0 and before.get(name)
    )
    names: dict[int, str] = {}
    for (number, name), _ in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0])):
        if number not in names and name not in names.values():
            names[number] = name
    taken = {*before.values()}
    free = (name for number in range(1, len(ids) + len(taken) + 2) if (name := f"person-{number:04}") not in taken)
    for number in range(grouping.people):
        if number not in names:
            names[number] = next(free)
    return np.array([names.get(number, "") for number in grouping.groups.tolist()], np.str_)
