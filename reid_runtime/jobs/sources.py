"""From what a user names (folders, files, lists, standard input, URLs) to pictures with stable, distinct ids.

A folder is searched recursively for .jpg, .jpeg, .png, .bmp and .webp, in any case, in the order of their
relative paths by code point, the same on every machine; names that begin with a dot are passed over, and so are
links to folders, which may lead in circles. A `.txt` file, or `-` for standard input, lists one path a line,
relative to the working directory. A picture named twice is embedded once. Ids are POSIX paths relative to the one
folder that was named, else to the deepest folder that holds everything named.
"""

import codecs
import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.decode import RemoteImage
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.io.remote import is_url, open_remote
from reid_runtime.scoring.layouts.crops import PICTURE_SUFFIXES

_FETCHED = 16
"""Files of a store that are asked for at once: each answer takes its time, and none of the processor's."""


class SourceError(ReidRuntimeError):
    """A path that was named is not there, or names nothing."""


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count` parts of a set of pictures, which are disjoint and together the whole."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise SourceError(f"expected a shard i/n with 1 <= i <= n, found {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that `i/n` names; raises SourceError."""
        number, slash, count = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise SourceError(f"expected a shard i/n, as 1/4 to 4/4, found {text!r}")
        return cls(int(number), int(count))

    def holds(self, name: str) -> bool:
        """Whether the picture with this id is in this part: by the id alone, the same on every machine.

        The first 8 bytes of the id's SHA-256, as a big-endian number, modulo `count`, are `number` - 1.
        """
        start = hashlib.sha256(name.encode()).digest()[:8]
        return int.from_bytes(start, "big") % self.count == self.number - 1


@dataclass(frozen=True)
class Sources:
    """N pictures to embed."""

    paths: tuple[str, ...]
    """Where they are: on this machine, or in `store`."""
    ids: tuple[str, ...]
    """Distinct relative POSIX paths, one a picture."""
    repeated: int = 0
    """How many more times pictures were named."""
    others: int = 0
    """Files in the folders that are no pictures by their name."""
    links: int = 0
    """Links to folders in the folders: not followed."""
    store: Any = None
    """The fsspec file system that holds them all, None where they are on this machine."""
    marks: tuple[str, ...] = ()
    """What a store says of each file's content: size and tag, or time."""

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, shard: Shard) -> "Sources":
        """The pictures of one shard, in the same order; none of them is no error."""
        if shard.count == 1:
            return self
        kept = [row for row, name in enumerate(self.ids) if shard.holds(name)]
        return replace(
            self,
            paths=tuple(self.paths[row] for row in kept),
            ids=tuple(self.ids[row] for row in kept),
            marks=tuple(self.marks[row] for row in kept) if self.marks else (),
        )

    def images(self, rows: Iterable[int]) -> Iterator[str | RemoteImage]:
        """What `Embedder.stream` takes, for these rows: paths, or the files that a store holds, a few fetched ahead."""
        paths = (self.paths[row] for row in rows)
        return (
            paths if self.store is None else parallel_map(self._fetch, paths, threads=_FETCHED, prefetch=4 * _FETCHED)
        )

    def _fetch(self, path: str) -> RemoteImage:
        url = str(self.store.unstrip_protocol(path))
        try:
            return RemoteImage(url, self.store.cat_file(path))
        except Exception as error:  # every store has errors of its own
            return RemoteImage(url, None, str(error) or type(error).__name__)

    def digest(self, rows: range) -> str:
        """SHA-256 over the rows' ids and what can be known of their content without reading it: size and time."""
        digest = hashlib.sha256()
        for row in rows:
            mark = self.marks[row] if self.marks else _mark(self.paths[row])
            digest.update(f"{self.ids[row]}\0{mark}\n".encode())
        return f"sha256:{digest.hexdigest()}"


def _mark(path: str) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return "absent"
    return f"{found.st_size} {found.st_mtime_ns}"


def find_sources(named: Sequence[str], stdin: BinaryIO) -> Sources:
    """The pictures that the arguments name; raises SourceError for one that is not there, or when there are none."""
    urls = [name for name in named if is_url(name)]
    if urls and len(urls) < len(named):
        raise SourceError(f"{urls[0]} is in a store and others are on this machine: name one kind at a time")
    found = _in_stores(urls) if urls else _on_disk(named, stdin)
    if not found.ids:
        raise SourceError(
            f"no pictures in {', '.join(named)}: expected names that end in {', '.join(sorted(PICTURE_SUFFIXES))}; "
            f"found {found.others} other files and {found.links} links to folders, which are not followed"
        )
    return found


def _on_disk(named: Sequence[str], stdin: BinaryIO) -> Sources:
    if len(named) == 1 and named[0] != "-" and os.path.isdir(named[0]):
        # Nothing can be named twice here, and the order of the search is that of the ids.
        names, others, links = _search(named[0])
        return Sources(tuple(os.path.join(named[0], name) for name in names), _texts(names), 0, others, links)
    found: list[str] = []
    roots: list[str] = []
    others = links = 0
    for name in named:
        if name == "-":
            found += (listed := _listed(stdin, "standard input"))
            roots += map(os.path.dirname, listed)
        elif os.path.isdir(name):
            names, others_here, links_here = _search(name)
            found += (os.path.join(name, inside) for inside in names)
            others, links = others + others_here, links + links_here
            roots.append(name)
        elif name.lower().endswith(".txt") and os.path.isfile(name):
            try:
                with open(name, "rb") as lines:
                    found += (listed := _listed(lines, name))
            except OSError as error:
                raise SourceError(f"{name}: the list cannot be read: {error.strerror}") from error
            roots += map(os.path.dirname, listed)
        elif os.path.isfile(name):
            found.append(name)
            roots.append(os.path.dirname(name))
        else:
            raise SourceError(f"{name}: no such file or folder")
    kept: dict[str, str] = {}
    for path in found:
        kept.setdefault(os.path.abspath(path), path)
    root = os.path.commonpath(set(map(os.path.abspath, roots))) if kept else ""
    ids = _texts([os.path.relpath(path, root).replace(os.sep, "/") for path in kept])
    return Sources(tuple(kept.values()), ids, len(found) - len(kept), others, links)


def _search(folder: str) -> tuple[list[str], int, int]:
    """(relative POSIX paths of pictures in order, other files, links to folders) below a folder.

    One folder at a time is sorted, with a slash behind the names of folders: that is the order of whole paths.
    """
    others = links = 0

    def inside(prefix: str) -> Iterator[str]:
        nonlocal others, links
        names = []
        try:
            with os.scandir(os.path.join(folder, prefix.removesuffix("/"))) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        if entry.name.startswith("."):
                            continue
                        if entry.is_symlink():
                            links += 1
                        else:
                            names.append(f"{prefix}{entry.name}/")
                    elif _is_picture(entry.name):
                        names.append(prefix + entry.name)
                    else:
                        others += 1
        except OSError as error:  # a folder that cannot be read must not be a gap
            raise SourceError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error
        return iter(sorted(names))

    pictures = []
    open_folders = [inside("")]
    while open_folders:
        name = next(open_folders[-1], None)
        if name is None:
            open_folders.pop()
        elif name.endswith("/"):
            open_folders.append(inside(name))
        else:
            pictures.append(name)
    return pictures, others, links


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES and not name.startswith(".")


def _in_stores(urls: Sequence[str]) -> Sources:
    found: dict[str, str] = {}
    roots: list[str] = []
    named = others = 0
    store, first = None, urls[0]
    for url in urls:
        here, place = open_remote(url)
        if store is not None and here != store:
            raise SourceError(f"{first} and {url} are in two stores: name one at a time")
        store = here
        try:
            files: dict[str, dict[str, Any]] = store.find(place, detail=True)
        except Exception as error:  # every store has errors of its own
            raise SourceError(f"{url}: the store cannot be listed: {error}") from error
        if not files:
            raise SourceError(f"{url}: no such file or folder")
        alone = list(files) == [place]
        roots.append(posixpath.dirname(place) if alone else place)
        for path in sorted(files):
            inside = path.removeprefix(place).lstrip("/").split("/")
            if alone or (_is_picture(inside[-1]) and not any(name.startswith(".") for name in inside)):
                named += 1
                found[path] = _mark_of(files[path])
            else:
                others += 1
    root = posixpath.commonpath(roots)
    ids = _texts([posixpath.relpath(path, root) for path in found])
    return Sources(tuple(found), ids, named - len(found), others, 0, store, tuple(found.values()))


def _mark_of(facts: dict[str, Any]) -> str:
    known = (facts[name] for name in ("ETag", "etag", "LastModified", "mtime", "created") if facts.get(name))
    return f"{facts.get('size')} {next(known, '')}"


def _listed(lines: BinaryIO, source: str) -> list[str]:
    """The paths of a list; bytes, because the names of files need not be text in any encoding."""
    paths: list[str] = []
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # Windows' editors put it there
        name = os.fsdecode(line.rstrip(b"\r\n"))
        if "\0" in name or (name and (os.path.isdir(name) or is_url(name))):
            raise SourceError(f"{source}, line {number}: expected the path of a picture, found {name!r}")
        if name:
            paths.append(name)
    return paths


def _texts(names: Sequence[str]) -> tuple[str, ...]:
    """Names that can be written as UTF-8: bytes that are not become visible escapes.

    Raises SourceError where one then has the name of another, which spells those escapes out.
    """
    texts = tuple(name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace") for name in names)
    if texts != tuple(names) and len(set(texts)) < len(texts):
        twice = next(text for text, count in Counter(texts).items() if count > 1)
        raise SourceError(f"two files have the id {twice!r}, for one's name is not UTF-8: rename one of them")
    return texts
