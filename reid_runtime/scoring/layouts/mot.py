"""The MOT challenge's layout, of MOT17, DanceTrack and SportsMOT too: videos as frames, and everybody's box in each.

A sequence is a folder with `seqinfo.ini`, `gt/gt.txt` and the frames that `imDir` names. A line of `gt.txt` reads
frame, identity, left, top, width, height, considered (1 or 0) and, in nine columns, class (1: a pedestrian) and
visibility (0 to 1). An identity is a person of its sequence alone, and each sequence is a camera.
"""

import configparser
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.io.text import counted
from reid_runtime.scoring.labels import Integers, LabelNames, Mask
from reid_runtime.scoring.layouts.crops import Crops
from reid_runtime.scoring.layouts.text import read_text
from reid_runtime.scoring.person_search import Boxes, Coordinates, SearchSet
from reid_runtime.scoring.reassociation import tasks_of

LEAST_VISIBLE = 0.25
"""A box of which less is to be seen shows whoever stands before its person."""

_PEDESTRIAN = 1
_PUBLIC_DETECTIONS = re.compile(r"-(DPM|FRCNN|SDP)$")
"""MOT17 has each sequence three times, with the detections of three detectors; frames and truth are the same."""
_EACH = 1_000_000
"""Identities of one sequence are below this; scores number people over all sequences."""


@dataclass(frozen=True)
class MotSequence:
    """One video: N boxes in its frames, row i of every column belongs to box i, frame after frame."""

    folder: Path
    frames_a_second: int
    """To the nearest whole frame, at least one."""
    frames: Integers
    """(N,) frame numbers, from 1."""
    identities: Integers
    """(N,) from 1; people of this sequence."""
    xyxy: Coordinates
    """(N, 4) left, top, right, bottom in pixels; they may reach over the frame's edge."""
    hidden: int = 0
    """Boxes left out because less than LEAST_VISIBLE of their person is to be seen."""

    @cached_property
    def images(self) -> dict[int, Path]:
        """The image of each frame number; raises DatasetError where there are none."""
        folder = self.folder / _settings(self.folder).get("imDir", "img1")
        if not folder.is_dir():
            raise DatasetError(f"{folder}: expected a folder of frames named by their numbers, as 000001.jpg")
        return {int(path.stem): path for path in folder.iterdir() if is_image_name(path) and path.stem.isdecimal()}

    @property
    def each_second(self) -> Mask:
        """(N,) which boxes are in the first frame, or whole seconds later."""
        first: Mask = (self.frames - 1) % self.frames_a_second == 0
        return first


def find_sequences(root: Path, splits: Sequence[str] = ()) -> list[MotSequence]:
    """The sequences with ground truth that `root` is or holds, or that the first of its `splits` with any holds.

    Raises DatasetError where there are none.
    """
    folders = [root] if (root / "seqinfo.ini").is_file() else []
    for split in (*splits, ""):
        folders = folders or sorted(path.parent for path in (root / split).glob("*/seqinfo.ini"))
        folders = [folder for folder in folders if (folder / "gt" / "gt.txt").is_file()]
    if not folders:
        raise DatasetError(f"{root} has no sequence with its people in gt/gt.txt beside seqinfo.ini")
    once = {_PUBLIC_DETECTIONS.sub("", folder.name): folder for folder in reversed(folders)}
    return [read_sequence(folder) for folder in reversed(once.values())]


def read_sequence(folder: Path) -> MotSequence:
    """The people of one sequence, without those that its annotators say to ignore; raises DatasetError."""
    path = folder / "gt" / "gt.txt"
    rows, width = [], 0
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            values = [float(value) for value in line.split(",")]
        except ValueError:
            values = []
        if len(values) < 6 or values[0] < 1 or len(values) < width:
            raise DatasetError(f"{path}: line {number} does not read frame,identity,left,top,width,height: {line!r}")
        width = width or len(values)
        rows.append(values[:width])
    if not rows:
        raise DatasetError(f"{path} is empty")
    table = np.array(rows)
    kept = (table[:, 1] > 0) & (table[:, 4:6] > 0).all(axis=1)
    if width > 6:
        kept &= table[:, 6] != 0
    if width == 9:
        kept &= table[:, 7] == _PEDESTRIAN
    visible = table[:, 8] >= LEAST_VISIBLE if width == 9 else np.ones(len(table), np.bool_)
    hidden = int(np.count_nonzero(kept & ~visible))
    table = table[kept & visible]
    if not len(table):
        raise DatasetError(f"{path} has no box of a person")
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    corners = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1).astype(np.float32)
    frames, identities = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    return MotSequence(folder, _frames_a_second(folder), frames, identities, corners, hidden)


def read_mot(root: Path) -> SearchSet:
    """Re-association: each person of a second, looked for in single later seconds among everyone who is in view then.

    Of a folder with splits, `val` or else `test` or `train`: the first whose people are known.
    """
    crops, corners, seconds = _each_second(root.resolve(), ("val", "test", "train"))
    paths = [name.rpartition("#")[0] for name in crops.ids]
    frames = {path: row for row, path in enumerate(dict.fromkeys(paths))}
    rows = np.array([frames[path] for path in paths], dtype=np.int64)
    first = np.unique(rows, return_index=True)[1]
    cameras = crops.cameras[first]
    boxes = Boxes(rows, corners, crops.identities)
    queries, gaps, tasks = tasks_of(boxes, cameras, seconds[first])
    if not tasks:
        raise DatasetError(f"{root}: nobody is in view with others in two seconds; expected a longer video")
    asked = Boxes(rows[queries], boxes.xyxy[queries], crops.identities[queries])
    return SearchSet(
        crops.root, tuple(frames), len(frames), cameras, boxes, asked, tasks, gaps, crops.names, crops.notes
    )


def read_mot_crops(root: Path) -> Crops:
    """Everybody once a second, as boxes in frames; of a folder with splits, those of `train`. Raises DatasetError."""
    return _each_second(root.resolve(), ("train",))[0]


def _each_second(root: Path, splits: Sequence[str]) -> tuple[Crops, Coordinates, Integers]:
    """The boxes of a frame a second of all sequences, their corners once more, and the second of each."""
    sequences = find_sequences(root, splits)
    ids: list[str] = []
    columns = []
    people: dict[int, str] = {}
    for camera, each in enumerate(sequences, 1):
        kept = each.each_second
        frames, identities = each.frames[kept], each.identities[kept]
        absent = sorted({*frames.tolist()} - each.images.keys())
        if absent:
            raise DatasetError(
                f"{each.folder}: {len(absent)} of the frames that gt/gt.txt names are missing, the first is {absent[0]}"
            )
        names = {frame: each.images[frame].relative_to(root).as_posix() for frame in frames.tolist()}
        ids += [f"{names[frame]}#{person}" for frame, person in zip(frames.tolist(), identities.tolist(), strict=True)]
        people |= {number + camera * _EACH: f"{each.folder.name}/{number}" for number in identities.tolist()}
        seconds = (frames - 1) // each.frames_a_second
        columns.append((identities + camera * _EACH, np.full(len(frames), camera), each.xyxy[kept], seconds))
    numbers, cameras, corners, seconds = (np.concatenate(column) for column in zip(*columns, strict=True))
    names_of = LabelNames(people, {camera: each.folder.name for camera, each in enumerate(sequences, 1)})
    notes = [f"{counted(len(sequences), 'sequence')}, a frame a second; an identity is a person of its sequence alone"]
    hidden = sum(each.hidden for each in sequences)
    if hidden:
        notes.append(f"left out: {counted(hidden, 'box')} of which less than {LEAST_VISIBLE:.0%} is to be seen")
    return Crops(root, tuple(ids), numbers, cameras, names_of, tuple(notes), corners), corners, seconds


def _settings(folder: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    path = folder / "seqinfo.ini"
    try:
        parser.read_string(read_text(path))
        return parser["Sequence"]
    except (configparser.Error, KeyError) as error:
        raise DatasetError(f"{path}: expected a section [Sequence] of NAME=VALUE lines") from error


def _frames_a_second(folder: Path) -> int:
    stated = _settings(folder).get("frameRate", "")
    try:
        rate = float(stated)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1000:
        raise DatasetError(f"{folder / 'seqinfo.ini'}: expected frameRate, the frames a second, found {stated!r}")
    return max(1, round(rate))
