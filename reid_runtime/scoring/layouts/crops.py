"""Tables of crops: what the readers of crop layouts return."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.labels import DISTRACTOR, JUNK, Integers, LabelNames, Mask
from reid_runtime.scoring.person_search import Coordinates

PERSON_ZERO = 10**18
"""The number of a person whom a data set numbers 0, which scores keep for distractors; no data set numbers so high."""


@dataclass(frozen=True)
class Crops:
    """N crops of one split: row i of every column belongs to crop i."""

    root: Path
    """The folder that `ids` are relative to."""
    ids: tuple[str, ...]
    """N relative POSIX paths, in the layout's own order: of its list, or else sorted."""
    identities: Integers
    """(N,) person numbers; -1 is junk, 0 a distractor."""
    cameras: Integers
    """(N,) camera numbers."""
    names: LabelNames = field(default_factory=LabelNames)
    """What the data set calls them."""
    notes: tuple[str, ...] = ()
    """What of the reading was not plain, a sentence each."""
    boxes: Coordinates | None = None
    """(N, 4) left, top, right, bottom: each crop is this part of its image, and its id the image and `#`; None where
    each image is one crop."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def paths(self) -> list[Path]:
        """N paths, in the order of the rows."""
        return [self.root / (name if self.boxes is None else name.rpartition("#")[0]) for name in self.ids]

    def where(self, mask: Mask) -> "Crops":
        """The rows at which the (N,) mask is true."""
        kept = np.flatnonzero(mask)
        ids = tuple(self.ids[i] for i in kept)
        boxes = None if self.boxes is None else self.boxes[kept]
        return replace(self, ids=ids, identities=self.identities[kept], cameras=self.cameras[kept], boxes=boxes)


@dataclass(frozen=True)
class CropSplits:
    """A set of crops; junk is left in, the scorer ignores it."""

    train: Crops | None
    """None where the folder has none."""
    query: Crops
    gallery: Crops
    multi_query: Crops | None = None
    """More crops of the query's people under the same cameras, for multi-query; None where the folder has none."""


def number_person_zero(crops: Crops, sought: Crops) -> Crops:
    """The crops, with identity 0 as a person where `sought` has it: the queries, or what is trained on.

    Nobody looks for a distractor, or learns one; only beside junk (-1) in one split is 0 what Market-1501 means by it.
    """
    if DISTRACTOR not in sought.identities or JUNK in sought.identities or DISTRACTOR not in crops.names.people:
        return crops
    name = crops.names.people[DISTRACTOR]
    names = replace(crops.names, people={**crops.names.people, PERSON_ZERO: name})
    note = f"identity {name!r} is read as a person; where it is nobody, write 'distractor'"
    identities = np.where(crops.identities == DISTRACTOR, PERSON_ZERO, crops.identities)
    return replace(crops, identities=identities, names=names, notes=(*crops.notes, note))


def check_present(root: Path, ids: Iterable[str], source: str) -> None:
    """Raises DatasetError with the count and the first of the `ids`, named by `source`, that are not under `root`.

    Folders are listed once each: asking for each file would take minutes on half a million.
    """
    by_folder: dict[str, list[str]] = {}
    for name in ids:
        by_folder.setdefault(str(PurePosixPath(name).parent), []).append(name)
    absent: list[str] = []
    for folder, names in by_folder.items():
        parent = root / folder
        present = {path.name for path in parent.iterdir()} if parent.is_dir() else set()
        absent += [name for name in names if PurePosixPath(name).name not in present]
    if absent:
        total = sum(map(len, by_folder.values()))
        raise DatasetError(
            f"{root}: {len(absent)} of {total} images that {source} names are missing, the first is {absent[0]!r}; "
            "the copy is not complete"
        )
