"""Reads a data set by its name, or any folder by the layout that it has.

A layout is not a data set: `read_layout` takes any folder that lies like one of them and counts nothing;
`read_dataset` takes the one that was named, and refuses a copy without the published counts.
"""

from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.labels import JUNK
from reid_runtime.scoring.layouts.datasets import DATASETS, Dataset, Splits
from reid_runtime.scoring.layouts.plain import CSV_NAME, read_plain
from reid_runtime.scoring.person_search import SearchSet


def find_dataset(name: str) -> Dataset:
    """The data set of this name; raises DatasetError with all names where there is none."""
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    raise DatasetError(f"no data set is named {name!r}; expected one of {', '.join(item.name for item in DATASETS)}")


def read_dataset(name: str, root: Path) -> Splits:
    """Read a complete copy of a published data set.

    Args:
        name: As `reid-runtime datasets` lists it: "market1501", "mars", …
        root: Its folder.

    Returns:
        The splits, of paths and labels; no image is read.

    Raises:
        DatasetError: For a folder in another layout or without the published counts, with what it lacks.
    """
    dataset = find_dataset(name)
    _check_layout(dataset, root)
    splits = dataset.read(root)
    counts = count_splits(splits)
    # Training crops are not needed to score: they are counted only where there are some.
    wrong = [
        f"{key}: expected {number}, found {counts[key]}"
        for key, number in dataset.counts.items()
        if key in counts and counts[key] != number
    ]
    if wrong:
        raise DatasetError(
            f"{root} is not all of {name}, or something else: {'; '.join(wrong)}. "
            "To score any folder in this layout, do not name a data set"
        )
    return splits


def read_layout(root: Path, names: str | None = None) -> tuple[Dataset, Splits]:
    """Read any folder that lies like one of DATASETS, whatever its counts.

    Args:
        root: The folder, or a CSV.
        names: The pattern of one's own names, as `read_plain` takes it, which no published layout has; None for none.

    Returns:
        The first data set whose layout it has, and the splits.

    Raises:
        DatasetError: For a folder in no layout, with what the nearest one lacks.
    """
    published = None if names is not None else find_published(root)
    if published is not None:
        return published, published.read(root)
    try:
        return find_dataset("plain"), read_plain(root, names)
    except DatasetError as error:
        if not root.is_dir() or names is not None or (root / CSV_NAME).is_file():
            raise
        nearest = _nearest(root)
        if nearest is None and "--names" in str(error):
            raise
        raise DatasetError(f"{error}; {nearest or '`reid-runtime datasets` lists the layouts'}") from error


def find_published(root: Path) -> Dataset | None:
    """The first data set whose published layout the folder has; None for none."""
    return next((item for item in DATASETS if item.layout and not missing_paths(item, root)), None)


def missing_paths(dataset: Dataset, root: Path) -> list[str]:
    """What the set needs to be scored and `root` does not have."""
    return [" or ".join(names) for names in dataset.layout if not any(any(root.glob(name)) for name in names)]


def count_splits(splits: Splits) -> dict[str, int]:
    """How much there is, by the names of `Dataset.counts`; nothing of a training split that is not there."""
    if isinstance(splits, SearchSet):
        return {"query": len(splits.queries), "gallery_frames": splits.gallery_frames}
    junk = int(np.count_nonzero(splits.gallery.identities == JUNK))
    counts = {"query": len(splits.query), "gallery": len(splits.gallery) - junk, "junk": junk}
    if splits.train is not None:
        counts["train"] = len(splits.train)
        counts["train_identities"] = np.unique(splits.train.identities).size
    return counts


def _nearest(root: Path) -> str | None:
    """What the published layout that `root` has most of still lacks; None where it has nothing of any."""
    published = [dataset for dataset in DATASETS if dataset.layout]
    nearest = min(published, key=lambda dataset: len(missing_paths(dataset, root)) / len(dataset.layout))
    missing = missing_paths(nearest, root)
    if len(missing) < len(nearest.layout):
        return f"it has part of {nearest.name}'s layout, but lacks {', '.join(missing)}"
    return None


def _check_layout(dataset: Dataset, root: Path) -> None:
    if not root.exists():
        raise DatasetError(f"{root} does not exist")
    missing = missing_paths(dataset, root)
    if not missing:
        return
    message = f"{root} is not {dataset.name}: missing {', '.join(missing)}"
    inner = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    fitting = [path for path in inner if not missing_paths(dataset, path)]
    raise DatasetError(f"{message}; {fitting[0]} has them all" if fitting else message)
