"""From what a user names (folders, files, lists, standard input) to pictures with stable, distinct ids.

A folder is searched recursively for .jpg, .jpeg, .png, .bmp and .webp, in any case, in the order of their
relative paths by code point, the same on every machine; names that begin with a dot are passed over. A `.txt`
file, or `-` for standard input, lists one path a line. A picture named twice is embedded once. Ids are POSIX
paths relative to the one folder that was named, else to the deepest folder that holds everything named.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.scoring.layouts.crops import PICTURE_SUFFIXES


class SourceError(ReidRuntimeError):
    """A path that was named is not there, or names nothing."""


@dataclass(frozen=True)
class Sources:
    """N pictures to embed."""

    paths: tuple[Path, ...]
    ids: tuple[str, ...]
    """Distinct relative POSIX paths, one a picture."""
    repeated: int
    """How many more times pictures were named."""
    others: int
    """Files in the folders that are no pictures by their name."""


def find_sources(named: Sequence[str], stdin: TextIO) -> Sources:
    """The pictures that the arguments name; raises SourceError for one that is not there, or when there are none."""
    found: list[Path] = []
    roots: list[Path] = []
    others = 0
    for name in named:
        path = Path(name)
        if name == "-":
            found.extend(listed := list(_listed(stdin, "standard input")))
            roots.extend(item.parent for item in listed)
        elif path.is_dir():
            pictures, rest = _search(path)
            found.extend(pictures)
            others += rest
            roots.append(path)
        elif path.suffix.lower() == ".txt" and path.is_file():
            with open(path, encoding="utf-8", errors="surrogateescape") as lines:
                found.extend(listed := list(_listed(lines, name)))
            roots.extend(item.parent for item in listed)
        elif path.is_file():
            found.append(path)
            roots.append(path.parent)
        else:
            raise SourceError(f"{name}: no such file or folder")
    if not found:
        raise SourceError(
            f"no pictures in {', '.join(named)}: expected names that end in {', '.join(sorted(PICTURE_SUFFIXES))}; "
            f"found {others} other files"
        )
    absolute = [os.path.abspath(path) for path in found]
    kept = list(dict.fromkeys(absolute))
    root = os.path.commonpath([os.path.abspath(folder) for folder in roots])
    ids = tuple(_text(Path(os.path.relpath(path, root)).as_posix()) for path in kept)
    return Sources(tuple(map(Path, kept)), ids, len(absolute) - len(kept), others)


def _search(folder: Path) -> tuple[list[Path], int]:
    """(pictures in order, number of other files) below a folder; an unreadable folder is an error, not a gap."""

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error

    pictures: list[tuple[str, Path]] = []
    others = 0
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.startswith(".") or Path(name).suffix.lower() not in PICTURE_SUFFIXES:
                others += 1
            else:
                path = Path(place, name)
                pictures.append((path.relative_to(folder).as_posix(), path))
    return [path for _, path in sorted(pictures, key=lambda pair: pair[0])], others


def _listed(lines: Iterable[str], source: str) -> Iterator[Path]:
    for number, line in enumerate(lines, 1):
        name = line.rstrip("\r\n")
        if not name:
            continue
        if "\0" in name or Path(name).is_dir():
            raise SourceError(f"{source}, line {number}: expected the path of a picture, found {name!r}")
        yield Path(name)


def _text(name: str) -> str:
    """A name that can be written as UTF-8: bytes that are not become visible escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
