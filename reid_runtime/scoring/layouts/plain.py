"""A layout for one's own crops: folders `identity/camera/image`, or a CSV of paths, identities and cameras.

The folder may hold `query` and `gallery` (and `train`) with such folders in them, and the CSV a column `split` of
these words. Without them every image is a query in turn, and all the others are its gallery; an image never
finds itself, as the same person under the same camera is ignored.

Where all identities are whole numbers they keep their meaning: -1 is junk and 0 a distractor. Else they are names,
numbered from 1 in alphabetical order, besides the words `junk` and `distractor`. Cameras alike. A whole number is
written in the digits 0 to 9; two ways to write one, as `01` and `1`, are refused, because nobody but their author
knows whether they are one person.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.scoring.labels import DISTRACTOR, JUNK, Integers
from reid_runtime.scoring.layouts.crops import Crops, CropSplits, check_present
from reid_runtime.scoring.layouts.text import read_text

CSV_NAME = "crops.csv"
SPLITS = ("train", "query", "gallery")

_WORDS = {"junk": JUNK, "distractor": DISTRACTOR}
_COLUMNS = ("id", "identity", "camera")
# int() takes more, as 1_1, and would make one person of 1_1 and 11.
_WHOLE = re.compile("-?[0-9]+")
_LONGEST = 18
"""Characters of a whole number that surely fit the 64 bits in which numbers are kept."""


@dataclass(frozen=True)
class _Row:
    id: str
    identity: str
    camera: str
    split: str
    """One of SPLITS, or empty."""


def read_plain(root: Path) -> CropSplits:
    """The splits of such a folder; of a CSV, or a folder with a `crops.csv`, whose paths are relative to it."""
    if root.is_file():
        return _splits(root.parent, _read_csv(root), root)
    if (root / CSV_NAME).is_file():
        return _splits(root, _read_csv(root / CSV_NAME), root / CSV_NAME)
    if not root.is_dir():
        raise DatasetError(f"{root} is neither a folder nor a CSV file")
    return _splits(root, _read_folders(root), root)


def _splits(root: Path, rows: list[_Row], source: Path) -> CropSplits:
    check_present(root, (row.id for row in rows), source.name)
    identities = _numbers((row.identity for row in rows), _WORDS, source)
    cameras = _numbers((row.camera for row in rows), {}, source)
    crops = Crops(root, tuple(row.id for row in rows), identities, cameras)
    split = np.array([row.split for row in rows])
    if (split == "").all():
        return CropSplits(None, crops, crops)
    parts = {name: crops.where(split == name) for name in SPLITS}
    empty = [name for name in ("query", "gallery") if not len(parts[name])]
    if empty:
        raise DatasetError(f"{source} has images of some splits, but none of {' and '.join(empty)}")
    return CropSplits(parts["train"] if len(parts["train"]) else None, parts["query"], parts["gallery"])


def _read_folders(root: Path) -> list[_Row]:
    split_folders = [name for name in SPLITS if (root / name).is_dir()]
    rows, wrong = [], []
    for split in split_folders or [""]:
        for path in sorted((root / split).rglob("*")):
            if not is_image_name(path) or not path.is_file():
                continue
            name = path.relative_to(root).as_posix()
            parts = path.relative_to(root / split).parts
            if len(parts) == 3:
                rows.append(_Row(name, parts[0], parts[1], split))
            else:
                wrong.append(name)
    if wrong:
        raise DatasetError(
            f"{root}: {len(wrong)} of {len(wrong) + len(rows)} images do not lie at identity/camera/image, "
            f"the first is {wrong[0]!r}"
        )
    if not rows:
        raise DatasetError(f"{root} has no images at identity/camera/image, and no {CSV_NAME}")
    return rows


def _read_csv(path: Path) -> list[_Row]:
    table = csv.DictReader(io.StringIO(read_text(path), newline=""))
    absent = [column for column in _COLUMNS if column not in (table.fieldnames or ())]
    if absent:
        raise DatasetError(f"{path} has no column {', '.join(absent)}; expected {', '.join(_COLUMNS)} [and split]")
    rows = []
    for record in table:
        row = _Row(*((record.get(column) or "").strip() for column in (*_COLUMNS, "split")))
        if not (row.id and row.identity and row.camera) or row.split not in ("", *SPLITS):
            raise DatasetError(
                f"{path}: line {table.line_num} has the id {row.id!r}, identity {row.identity!r}, camera "
                f"{row.camera!r} and split {row.split!r}; expected all, the split one of {', '.join(SPLITS)}"
            )
        rows.append(row)
    if not rows:
        raise DatasetError(f"{path} has no rows")
    some = sum(not row.split for row in rows)
    if 0 < some < len(rows):
        raise DatasetError(f"{path}: {some} of {len(rows)} rows have no split; expected all of them or none")
    return rows


def _numbers(names: Iterable[str], words: dict[str, int], source: Path) -> Integers:
    """(N,) the names as numbers: their own where all are whole, else from 1 in alphabetical order."""
    listed = list(names)
    distinct = sorted(set(listed) - set(words))
    numeric = all(_WHOLE.fullmatch(name) for name in distinct)
    numbers = _parse(distinct, source) if numeric else {name: number for number, name in enumerate(distinct, 1)}
    numbers |= words
    return np.array([numbers[name] for name in listed], dtype=np.int64)


def _parse(names: list[str], source: Path) -> dict[str, int]:
    """The number of each of the distinct names; raises DatasetError for two of one number, as `01` and `1` are."""
    long = [name for name in names if len(name) > _LONGEST]
    if long:
        raise DatasetError(f"{source}: {long[0]!r} is a number of more than {_LONGEST} characters; write shorter ones")
    first: dict[int, str] = {}
    for name in names:
        number = int(name)
        other = first.setdefault(number, name)
        if other != name:
            raise DatasetError(
                f"{source}: {other!r} and {name!r} are one number, and may mean one or two; write what is one alike, "
                "and name what is two so that the numbers differ"
            )
    return {name: number for number, name in first.items()}
