"""CUHK03 under its new protocol (767 people to train, 700 to test), with detected or labelled boxes.

Two copies are in circulation: one in Market-1501's layout, in the folders `detected` and `labeled`; and one as
loaders extract it, the images in `images_detected` and `images_labeled` and the protocol in
`cuhk03_new_protocol_config_{detected,labeled}.mat`, whose indices count from 1.
"""

from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.layouts import matlab
from reid_runtime.scoring.layouts.crops import Crops, CropSplits, check_present
from reid_runtime.scoring.layouts.market1501 import read_market


def read_detected(root: Path) -> CropSplits:
    """The splits whose boxes a detector drew."""
    return _read(root, "detected")


def read_labelled(root: Path) -> CropSplits:
    """The splits whose boxes people drew."""
    return _read(root, "labeled")


def _read(root: Path, boxes: str) -> CropSplits:
    if (root / boxes).is_dir():
        return read_market(root / boxes)
    folder, path = f"images_{boxes}", root / f"cuhk03_new_protocol_config_{boxes}.mat"
    if not path.is_file():
        raise DatasetError(f"{root} has neither the folder {boxes!r} nor {path.name} with {folder!r}")
    protocol = matlab.load(path)
    names = np.array([str(name) for name in matlab.cells(protocol.variable("filelist"))])
    identities = np.atleast_1d(protocol.variable("labels")).astype(np.int64)
    if len(names) != len(identities):
        raise DatasetError(f"{path} has {len(names)} files and {len(identities)} labels; expected as many")

    def split(variable: str) -> Crops:
        chosen: Integers = np.atleast_1d(protocol.variable(variable)).astype(np.int64) - 1
        wrong = chosen[(chosen < 0) | (chosen >= len(names))]
        if wrong.size:
            raise DatasetError(f"{path}: {variable} points to row {wrong[0] + 1} of {len(names)}")
        ids = tuple(f"{folder}/{name}" for name in names[chosen])
        check_present(root, ids, path.name)
        return Crops(root, ids, identities[chosen], np.array([_camera(name) for name in names[chosen]]))

    return CropSplits(split("train_idx"), split("query_idx"), split("gallery_idx"))


def _camera(name: str) -> int:
    """The view in `PAIR_PERSON_VIEW_NUMBER.png`."""
    try:
        return int(name.split("_")[2])
    except (IndexError, ValueError) as error:
        raise DatasetError(f"{name!r} does not read PAIR_PERSON_VIEW_NUMBER") from error
