"""What a reading of labels came to: how many people, cameras and images, what was passed over, what may be wrong.

Printed before anything is computed, because labels that were read otherwise than meant give scores like any other.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.io.text import counted
from reid_runtime.scoring.labels import DISTRACTOR, JUNK, Integers, LabelNames
from reid_runtime.scoring.layouts.crops import Crops
from reid_runtime.scoring.layouts.folders import SPLITS
from reid_runtime.scoring.layouts.market1501 import FOLDERS as MARKET
from reid_runtime.scoring.layouts.market1501 import VERI
from reid_runtime.scoring.layouts.plain import CSV_NAME

_SPLIT_FOLDERS = {*SPLITS, *MARKET, *VERI, "gt_bbox"}


class NamedRows(Protocol):
    """`Crops`, or the entries of an evaluation."""

    @property
    def ids(self) -> tuple[str, ...]:
        """N relative paths."""

    @property
    def identities(self) -> Integers:
        """(N,) person numbers."""

    @property
    def cameras(self) -> Integers:
        """(N,) camera numbers."""

    @property
    def names(self) -> LabelNames:
        """What the numbers are called."""


@dataclass(frozen=True)
class Account:
    """How a data set's labels were read."""

    people: int
    cameras: int
    images: int
    distractors: int
    """Rows of nobody."""
    passed_over: dict[str, int]
    """Files that were not read, by suffix or reason."""
    examples: tuple[tuple[str, str, str], ...]
    """Path, identity and camera of two rows."""
    notes: tuple[str, ...]

    def check(self, dataset: str) -> None:
        """Raises DatasetError where there is one person alone, of whom every answer would be right."""
        if self.people < 2 and not self.distractors:
            raise DatasetError(
                f"{dataset} is one person alone, by its labels, and every answer would be right: expected folders "
                "identity/camera/image, or --names, as '{identity}_{camera}'"
            )

    def lines(self, name: str) -> list[str]:
        """What is printed."""
        nobody = f", {self.distractors:,} of distractors" if self.distractors else ""
        cameras = counted(self.cameras, "camera") if self.cameras else "no camera stated"
        lines = [f"{name}: {counted(self.people, 'person')}, {cameras}, {counted(self.images, 'image')}{nobody}"]
        for path, identity, camera in self.examples:
            lines.append(f"  {path}: identity {identity}, camera {camera or 'not stated'}")
        if self.passed_over:
            listed = ", ".join(f"{count:,} {reason}" for reason, count in self.passed_over.items())
            lines.append(f"passed over: {counted(sum(self.passed_over.values()), 'file')} ({listed})")
        return [*lines, *self.notes]

    def report(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def account_of(
    rows: Sequence[NamedRows], images: int, passed_over: Mapping[str, int], notes: Iterable[str] = ()
) -> Account:
    """Count what the rows of one or several splits hold; `images` says how many files they are made of."""
    people = {number for each in rows for number in each.identities.tolist() if number > DISTRACTOR}
    cameras = {each.names.camera(number) for each in rows for number in np.unique(each.cameras).tolist()} - {""}
    nobody = {name for each in rows for name in np.array(each.ids)[each.identities == DISTRACTOR].tolist()}
    examples = tuple(
        (each.ids[row], each.names.identity(int(each.identities[row])), each.names.camera(int(each.cameras[row])))
        for each, row in ((rows[0], 0), (rows[-1], -1))
    )
    notes = list(dict.fromkeys(notes))
    if len(cameras) > max(2, len(people)):
        notes.append(
            f"warning: more cameras than people ({len(cameras)} and {len(people)}): are they the other way round?"
        )
    return Account(len(people), len(cameras), images, len(nobody), dict(passed_over), examples, tuple(notes))


def count_passed_over(root: Path, ids: Iterable[str]) -> dict[str, int]:
    """How many files in and below the folders of `ids` are not among them, by suffix or reason, the most first.

    Of a CSV only the folders that it names are looked into, of a folder with splits only these.
    """
    base = os.path.abspath(root.parent if root.is_file() else root)
    names = [os.path.normpath(name) for name in ids]
    read = {os.path.join(base, name) for name in names}
    tops = {name.split(os.sep)[0] for name in names}
    if root.is_file():
        tops = {os.path.dirname(name) for name in names}
    elif not tops <= _SPLIT_FOLDERS:
        tops = {"."}
    counts: Counter[str] = Counter()
    for top in tops:
        for folder, folders, files in os.walk(os.path.normpath(os.path.join(base, top))):
            counts["links to folders"] += sum(os.path.islink(os.path.join(folder, name)) for name in folders)
            counts.update(_reason(file) for file in files if os.path.join(folder, file) not in read)
            if root.is_file():
                folders.clear()
    counts[".csv"] -= os.path.isfile(os.path.join(base, CSV_NAME)) and tops == {"."}
    return {
        reason: -count for count, reason in sorted((-count, reason) for reason, count in counts.items() if count > 0)
    }


def _reason(file: str) -> str:
    if file.startswith("."):
        return "hidden"
    if is_image_name(file):
        return "images that were not named"
    return os.path.splitext(file)[1].lower()[:12] or "without a suffix"


def check_files(crops: Sequence[Crops]) -> tuple[str, ...]:
    """A warning where one file, by its content, is under two cameras of a person, whom any model then finds.

    Also what is said of junk, which is left out.

    Raises DatasetError where it is of two people: one of them is wrong.
    """
    by_size: dict[int, list[tuple[Path, tuple[str, str, str]]]] = defaultdict(list)
    for each in crops:
        identities, cameras = each.identities.tolist(), each.cameras.tolist()
        for name, path, identity, camera in zip(each.ids, each.paths, identities, cameras, strict=True):
            size = path.stat().st_size
            if size and identity != JUNK:  # an empty file is refused when it is read
                by_size[size].append((path, (name, each.names.identity(identity), each.names.camera(camera))))
    labels: dict[bytes, list[tuple[str, str, str]]] = defaultdict(list)
    for paths in by_size.values():
        for path, label in paths if len(paths) > 1 else ():
            labels[hashlib.sha256(path.read_bytes()).digest()].append(label)
    pairs = [(each[0], other) for each in labels.values() for other in each[1:]]
    people = [(one, other) for one, other in pairs if one[1] != other[1]]
    if people:
        one, other = people[0]
        raise DatasetError(
            f"{counted(len(people), 'image is', 'images are')} one file of two people, the first {one[0]!r} "
            f"(identity {one[1]}) and {other[0]!r} (identity {other[1]}); keep the one that is right"
        )
    junk = {name for each in crops for name in np.array(each.ids)[each.identities == JUNK].tolist()}
    notes = (f"left out as junk (identity -1, junk or unsure): {counted(len(junk), 'image')}",) if junk else ()
    twice = [(one[0], other[0]) for one, other in pairs if one[2] != other[2]]
    if not twice:
        return notes
    first, second = twice[0]
    return (
        *notes,
        f"warning: {counted(len(twice), 'image is', 'images are')} one file under two cameras, the first {first!r} and "
        f"{second!r}: any model finds them",
    )
