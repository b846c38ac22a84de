"""CUHK-SYSU's layout: frames in Image/SSM, and MATLAB annotations of their boxes, people and protocols.

`annotation/Images.mat` has the boxes of every frame, `pool.mat` names the gallery's frames, and
`test/train_test/TestG<size>.mat` has 2,900 queries, each with its own gallery of that many frames; a gallery
frame that holds the query says where. Boxes are left, top, width, height there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.layouts import matlab
from reid_runtime.scoring.layouts.crops import check_present
from reid_runtime.scoring.person_search import Boxes, Coordinates, SearchSet, SearchTask

GALLERY_SIZES = (50, 100, 500, 1000, 2000, 4000)
FRAMES = "Image/SSM"


def read_cuhk_sysu(root: Path, gallery_size: int = 100) -> SearchSet:
    """The test split with galleries of this many frames; published scores use 100."""
    if gallery_size not in GALLERY_SIZES:
        raise DatasetError(f"CUHK-SYSU has galleries of {', '.join(map(str, GALLERY_SIZES))}, not {gallery_size}")
    name = f"TestG{gallery_size}"
    protocol = matlab.load(root / "annotation" / "test" / "train_test" / f"{name}.mat")
    searches = [_read_search(protocol, struct) for struct in matlab.cells(protocol.variable(name))]
    pool = [str(frame) for frame in matlab.cells(matlab.load(root / "annotation" / "pool.mat").variable("pool"))]
    rows = {frame: row for row, frame in enumerate(dict.fromkeys(pool + [search.frame for search in searches]))}
    frames = tuple(f"{FRAMES}/{frame}" for frame in rows)
    check_present(root, frames, "pool.mat")
    unknown = [frame for search in searches for frame in search.gallery if frame not in rows]
    if unknown:
        raise DatasetError(f"{protocol.path}: {len(unknown)} frames are not in pool.mat, the first is {unknown[0]!r}")
    queries = Boxes(
        np.array([rows[search.frame] for search in searches], dtype=np.int64),
        np.concatenate([search.xyxy for search in searches]),
        np.arange(1, len(searches) + 1),
    )
    boxes = _read_boxes(root, {frame: rows[frame] for frame in pool}, searches)
    tasks = tuple(_task(search, rows) for search in searches)
    cameras = np.zeros(len(frames), dtype=np.int64)
    return SearchSet(root, frames, len(set(pool)), cameras, boxes, queries, tasks)


@dataclass(frozen=True)
class _Search:
    """One query of the protocol, its frames by name."""

    frame: str
    xyxy: Coordinates
    """(1, 4)"""
    gallery: tuple[str, ...]
    answers: dict[str, Coordinates]
    """(1, 4) the person's box, for each frame of the gallery that has one."""


def _read_search(file: matlab.MatFile, struct: Any) -> _Search:
    query = file.field(struct, "Query")
    gallery, answers = [], {}
    for item in matlab.cells(file.field(struct, "Gallery")):
        frame, box = str(file.field(item, "imname")), _corners(file.field(item, "idlocate"))
        gallery.append(frame)
        if len(box):
            answers[frame] = box
    return _Search(str(file.field(query, "imname")), _corners(file.field(query, "idlocate")), tuple(gallery), answers)


def _task(search: _Search, rows: dict[str, int]) -> SearchTask:
    gallery = np.zeros(len(rows), dtype=np.bool_)
    gallery[[rows[frame] for frame in search.gallery]] = True
    answers = np.array([rows[frame] for frame in search.answers], dtype=np.int64)
    return SearchTask(gallery, answers, np.concatenate([np.zeros((0, 4), np.float32), *search.answers.values()]))


def _read_boxes(root: Path, rows: dict[str, int], searches: list[_Search]) -> Boxes:
    """The annotated boxes of the gallery's frames; those of a query's person have its number."""
    people = {
        (frame, *box.ravel().tolist()): number
        for number, search in enumerate(searches, 1)
        for frame, box in [(search.frame, search.xyxy), *search.answers.items()]
    }
    images = matlab.load(root / "annotation" / "Images.mat")
    frames, corners, identities = [], [], []
    for image in matlab.cells(images.variable("Img")):
        frame = str(images.field(image, "imname"))
        if frame not in rows:
            continue
        # The third field, by its number: public loaders agree on that and do not name it.
        for box in matlab.cells(images.field(image, 2)):
            for xyxy in _corners(images.field(box, "idlocate")):
                frames.append(rows[frame])
                corners.append(xyxy)
                identities.append(people.get((frame, *xyxy.tolist()), 0))
    if not frames:
        raise DatasetError(f"{images.path} has no boxes in the frames of pool.mat")
    return Boxes(np.array(frames, dtype=np.int64), np.array(corners), np.array(identities, dtype=np.int64))


def _corners(box: Any) -> Coordinates:
    """(1, 4) corners of left, top, width, height; (0, 4) where there is none, or none with an area."""
    xywh = np.asarray(box, dtype=np.float32).reshape(-1, 4)
    xywh = xywh[(xywh[:, 2:] > 0).all(axis=1)]
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
