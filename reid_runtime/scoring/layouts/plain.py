"""A layout for one's own crops: folders `identity/camera/image` or `identity/image`, or a CSV of paths and labels.

The folder may hold `query` and `gallery` (and `train`) with such folders in them, and the CSV a column `split` of
these words. Without them every image is a query in turn, and all the others are its gallery; an image never
finds itself, as the same person under the same camera is ignored.

Where all identities are whole numbers, -1 is junk. 0 is a distractor beside junk or in a gallery; among queries, or
in what is trained on, it is the person whom a list numbers from 0. Else identities are names, besides the words
`junk`, `unsure` (which is junk) and `distractor`. Scores number names from 1 in alphabetical order, and keep them.
Cameras alike. A whole number is written in the digits 0 to 9; two ways to write one, as `01` and `1`, are refused,
because nobody but their author knows whether they are one person.
"""

import csv
import io
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.io.text import counted
from reid_runtime.scoring.labels import DISTRACTOR, JUNK, Integers, LabelNames
from reid_runtime.scoring.layouts.crops import PERSON_ZERO, Crops, CropSplits, check_present, number_person_zero
from reid_runtime.scoring.layouts.folders import SPLITS, Row, read_rows
from reid_runtime.scoring.layouts.text import read_text

CSV_NAME = "crops.csv"

_WORDS = {"junk": JUNK, "unsure": JUNK, "distractor": DISTRACTOR}
_COLUMNS = ("id", "identity", "camera", "split")
# int() takes more, as 1_1, and would make one person of 1_1 and 11.
_WHOLE = re.compile("-?[0-9]+")
_LONGEST = 18
"""Characters of a whole number that surely fit the 64 bits in which numbers are kept."""


def read_plain(root: Path, names: str | None = None) -> CropSplits:
    """Read a user's own folder or CSV.

    Args:
        root: The folder; or a CSV, whose paths are relative to it, or a folder with a `crops.csv`.
        names: A pattern of the images' names or paths, as `{identity}_{camera}`; None for folders, or the CSV.

    Returns:
        The splits; query and gallery are the same where there are none.

    Raises:
        DatasetError: For what lies otherwise, or may mean two things.
    """
    if root.is_file():
        return _splits(root.parent, _read_csv(root), root)
    if (root / CSV_NAME).is_file() and names is None:
        return _splits(root, _read_csv(root / CSV_NAME), root / CSV_NAME)
    if not root.is_dir():
        raise DatasetError(f"{root} is neither a folder nor a CSV file")
    rows, notes = read_rows(root, names)
    return _splits(root, rows, root, notes)


def _splits(root: Path, rows: list[Row], source: Path, notes: tuple[str, ...] = ()) -> CropSplits:
    check_present(root, (row.id for row in rows), source.name)
    twice = [row for row, count in Counter((row.id, row.split) for row in rows).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{source}: {counted(len(twice), 'image is', 'images are')} listed more than once, the first is "
            f"{twice[0][0]!r}"
        )
    identities, people = _numbers([row.identity for row in rows], _WORDS, source)
    cameras, camera_names = _numbers([row.camera for row in rows], {}, source)
    crops = Crops(root, tuple(row.id for row in rows), identities, cameras, LabelNames(people, camera_names), notes)
    split = np.array([row.split for row in rows])
    if (split == "").all():
        crops = number_person_zero(crops, crops)
        return CropSplits(None, crops, crops)
    parts = {name: crops.where(split == name) for name in SPLITS}
    empty = [name for name in ("query", "gallery") if not len(parts[name])]
    if empty:
        raise DatasetError(f"{source} has images of some splits, but none of {' and '.join(empty)}")
    train, query, gallery = (
        number_person_zero(parts[name], parts[name if name == "train" else "query"]) for name in SPLITS
    )
    return CropSplits(train if len(train) else None, query, gallery)


def _read_csv(path: Path) -> list[Row]:
    text = read_text(path)
    header = text.split("\n", 1)[0]
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in header and "," not in header else ",")
    table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
    absent = [column for column in ("id", "identity") if column not in table.fieldnames]
    if absent:
        raise DatasetError(
            f"{path} has no column {', '.join(absent)}; expected id (the image's path), identity [, camera] [, split], "
            f"found {', '.join(table.fieldnames)[:60]!r}"
        )
    rows = []
    for record in table:
        row = Row(*((record.get(column) or "").strip() for column in _COLUMNS))
        camera = row.camera or "camera" not in table.fieldnames
        if not (row.id and row.identity and camera) or row.split not in ("", *SPLITS):
            raise DatasetError(
                f"{path}: line {table.line_num} has the id {row.id!r}, identity {row.identity!r}, camera "
                f"{row.camera!r} and split {row.split!r}; expected all, the split one of {', '.join(SPLITS)}"
            )
        # Windows writes paths so; where a file has a backslash in its name, it is that file.
        windows = "\\" in row.id and not (path.parent / row.id).exists()
        rows.append(replace(row, id=row.id.replace("\\", "/")) if windows else row)
    if not rows:
        raise DatasetError(f"{path} has no rows")
    some = sum(not row.split for row in rows)
    if 0 < some < len(rows):
        raise DatasetError(f"{path}: {some} of {len(rows)} rows have no split; expected all of them or none")
    return rows


def _numbers(names: list[str], words: dict[str, int], source: Path) -> tuple[Integers, dict[int, str]]:
    """(N,) the names as numbers, their own where all are whole, else from 1 in alphabetical order; and their names."""
    distinct = sorted(set(names) - set(words))
    numeric = all(_WHOLE.fullmatch(name) for name in distinct)
    numbers = _parse(distinct, source) if numeric else {name: number for number, name in enumerate(distinct, 1)}
    if words.keys() & set(names):  # who writes these means no distractor by 0
        numbers = {name: number or PERSON_ZERO for name, number in numbers.items()}
    numbers_of_all = numbers | words
    # Names of folders need not be UTF-8; what is kept in files and pages has to be.
    texts = {number: os.fsencode(name).decode("utf-8", "backslashreplace") for name, number in numbers.items()}
    return np.array([numbers_of_all[name] for name in names], dtype=np.int64), texts


def _parse(names: list[str], source: Path) -> dict[str, int]:
    """The number of each of the distinct names; raises DatasetError for two of one number, as `01` and `1` are."""
    long = [name for name in names if len(name) > _LONGEST]
    if long:
        raise DatasetError(f"{source}: {long[0]!r} is a number of more than {_LONGEST} characters; write shorter ones")
    first: dict[int, str] = {}
    for name in names:
        number = int(name)
        if number < JUNK:
            raise DatasetError(f"{source}: {name!r} is no person's number; expected -1 (junk), 0 or more, or names")
        other = first.setdefault(number, name)
        if other != name:
            raise DatasetError(
                f"{source}: {other!r} and {name!r} are one number, and may mean one or two; write what is one alike, "
                "and name what is two so that the numbers differ"
            )
    return {name: number for number, name in first.items()}
