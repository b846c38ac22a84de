"""MSMT17's layout: four lists of `PATH IDENTITY`, their images under train and test (V1) or mask_*_v2 (V2).

A path reads `IDENTITY/IDENTITY_NUMBER_CAMERA_....jpg`. The lists count people from 0, which here means a
distractor; identities are therefore one higher than in the lists. The training split is list_train and list_val
together, as published.
"""

from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts.crops import Crops, CropSplits, check_present
from reid_runtime.scoring.layouts.text import read_text

_VERSIONS = (("mask_train_v2", "mask_test_v2"), ("train", "test"))


def read_msmt17(root: Path) -> CropSplits:
    """The splits of MSMT17, V1 or V2 by the folders that are there."""
    version = next((folders for folders in _VERSIONS if (root / folders[1]).is_dir()), None)
    if version is None:
        raise DatasetError(f"{root} has neither test (V1) nor mask_test_v2 (V2); MSMT17's layout has one of them")
    train_folder, test_folder = version
    train = None
    if (root / train_folder).is_dir():
        train = _read_lists(root, ("list_train.txt", "list_val.txt"), train_folder)
    query = _read_lists(root, ("list_query.txt",), test_folder)
    return CropSplits(train, query, _read_lists(root, ("list_gallery.txt",), test_folder))


def _read_lists(root: Path, names: tuple[str, ...], folder: str) -> Crops:
    ids: list[str] = []
    facts: list[tuple[int, int]] = []
    for name in names:
        for number, line in enumerate(read_text(root / name).splitlines(), 1):
            try:
                path, identity = line.split()
                facts.append((int(identity) + 1, int(path.rsplit("/", 1)[-1].split("_")[2])))
            except (ValueError, IndexError) as error:
                raise DatasetError(
                    f"{root / name}: line {number} does not read FOLDER/IDENTITY_NUMBER_CAMERA... IDENTITY: {line!r}"
                ) from error
            ids.append(f"{folder}/{path}")
    if not ids:
        raise DatasetError(f"{root / names[0]} is empty")
    check_present(root, ids, " and ".join(names))
    columns = np.array(facts, dtype=np.int64)
    return Crops(root, tuple(ids), columns[:, 0], columns[:, 1])
