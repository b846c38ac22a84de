"""PRW's layout: frames, a MATLAB file of boxes for each, `frame_test.mat` and a list of queries.

A row of `annotations/FRAME.jpg.mat` reads identity, left, top, width, height; identity -2 is a person without a
number. A line of `query_info.txt` has the same, then the frame's name. Every other test frame is a query's
gallery. Frames are named after their camera (`c3s1_...`), which the published protocol does not look at.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import DatasetError
from reid_runtime.scoring.labels import Mask
from reid_runtime.scoring.layouts import matlab
from reid_runtime.scoring.layouts.crops import check_present
from reid_runtime.scoring.layouts.text import read_text
from reid_runtime.scoring.person_search import Boxes, Coordinates, SearchSet, SearchTask

Table = npt.NDArray[np.float64]

_CAMERA = re.compile(r"c(\d+)")


def read_prw(root: Path) -> SearchSet:
    """The test split; each query's gallery is all test frames but its own."""
    listed = matlab.cells(matlab.load(root / "frame_test.mat").variable("img_index_test"))
    gallery = list(dict.fromkeys(f"frames/{name}.jpg" for name in listed))
    table, query_names = _read_queries(root / "query_info.txt")
    rows_by_frame = {frame: row for row, frame in enumerate(dict.fromkeys(gallery + query_names))}
    check_present(root, rows_by_frame, "frame_test.mat or query_info.txt")
    boxes = _read_boxes(root, gallery)
    query_frames = np.array([rows_by_frame[name] for name in query_names], dtype=np.int64)
    queries = Boxes(query_frames, _corners(table[:, 1:]), table[:, 0].astype(np.int64))
    tested = np.arange(len(rows_by_frame)) < len(gallery)
    tasks = tuple(
        _task(frame, identity, boxes, tested)
        for frame, identity in zip(queries.frames, queries.identities, strict=True)
    )
    cameras = np.array([_camera(frame) for frame in rows_by_frame])
    return SearchSet(root, tuple(rows_by_frame), len(gallery), cameras, boxes, queries, tasks)


def _task(frame: int, identity: int, boxes: Boxes, tested: Mask) -> SearchTask:
    answers = np.flatnonzero((boxes.identities == identity) & (boxes.frames != frame))
    # Answers are frames: a person who has two boxes in one frame is one answer there, with the first box.
    _, first = np.unique(boxes.frames[answers], return_index=True)
    gallery = tested.copy()
    gallery[frame] = False
    return SearchTask(gallery, boxes.frames[answers[first]], boxes.xyxy[answers[first]])


def _read_queries(path: Path) -> tuple[Table, list[str]]:
    """(Q, 5) identity, left, top, width and height, and Q frames."""
    rows, frames = [], []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            *facts, name = line.split()
            identity, left, top, width, height = map(float, facts)
        except ValueError as error:
            raise DatasetError(
                f"{path}: line {number} does not read IDENTITY X Y WIDTH HEIGHT FRAME: {line!r}"
            ) from error
        rows.append((identity, left, top, width, height))
        frames.append(f"frames/{name}.jpg")
    if not rows:
        raise DatasetError(f"{path} is empty")
    return np.array(rows, dtype=np.float64), frames


def _read_boxes(root: Path, gallery: list[str]) -> Boxes:
    frames, tables = [], []
    for row, frame in enumerate(gallery):
        file = matlab.load(root / "annotations" / f"{Path(frame).name}.mat")
        # The three names under which the release stores one and the same table.
        table = file.table(5, "box_new", "anno_file", "anno_previous")
        tables.append(table)
        frames.append(np.full(len(table), row, dtype=np.int64))
    boxes = np.concatenate(tables)
    identities = boxes[:, 0].astype(np.int64)
    # Some boxes begin left of the frame or above it. Public loaders move those inside before they add the width.
    inside = boxes[:, 1:].clip(min=0)
    return Boxes(np.concatenate(frames), _corners(inside), np.where(identities == -2, 0, identities))


def _corners(xywh: Table) -> Coordinates:
    """(N, 4) corners in whole pixels, as public loaders cut them: the scores that are compared with rest on theirs."""
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    pixels: Coordinates = np.trunc(corners).clip(min=0).astype(np.float32)
    return pixels


def _camera(frame: str) -> int:
    match = _CAMERA.match(Path(frame).name)
    if match is None:
        raise DatasetError(f"{frame!r} does not begin with its camera, as in c3s1_000151.jpg")
    return int(match[1])
