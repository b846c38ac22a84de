"""Reads a data set by its name, or any folder by the layout that it has.

A layout is not a data set: `read_layout` takes any folder that lies like one of them and counts nothing;
`read_dataset` takes the one that was named, and refuses a copy without the published counts.
"""

from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.labels import JUNK
from reid_runtime.scoring.layouts.datasets import DATASETS, Dataset, Splits
from reid_runtime.scoring.person_search import SearchSet


def dataset(name: str) -> Dataset:
    """The data set of this name; raises DatasetError with all names where there is none."""
    for known in DATASETS:
        if known.name == name:
            return known
    raise DatasetError(f"no data set is named {name!r}; expected one of {', '.join(known.name for known in DATASETS)}")


def read_dataset(name: str, root: Path) -> Splits:
    """The splits of the named set; raises DatasetError for a copy that lacks something, with what it lacks."""
    named = dataset(name)
    _check_layout(named, root)
    splits = named.read(root)
    found = count(splits)
    # Training pictures are not needed to score: they are counted only where there are some.
    wrong = [
        f"{key}: expected {number}, found {found[key]}"
        for key, number in named.counts.items()
        if key in found and found[key] != number
    ]
    if wrong:
        raise DatasetError(
            f"{root} is not all of {name}, or something else: {'; '.join(wrong)}. "
            "To score any folder in this layout, do not name a data set"
        )
    return splits


def read_layout(root: Path) -> tuple[Dataset, Splits]:
    """The splits of any folder, and the first of `DATASETS` that lies as it does, whose counts it need not have."""
    for known in DATASETS:
        if known.layout and not missing(known, root):
            return known, known.read(root)
    plain = dataset("plain")
    try:
        return plain, plain.read(root)
    except DatasetError as error:
        raise DatasetError(f"{root} has no known layout. {_nearest(root)}. As the plain layout: {error}") from error


def missing(known: Dataset, root: Path) -> list[str]:
    """What the set needs to be scored and `root` does not have."""
    return [" or ".join(names) for names in known.layout if not any((root / name).exists() for name in names)]


def expected(known: Dataset) -> str:
    """What the set needs to be scored, in one line."""
    return ", ".join(" or ".join(names) for names in known.layout)


def count(splits: Splits) -> dict[str, int]:
    """How much there is, by the names of `Dataset.counts`; nothing of a training split that is not there."""
    if isinstance(splits, SearchSet):
        return {"query": len(splits.queries), "gallery_frames": splits.gallery_frames}
    junk = int(np.count_nonzero(splits.gallery.identities == JUNK))
    counts = {"query": len(splits.query), "gallery": len(splits.gallery) - junk, "junk": junk}
    if splits.train is not None:
        counts["train"] = len(splits.train)
        counts["train_identities"] = np.unique(splits.train.identities).size
    return counts


def _nearest(root: Path) -> str:
    """What the layout that `root` has most of still lacks; all the layouts where it has nothing of any."""
    published = [known for known in DATASETS if known.layout]
    nearest = min(published, key=lambda known: len(missing(known, root)) / len(known.layout))
    absent = missing(nearest, root)
    if len(absent) < len(nearest.layout):
        return f"It has part of that of {nearest.name}, but lacks {', '.join(absent)}"
    return "Known are " + "; ".join(f"{known.name}: {expected(known)}" for known in published)


def _check_layout(known: Dataset, root: Path) -> None:
    if not root.exists():
        raise DatasetError(f"{root} does not exist")
    absent = missing(known, root)
    if not absent:
        return
    message = f"{root} is not {known.name}: missing {', '.join(absent)}"
    inner = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    fitting = [path for path in inner if not missing(known, path)]
    raise DatasetError(f"{message}; {fitting[0]} has them all" if fitting else message)
