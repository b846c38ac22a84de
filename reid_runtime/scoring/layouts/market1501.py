"""Market-1501's layout: bounding_box_train, query and bounding_box_test, facts in each file's own name.

A name reads `IDENTITY_cCAMERAsSEQUENCE_FRAME_BOX`. Identity -1 is junk, to be ignored; 0000 is a distractor,
which stays a negative. The sign must survive: read as 1, junk becomes person 1. DukeMTMC-reID and CUHK03-NP are
published in the same layout. `gt_bbox`, where it is there, holds the further crops that multi-query needs.
"""

import re
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.images.suffixes import IMAGE_SUFFIXES, is_image_name
from reid_runtime.scoring.labels import LabelNames
from reid_runtime.scoring.layouts.crops import Crops, CropSplits, number_person_zero

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
VERI = ("image_train", "image_query", "image_test")
"""What VeRi-776 and its like call them."""

_NAME = re.compile(r"(-?\d+)_[cC](\d+)")


def read_split(root: Path, split: str) -> Crops:
    """The crops of `root/split`, by the facts in their names; raises DatasetError for the first bad name."""
    if not (root / split).is_dir() and split in FOLDERS:
        split = next((name for name in (VERI[FOLDERS.index(split)],) if (root / name).is_dir()), split)
    folder = root / split
    if not folder.is_dir():
        raise DatasetError(f"{root} has no folder {split!r}; Market-1501's layout is {', '.join(FOLDERS)}")
    names = sorted(path.name for path in folder.iterdir() if is_image_name(path))
    if not names:
        raise DatasetError(f"{folder} has no images; expected {', '.join(IMAGE_SUFFIXES)}")
    matches = [_NAME.match(name) for name in names]
    unread = [name for name, match in zip(names, matches, strict=True) if match is None]
    if unread:
        raise DatasetError(
            f"{folder}: {len(unread)} of {len(names)} names do not read IDENTITY_cCAMERA..., the first is {unread[0]!r}"
        )
    facts = [match.groups() for match in matches if match]
    identities, cameras = np.array([[int(part) for part in each] for each in facts], dtype=np.int64).T
    labels = LabelNames(*({int(text): text for text in column} for column in zip(*facts, strict=True)))
    crops = Crops(root, tuple(f"{split}/{name}" for name in names), identities, cameras, labels)
    return number_person_zero(crops, crops) if split in (FOLDERS[0], VERI[0]) else crops


def read_market(root: Path) -> CropSplits:
    """The splits of a folder in Market-1501's layout."""
    query, gallery = read_split(root, "query"), read_split(root, "bounding_box_test")
    train = read_split(root, FOLDERS[0]) if any((root / name).is_dir() for name in (FOLDERS[0], VERI[0])) else None
    more = _of_the_queries(read_split(root, "gt_bbox"), query) if (root / "gt_bbox").is_dir() else None
    gallery, more = number_person_zero(gallery, query), more and number_person_zero(more, query)
    return CropSplits(train, number_person_zero(query, query), gallery, more)


def _of_the_queries(crops: Crops, query: Crops) -> Crops:
    """The crops of a person and camera that some query has; `gt_bbox` holds the training people too."""
    of_queries = set(zip(query.identities.tolist(), query.cameras.tolist(), strict=True))
    pairs = zip(crops.identities.tolist(), crops.cameras.tolist(), strict=True)
    return crops.where(np.array([pair in of_queries for pair in pairs]))
