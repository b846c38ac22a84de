"""Who and which camera, by the folders and names that a user's own images lie in.

`identity/camera/image` or `identity/image`, below `query` and `gallery` (and `train`) where a folder has these; or by
a pattern of the user's, as `{identity}_{camera}` for names and `{camera}/{identity}/` for folders. Without a pattern
the names have to bear out the order of the folders: cameras that look like people are read the other way where both
names say so, and refused where they leave it open.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from reid_runtime.errors import DatasetError
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.io.text import counted

SPLITS = ("train", "query", "gallery")
ROLES = ("junk", "distractor", "unsure")
"""What a person's folder is called that holds nobody to find; `unsure` is what `cluster` cannot tell."""
NOBODY = (*ROLES, "-1")

_SPLIT_FOLDERS = (
    {name: name for name in SPLITS},
    {"occluded_body_images": "query", "whole_body_images": "gallery"},  # Occluded-REID, P-DukeMTMC-reID
)
_NO_PEOPLE = re.compile(
    "(?i)train|training|val|valid|validation|test|query|gallery|probe|images?|crops?|bounding_box_.*"
)
_CAMERA = re.compile("(?i)(cam|camera|view|cctv|channel)([ _-].+|[0-9]+)")
_PERSON = re.compile("(?i)(person|people|identity|subject|id|pid|p)[ _-]?[0-9]+")
_TRACKLET = re.compile("(?i)(tracklet|track|trk|tr|t|sequence|seq|clip)[ _-]?[0-9]+")
_IN_NAME = re.compile("(-?[0-9]+)_?[cC]([0-9]+)")
"""The beginning of names in the style of Market-1501, DukeMTMC and MARS."""
_HOW = "pass --names '{identity}/{camera}/' or '{camera}/{identity}/'"


@dataclass(frozen=True)
class Row:
    """An image and its labels, as the user wrote them."""

    id: str
    identity: str
    camera: str
    """Empty where none is stated."""
    split: str
    """One of SPLITS, or empty."""


def read_rows(root: Path, pattern: str | None = None) -> tuple[list[Row], tuple[str, ...]]:
    """The images below `root`, and in a sentence each what of their reading was not plain.

    Raises DatasetError for images that lie otherwise, or whose folders may mean two things.
    """
    folders = next((names for names in _SPLIT_FOLDERS if any((root / name).is_dir() for name in names)), {"": ""})
    rows: list[Row] = []
    for folder, split in folders.items():
        for path in sorted((root / folder).rglob("*")):
            inside = path.relative_to(root / folder)
            if is_image_name(path) and not any(part.startswith(".") for part in inside.parts) and path.is_file():
                rows.append(Row(path.relative_to(root).as_posix(), inside.as_posix(), "", split))
    if not rows:
        raise DatasetError(f"{root} has no images at identity/camera/image or identity/image, and no crops.csv")
    return (_by_pattern(root, rows, pattern), ()) if pattern else _by_folders(root, rows)


def compile_names(pattern: str) -> re.Pattern[str]:
    """The pattern as an expression with the groups `identity` and `camera`; DatasetError where it is none.

    A field ends before what follows it in the pattern; the last one, before the next `_`, `.` or `/`. `*` is anything.
    """
    pieces = re.split(r"(\{identity\}|\{camera\}|\*)", pattern)
    if pieces.count("{identity}") != 1 or pieces.count("{camera}") > 1 or any("{" in piece for piece in pieces[::2]):
        raise DatasetError(f"--names {pattern!r}: expected {{identity}} once and {{camera}} at most once")
    text = ""
    for index, piece in enumerate(pieces):
        if piece.startswith("{"):
            text += f"(?P<{piece[1:-1]}>[^/]+?)" if "".join(pieces[index + 1 :]) else f"(?P<{piece[1:-1]}>[^/_.]+)"
        else:
            text += ".*?" if piece == "*" else re.escape(piece)
    return re.compile(text)


def _by_pattern(root: Path, rows: list[Row], pattern: str) -> list[Row]:
    expression = compile_names(pattern)
    of_name = "/" not in pattern
    matches = [expression.match(PurePosixPath(row.identity).name if of_name else row.identity) for row in rows]
    unread = [row.id for row, match in zip(rows, matches, strict=True) if match is None]
    if unread:
        raise DatasetError(
            f"{root}: {len(unread)} of {len(rows)} images do not read {pattern!r}, the first is {unread[0]!r}"
        )
    fields = [match.groupdict() for match in matches if match]
    return [
        replace(row, identity=field["identity"], camera=field.get("camera", ""))
        for row, field in zip(rows, fields, strict=True)
    ]


def _by_folders(root: Path, rows: list[Row]) -> tuple[list[Row], tuple[str, ...]]:
    parts = [PurePosixPath(row.identity).parts for row in rows]
    depth = max((len(each) for each in parts if len(each) <= 3), default=0)
    wrong = [row.id for row, each in zip(rows, parts, strict=True) if len(each) != depth]
    stated = [_IN_NAME.match(each[-1]) for each in parts]
    in_names = [(match[1], match[2]) for match in stated if match]
    named = len(in_names) == len(rows)
    if wrong or (depth == 1 and not named):
        raise DatasetError(
            f"{root}: {len(wrong or rows)} of {len(rows)} images do not lie at identity/camera/image or "
            f"identity/image, the first is {(wrong or [rows[0].id])[0]!r}; pass --names '{{identity}}_{{camera}}'"
        )
    by_name = _labelled(rows, in_names) if named else []
    if depth == 1:
        return by_name, ("people and cameras are read from the images' names",)
    first, last = [each[0] for each in parts], [each[-2] for each in parts]
    _check_people(root, first)
    agrees = named and all(_same(name, identity) for name, (identity, _) in zip(first, in_names, strict=True))
    if depth == 2:
        if agrees:
            return by_name, ("cameras are read from the images' names",)
        if all(map(_CAMERA.fullmatch, first)):
            raise DatasetError(
                f"{root}: the folder {first[0]!r} names a camera, where a person is expected; pass --names "
                "'{camera}/{identity}_' if the images' names say who"
            )
        return _labelled(rows, [(name, "") for name in first]), ()
    if agrees and not _one_to_one(last, [camera for _, camera in in_names]):
        return by_name, ("cameras are read from the images' names; the folders above them are tracklets",)
    turned = named and not agrees and all(_same(name, person) for name, (person, _) in zip(last, in_names, strict=True))
    if turned or _looks_turned(first, last):
        note = f"folders are read as camera/identity, for {first[0]!r} is a camera; --names states another order"
        return _labelled(rows, list(zip(last, first, strict=True))), (note,)
    if not agrees and not all(map(_CAMERA.fullmatch, last)):
        _check_cameras(root, first, last)
    return _labelled(rows, list(zip(first, last, strict=True))), ()


def _labelled(rows: list[Row], labels: list[tuple[str, str]]) -> list[Row]:
    return [
        replace(row, identity=identity, camera=camera) for row, (identity, camera) in zip(rows, labels, strict=True)
    ]


def _same(one: str, other: str) -> bool:
    return one == other or (one.isdecimal() and other.isdecimal() and int(one) == int(other))


def _one_to_one(one: list[str], other: list[str]) -> bool:
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


def _looks_turned(first: list[str], last: list[str]) -> bool:
    """Whether both levels' names say that cameras lie above people: `cam1/0001` or `1/person_0001`."""
    return any(
        all(map(kind.fullmatch, high)) and not all(map(kind.fullmatch, low))
        for kind, high, low in ((_CAMERA, first, last), (_PERSON, last, first))
    )


def _check_people(root: Path, people: list[str]) -> None:
    """Raises DatasetError for folders of splits in the place of people."""
    odd = sorted(filter(_NO_PEOPLE.fullmatch, set(people)))
    if odd:
        raise DatasetError(
            f"{root}: the folder {odd[0]!r} lies where a person is expected; call splits train, query and gallery, "
            "or pass --names '*/{identity}/'"
        )


def _check_cameras(root: Path, first: list[str], last: list[str]) -> None:
    """Raises DatasetError where the folders of cameras look like tracklets or like people."""
    under = defaultdict(set)
    for person, camera in zip(first, last, strict=True):
        if person not in NOBODY:
            under[camera].add(person)
    people, cameras = set().union(*under.values()), sorted(under)
    if len(people) < 2:
        return
    several = sum(sum(person in seen for seen in under.values()) > 1 for person in people)
    if all(map(_TRACKLET.fullmatch, cameras)) or (several > 1 and all(len(seen) == 1 for seen in under.values())):
        raise DatasetError(
            f"{root}: folders such as {cameras[0]!r} look like tracklets of one person, not like cameras; {_HOW}, or "
            "'{identity}/' where no camera is known"
        )
    numbered = all(map(str.isdecimal, (*people, *cameras)))
    padded = numbered and max(map(len, people)) < min(map(len, cameras)) and any(name[0] == "0" for name in cameras)
    if padded or len(cameras) >= max(6, 3 * len(people)):
        raise DatasetError(
            f"{root}: {counted(len(people), 'person')} under {counted(len(cameras), 'camera')} such as {cameras[0]!r} "
            f"look like cameras and people the other way round; {_HOW}"
        )
