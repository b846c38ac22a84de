"""Files of boxes, as detectors and trackers write them: MOT text, COCO JSON, CSV with names, supervision's sinks."""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.jobs.video.boxes import Boxes, BoxesError

FORMATS = "MOT text, COCO JSON, CSV with a line of names, or supervision's CSV or JSON"

_FRAMES = ("frame", "frame_number", "frame_index", "frame_idx", "frame_id")
_TRACKS = ("track", "track_id", "tracker_id", "id", "object_id", "identity")
_SCORES = ("score", "confidence", "conf")
_CLASSES = ("class_name", "category_name", "category", "label", "class")
_CORNERS = (("x1", "y1", "x2", "y2"), ("x_min", "y_min", "x_max", "y_max"), ("xmin", "ymin", "xmax", "ymax"),
            ("left", "top", "right", "bottom"))  # fmt: skip
_SIDES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"),
          ("bb_left", "bb_top", "bb_width", "bb_height"))  # fmt: skip
_PEOPLE = ("person", "pedestrian", "people", "human")
_MOT_TRUTH = 9
"""Columns of the MOT challenge's ground truth, where the seventh is 0 for boxes that do not count."""

Row = Mapping[str, Any]


def read_boxes(path: str | os.PathLike[str]) -> Boxes:
    """Read the boxes of a video; what the file holds, and not its name, says in which format.

    MOT text has lines `frame,id,left,top,width,height,...`; of its ground truth (nine columns) boxes with the flag 0
    are left out. A CSV with a line of names has `frame`, `x1, y1, x2, y2` or `x, y, w, h`, and may have `track` and
    `score`; common other names are understood, as are those of supervision's CSVSink and JSONSink, which need the
    frame's number as `custom_data={"frame": number}`. In COCO JSON a frame is an image's `frame_id`, or the number at
    the end of its file's name, or its id. Where classes have names, only people are taken.

    Args:
        path: The file.

    Returns:
        The boxes, with frames numbered as in the file.

    Raises:
        BoxesError: For a file that cannot be read, by its line.
    """
    name = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BoxesError(f"{name}: the boxes cannot be read: {error}; expected {FORMATS}") from error
    if text.lstrip()[:1] in ("[", "{"):
        return _from_json(name, text)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    if not lines:
        raise BoxesError(f"{name}: it is empty; expected {FORMATS}")
    first = lines[0][1]
    delimiter = max(",;\t", key=first.count)
    is_spaced = first.count(delimiter) == 0
    cells = [line.split() if is_spaced else [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
             for _, line in lines]  # fmt: skip
    if not re.search(r"[A-Za-z]", first):
        return _collected(name, (_mot(name, number, row) for (number, _), row in zip(lines, cells, strict=True)))
    names = [cell.lower() for cell in cells[0]]
    wrong = next((place for place, row in enumerate(cells) if len(row) != len(names)), None)
    if wrong is not None:
        raise BoxesError(
            f"{name}, line {lines[wrong][0]}: expected {len(names)} values, as many as names, found {len(cells[wrong])}"
        )
    rows = [dict(zip(names, row, strict=True)) for row in cells[1:]]
    return _named(name, rows, [f"line {number}" for number, _ in lines[1:]])


Record = tuple[int, str, tuple[float, float, float, float], float, str]
"""Frame, track, corners, score, and why it is left out, empty where it is not."""


def _collected(name: str, records: Iterable[Record]) -> Boxes:
    left_out: Counter[str] = Counter()
    kept: list[Record] = []
    for record in records:
        if record[4]:
            left_out[record[4]] += 1
        else:
            kept.append(record)
    corners = np.array([record[2] for record in kept], np.float64).reshape(-1, 4)
    if len(kept) and np.nanmax(np.abs(np.nan_to_num(corners, posinf=0, neginf=0))) <= 1:
        raise BoxesError(f"{name}: all edges are from 0 to 1: expected boxes in pixels; multiply by the frame's sides")
    frames, tracks, scores = ([record[column] for record in kept] for column in (0, 1, 3))
    return Boxes.of(name, frames, corners, np.array(tracks, np.str_), scores, left_out)


def _mot(name: str, number: int, cells: Sequence[str]) -> Record:
    where = f"{name}, line {number}"
    if len(cells) < 6:
        raise BoxesError(f"{where}: expected frame,id,left,top,width,height,... of MOT text, found {','.join(cells)!r}")
    is_truth = len(cells) == _MOT_TRUTH
    score = _number(where, "score", cells[6]) if len(cells) > 6 else np.nan
    track = _track(cells[1])
    left_out = "with the flag 0" if is_truth and score == 0 else ""
    corners = _from_sides([_number(where, "box", cell) for cell in cells[2:6]])
    return _whole(where, cells[0]), track, corners, np.nan if is_truth else score, left_out


def _named(name: str, rows: Sequence[Row], places: Sequence[str]) -> Boxes:
    """Of rows by names, as of a CSV or supervision's JSON."""
    names = {key for row in rows[:1] for key in row}
    frame = _first(name, names, _FRAMES, "the number of its frame")
    track, score = (next((key for key in keys if key in names), None) for keys in (_TRACKS, _SCORES))
    label = next((key for key in _CLASSES if key in names), None)
    edges = next((keys for keys in (*_CORNERS, *_SIDES) if names >= {*keys}), None)
    if edges is None:
        raise BoxesError(f"{name}: expected columns x1, y1, x2, y2 or x, y, w, h, found {', '.join(sorted(names))}")
    labels = [str(row.get(label, "")).lower() if label else "" for row in rows]
    others = {*labels} - {"", *_PEOPLE} if {*labels} & {*_PEOPLE} else set[str]()

    def records() -> Iterator[Record]:
        for row, place, kind in zip(rows, places, labels, strict=True):
            where = f"{name}, {place}"
            values = [_number(where, key, row.get(key)) for key in edges]
            corners = _from_sides(values) if edges in _SIDES else (values[0], values[1], values[2], values[3])
            points = _number(where, "score", row[score]) if score and row.get(score) not in (None, "") else np.nan
            yield (
                _whole(where, row.get(frame)), _track(row.get(track)) if track else "", corners, points,
                "of other classes than people" if kind in others else "",
            )  # fmt: skip

    return _collected(name, records())


def _first(name: str, names: set[str], keys: Sequence[str], what: str) -> str:
    first = next((key for key in keys if key in names), None)
    if first is None:
        raise BoxesError(
            f"{name}: no column says {what}: expected {' or '.join(keys)}, found {', '.join(sorted(names))}; "
            'supervision\'s sinks take it as custom_data={"frame": number}'
        )
    return first


def _from_json(name: str, text: str) -> Boxes:
    try:
        content = json.loads(text)
        if isinstance(content, dict):
            return _coco(name, content["images"], content["annotations"], content.get("categories", []))
        if content and "bbox" in content[0]:
            return _coco(name, [], content, [])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise BoxesError(
            f"{name}: {reason}; expected COCO JSON with images and annotations, a list of COCO "
            "results, or supervision's JSON"
        ) from error
    return _named(name, content, [f"box {number}" for number in range(1, len(content) + 1)])


def _coco(name: str, images: Sequence[Row], annotations: Sequence[Row], categories: Sequence[Row]) -> Boxes:
    videos = {image["video_id"] for image in images if "video_id" in image}
    if len(videos) > 1:
        raise BoxesError(f"{name}: it has the boxes of {len(videos)} videos: expected those of one")
    frames = {image["id"]: _frame_of_image(name, image) for image in images}
    people = {item["id"] for item in categories if str(item.get("name", "")).lower() in _PEOPLE}

    def records() -> Iterator[Record]:
        for number, item in enumerate(annotations, 1):
            where = f"{name}, annotation {number}"
            image = item["image_id"]
            if images and image not in frames:
                raise BoxesError(f"{where}: its image {image!r} is not among the images")
            frame = frames[image] if images else _frame_of_image(name, {"id": image, "file_name": str(image)})
            track = item.get("track_id", item.get("instance_id", item.get("attributes", {}).get("track_id")))
            left_out = "of crowds" if item.get("iscrowd") else ""
            if people and item.get("category_id") not in people:
                left_out = "of other classes than people"
            sides = [_number(where, "bbox", value) for value in item["bbox"]]
            if len(sides) != 4:
                raise BoxesError(f"{where}: expected bbox of 4 numbers, x, y, width and height, found {item['bbox']}")
            yield frame, _track(track), _from_sides(sides), float(item.get("score", np.nan)), left_out

    return _collected(name, records())


def _frame_of_image(name: str, image: Row) -> int:
    number = next((image[key] for key in _FRAMES if key in image), None)
    if number is None:
        digits = re.findall(r"\d+", Path(str(image.get("file_name", ""))).stem)
        number = digits[-1] if digits else image["id"]
    return _whole(f"{name}, image {image['id']}", number)


def _from_sides(values: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, width, height = values
    return left, top, left + width, top + height


def _track(value: Any) -> str:
    """The track as text; empty for none, which MOT text says by a negative number."""
    text = "" if value is None else str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    if number < 0 or number != number:
        return ""
    return str(int(number)) if number == int(number) else text


def _number(where: str, what: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BoxesError(f"{where}: expected a number for {what}, found {value!r}") from None


def _whole(where: str, value: Any) -> int:
    number = _number(where, "the frame", value)
    if number != number or abs(number) == float("inf") or number != int(number):
        raise BoxesError(f"{where}: expected a whole number for the frame, found {value!r}")
    return int(number)
