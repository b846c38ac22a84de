"""From what a user names (folders, files, lists, standard input) to pictures with stable, distinct ids.

A folder is searched recursively for .jpg, .jpeg, .png, .bmp and .webp, in any case, in the order of their
relative paths by code point, the same on every machine; names that begin with a dot are passed over, and so are
links to folders, which may lead in circles. A `.txt` file, or `-` for standard input, lists one path a line,
relative to the working directory. A picture named twice is embedded once. Ids are POSIX paths relative to the one
folder that was named, else to the deepest folder that holds everything named.
"""

import codecs
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.scoring.layouts.crops import PICTURE_SUFFIXES, is_picture


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
    links: int
    """Links to folders in the folders: not followed."""


def find_sources(named: Sequence[str], stdin: BinaryIO) -> Sources:
    """The pictures that the arguments name; raises SourceError for one that is not there, or when there are none."""
    found: list[Path] = []
    roots: list[Path] = []
    others = links = 0
    for name in named:
        path = Path(name)
        if name == "-":
            found.extend(listed := _listed(stdin, "standard input"))
            roots.extend(item.parent for item in listed)
        elif os.path.isdir(path):
            pictures, others_here, links_here = _search(path)
            found.extend(pictures)
            others, links = others + others_here, links + links_here
            roots.append(path)
        elif path.suffix.lower() == ".txt" and os.path.isfile(path):
            try:
                with open(path, "rb") as lines:
                    found.extend(listed := _listed(lines, name))
            except OSError as error:
                raise SourceError(f"{name}: the list cannot be read: {error.strerror}") from error
            roots.extend(item.parent for item in listed)
        elif os.path.isfile(path):
            found.append(path)
            roots.append(path.parent)
        else:
            raise SourceError(f"{name}: no such file or folder")
    if not found:
        raise SourceError(
            f"no pictures in {', '.join(named)}: expected names that end in {', '.join(sorted(PICTURE_SUFFIXES))}; "
            f"found {others} other files and {links} links to folders, which are not followed"
        )
    kept: dict[str, Path] = {}
    for path in found:
        kept.setdefault(os.path.abspath(path), path)
    root = os.path.commonpath([os.path.abspath(folder) for folder in roots])
    ids = tuple(_text(Path(os.path.relpath(path, root)).as_posix()) for path in kept)
    return Sources(tuple(kept.values()), ids, len(found) - len(kept), others, links)


def _search(folder: Path) -> tuple[list[Path], int, int]:
    """(pictures in order, other files, links to folders) below a folder; one that cannot be read is an error."""

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error

    pictures: list[tuple[str, Path]] = []
    others = links = 0
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += sum(os.path.islink(os.path.join(place, name)) for name in folders)
        for name in names:
            path = Path(place, name)
            if is_picture(path):
                pictures.append((path.relative_to(folder).as_posix(), path))
            else:
                others += 1
    return [path for _, path in sorted(pictures, key=lambda pair: pair[0])], others, links


def _listed(lines: BinaryIO, source: str) -> list[Path]:
    """The paths of a list; bytes, because the names of files need not be text in any encoding."""
    paths: list[Path] = []
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # Windows' editors put it there
        name = os.fsdecode(line.rstrip(b"\r\n"))
        if "\0" in name or (name and os.path.isdir(name)):
            raise SourceError(f"{source}, line {number}: expected the path of a picture, found {name!r}")
        if name:
            paths.append(Path(name))
    return paths


def _text(name: str) -> str:
    """A name that can be written as UTF-8: bytes that are not become visible escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
