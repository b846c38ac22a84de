"""From what a user names (folders, files, lists, standard input, URLs) to images with stable, distinct ids.

A folder is searched recursively for images, by their suffix in any case, in the order of their relative paths by
code point, the same on every machine; names that begin with a dot are skipped, and so are links to folders, which may
lead in circles. A `.txt` file, or `-` for standard input, lists one path a line, relative to the working directory, or
to the list's own folder where the first of them is there alone; lines that begin with `#` are comments. An image named
twice is embedded once.

Ids are what the user gave: of one folder the POSIX paths inside it, else the path as it was named or listed, of a
folder among others its name and the path inside. A root makes all of them relative to itself.
"""

import codecs
import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy.typing as npt

from reid_runtime.errors import OptionsError, ReidRuntimeError
from reid_runtime.images.decode import RemoteImage
from reid_runtime.images.suffixes import IMAGE_SUFFIXES, is_image_name
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.io.remote import is_url, open_remote
from reid_runtime.io.text import counted
from reid_runtime.jobs.shard import Shard

if TYPE_CHECKING:
    from reid_runtime.embedder import Embedder, Result

_REQUESTS = 16
"""Remote files that are requested at once: each answer takes its time, and none of the processor's."""


_KINDS = 8
"""Kinds of skipped files that a message names; the rest are counted together."""


class SourceError(ReidRuntimeError):
    """A path that was named is not there, or names nothing."""


class MissingSourceError(SourceError, OptionsError):
    """A path that was named is not there."""


@dataclass(frozen=True)
class Sources:
    """N images to embed."""

    paths: tuple[str, ...]
    """Where they are: on this machine, or in `filesystem`."""
    ids: tuple[str, ...]
    """Distinct, one an image, as the user gave them."""
    duplicates: int = 0
    """How many more times images were named."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """How many files in the folders are not images by their names: by suffix, or `hidden`, or `without a suffix`."""
    skipped_links: int = 0
    """Links to folders in the folders: not followed."""
    filesystem: Any = None
    """fsspec's, which holds all of them; None where they are on this machine."""
    fingerprints: tuple[str, ...] = ()
    """What a remote file system says of each file's content: size and tag, or time."""

    @property
    def notes(self) -> list[str]:
        """What was named and is not among them."""
        return passed_over(self.duplicates, self.skipped, self.skipped_links)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def skipped_files(self) -> int:
        """How many of all suffixes."""
        return sum(self.skipped.values())

    def of(self, shard: Shard) -> "Sources":
        """The images of one shard, in the same order; none of them is no error."""
        if shard.count == 1:
            return self
        return self.take([index for index, name in enumerate(self.ids) if shard.holds(name)])

    def take(self, kept: Sequence[int]) -> "Sources":
        """These images, in this order."""
        columns: dict[str, Any] = {
            name: tuple(values[index] for index in kept) if (values := getattr(self, name)) else ()
            for name in ("paths", "ids", "fingerprints")
        }
        return replace(self, **columns)

    def images(self, indices: Iterable[int]) -> Iterator[str | RemoteImage]:
        """What `Embedder.stream` takes, for these images: paths, or remote files, a few fetched in advance."""
        paths = (self.paths[index] for index in indices)
        if self.filesystem is None:
            return paths
        return parallel_map(self._fetch, paths, threads=_REQUESTS, prefetch=4 * _REQUESTS)

    def results(self, embedder: "Embedder", indices: Sequence[int]) -> "Iterator[Result]":
        """One for each of these images, in order."""
        return embedder.stream(self.images(indices), low_latency=False)

    def columns(self, indices: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """None: of a file, only its id is known."""
        return {}

    def _fetch(self, path: str) -> RemoteImage:
        url = str(self.filesystem.unstrip_protocol(path))
        try:
            return RemoteImage(url, self.filesystem.cat_file(path))
        except Exception as error:  # every file system has errors of its own
            return RemoteImage(url, None, str(error) or type(error).__name__)

    def digest(self, indices: range) -> str:
        """SHA-256 over the images' ids and what can be known of their content without reading it: size and time."""
        digest = hashlib.sha256()
        for index in indices:
            fingerprint = self.fingerprints[index] if self.fingerprints else _fingerprint(self.paths[index])
            digest.update(f"{self.ids[index]}\0{fingerprint}\n".encode())
        return f"sha256:{digest.hexdigest()}"


def _fingerprint(path: str) -> str:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """`2 .tif, 1 .gif`: the most frequent first."""
    most = Counter(skipped).most_common(_KINDS)
    rest = sum(skipped.values()) - sum(count for _, count in most)
    return ", ".join([*(f"{count} {kind}" for kind, count in most), *([f"{rest} more"] if rest else [])])


def passed_over(duplicates: int, skipped: Mapping[str, int], skipped_links: int) -> list[str]:
    """What was named, or lay in the folders, and is not embedded, or not again; a line for each kind."""
    lines = []
    if duplicates:
        lines.append(f"named more than once, embedded once: {duplicates:,}")
    if skipped:
        lines.append(f"passed over, not images by their names: {describe_skipped(skipped)}")
    if skipped_links:
        lines.append(f"skipped, links to folders: {skipped_links:,}; name such a folder to embed it")
    return lines


def find_sources(
    names: Sequence[str], stdin: BinaryIO | None = None, *, root: str | None = None, nul: bool = False
) -> Sources:
    """Find the images that paths and URLs name.

    Args:
        names: Folders, image files, patterns (`crops/*.jpg`, `**` for any depth), `.txt` lists of paths, `-` for such a
            list on `stdin`; or URLs alone.
        stdin: What `-` reads; None for nothing.
        root: A folder, or URL, that all images are in: ids are paths relative to it.
        nul: Whether the paths of lists end with NUL, as of `find -print0`, and not with the line.

    Returns:
        The images, at least one, in the order of the names; those of a folder in the order of their paths.

    Raises:
        SourceError: For a name that is not there, or when there are no images.
        StorageError: For a URL that cannot be reached.
    """
    urls = [name for name in names if is_url(name)]
    if urls and len(urls) < len(names):
        raise SourceError(f"{urls[0]} is remote and others are on this machine: name one kind at a time")
    sources = _remote(urls, root) if urls else _local(names, stdin, root, nul)
    if not sources.ids:
        others = f" ({describe_skipped(sources.skipped)})" if sources.skipped else ""
        raise SourceError(
            f"no images in {', '.join(names)}: found {counted(sources.skipped_files, 'other file')}{others} and "
            f"{counted(sources.skipped_links, 'link to a folder', 'links to folders')}, not followed; expected names "
            f"that end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return sources


def check_named(names: Sequence[str]) -> None:
    """Find out, before anything is searched, whether what is named is there; raises MissingSourceError."""
    for name in names:
        for each in () if name == "-" or is_url(name) else _matching(name):
            if not os.path.exists(each):
                raise _missing(each)


def _local(names: Sequence[str], stdin: BinaryIO | None, root: str | None, nul: bool) -> Sources:
    names = [each for name in names for each in _matching(name)]
    skipped: Counter[str] = Counter()
    if len(names) == 1 and names[0] != "-" and os.path.isdir(names[0]) and root is None:
        # Nothing can be named twice here, and the order of the search is that of the ids.
        inside, links = _search(names[0], skipped)
        return Sources(tuple(os.path.join(names[0], name) for name in inside), utf8_ids(inside), 0, skipped, links)
    paths: list[str] = []
    skipped_links = 0
    for name in names:
        if name == "-":
            paths += [] if stdin is None else read_list(stdin, "standard input", nul)
        elif os.path.isdir(name):
            inside, links = _search(name, skipped)
            paths += (os.path.join(name, image) for image in inside)
            skipped_links += links
        elif name.lower().endswith(".txt") and os.path.isfile(name):
            try:
                with open(name, "rb") as lines:
                    paths += _beside(name, read_list(lines, name, nul))
            except OSError as error:
                raise SourceError(f"{name}: the list cannot be read: {error.strerror}") from error
        elif os.path.isfile(name):
            paths.append(name)
        else:
            raise _missing(name)
    kept: dict[str, str] = {}
    for path in paths:
        kept.setdefault(os.path.abspath(path), path)
    given = [*kept.values()] if root is None else [_below(path, os.path.abspath(root)) for path in kept]
    ids = utf8_ids([path.replace(os.sep, "/") for path in given])
    return Sources(tuple(kept.values()), ids, len(paths) - len(kept), skipped, skipped_links)


def _beside(listing: str, paths: list[str]) -> list[str]:
    """The paths of a list, those of its own folder where that is what it means."""
    folder = os.path.dirname(listing)
    first = next((path for path in paths if not os.path.isabs(path)), None)
    if first is None or os.path.lexists(first) or not os.path.lexists(os.path.join(folder, first)):
        return paths
    return [os.path.join(folder, path) for path in paths]


def _matching(name: str) -> list[str]:
    """What a pattern matches, in order: Windows' shells leave that to the program; any other name is itself."""
    if os.path.lexists(name) or not any(letter in name for letter in "*?["):
        return [name]
    matching = sorted(glob.glob(name, recursive=True))
    if not matching:
        raise _missing(name)
    return matching


def _missing(name: str) -> MissingSourceError:
    where = "" if os.path.isabs(name) else f" in {os.getcwd()}"
    return MissingSourceError(f"{name}: no such file or folder{where}")


def _below(path: str, root: str) -> str:
    """The path relative to the root that it is below, both absolute; SourceError where it is not."""
    prefix = root.rstrip("/" + os.sep)
    if not path.startswith((f"{prefix}/", f"{prefix}{os.sep}")):
        raise SourceError(f"{path} is not below {root}, the root of the ids: name a root that all images are in")
    return path[len(prefix) + 1 :]


def _search(folder: str, skipped: Counter[str]) -> tuple[list[str], int]:
    """(relative POSIX paths of images in order, number of links to folders) below a folder; other files are counted.

    One folder at a time is sorted, with a slash behind the names of folders: that is the order of complete paths.
    """
    links = 0

    def inside(prefix: str) -> Iterator[str]:
        nonlocal links
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
                    elif is_image_name(entry.name):
                        names.append(prefix + entry.name)
                    else:
                        skipped[_kind(entry.name)] += 1
        except OSError as error:  # a folder that cannot be read must not be a gap
            raise SourceError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error
        return iter(sorted(names))

    images = []
    open_folders = [inside("")]
    while open_folders:
        name = next(open_folders[-1], None)
        if name is None:
            open_folders.pop()
        elif name.endswith("/"):
            open_folders.append(inside(name))
        else:
            images.append(name)
    return images, links


def _kind(name: str) -> str:
    return "hidden" if name.startswith(".") else os.path.splitext(name)[1].lower() or "without a suffix"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _remote(urls: Sequence[str], root: str | None) -> Sources:
    fingerprints: dict[str, str] = {}
    given: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    images = 0
    filesystem, first = None, urls[0]
    for url in urls:
        opened, top = open_remote(url)
        if filesystem is not None and opened != filesystem:
            raise SourceError(f"{first} and {url} are in two stores: name one at a time")
        filesystem = opened
        try:
            files: dict[str, dict[str, Any]] = filesystem.find(top, detail=True)
        except Exception as error:  # every file system has errors of its own
            raise SourceError(f"{url}: the store cannot be listed: {error}") from error
        if not files:
            raise MissingSourceError(f"{url}: no such file or folder")
        is_file = list(files) == [top]
        for path in sorted(files):
            inside = path.removeprefix(top).lstrip("/")
            names = inside.split("/")
            if is_file or (is_image_name(names[-1]) and not any(name.startswith(".") for name in names)):
                images += 1
                fingerprints[path] = _remote_fingerprint(files[path])
                complete = url if is_file else f"{url.rstrip('/')}/{inside}"
                given.setdefault(path, inside if len(urls) == 1 and not is_file and root is None else complete)
            else:
                skipped[_kind(names[-1])] += 1
    ids = utf8_ids([path if root is None else _below(path, root) for path in given.values()])
    duplicates = images - len(fingerprints)
    return Sources(tuple(fingerprints), ids, duplicates, skipped, 0, filesystem, tuple(fingerprints.values()))


def _remote_fingerprint(details: dict[str, Any]) -> str:
    tags = (details[name] for name in ("ETag", "etag", "LastModified", "mtime", "created") if details.get(name))
    return f"{details.get('size')} {next(tags, '')}"


def read_list(lines: BinaryIO, source: str, nul: bool = False) -> list[str]:
    """The paths of a list; bytes, because the names of files need not be text in any encoding."""
    paths: list[str] = []
    for number, line in enumerate(lines.read().split(b"\0") if nul else lines, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # Windows' editors put it there
        name = os.fsdecode(line if nul else line.rstrip(b"\r\n"))
        if not name or (line.startswith(b"#") and not nul):
            continue
        if "\0" in name or os.path.isdir(name) or is_url(name):
            hint = "; for names that end with NUL, pass -0" if "\0" in name else ""
            raise SourceError(f"{source}, line {number}: expected the path of an image, found {name[:80]!r}{hint}")
        paths.append(name)
    return paths


def utf8_ids(names: Sequence[str]) -> tuple[str, ...]:
    """Names that can be written as UTF-8: bytes that are not become visible escapes.

    Raises SourceError where one then has the name of another, which spells those escapes out.
    """
    ids = tuple(name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace") for name in names)
    if ids != tuple(names) and len(set(ids)) < len(ids):
        twice = next(name for name, count in Counter(ids).items() if count > 1)
        raise SourceError(f"two files have the id {twice!r}, for one's name is not UTF-8: rename one of them")
    return ids
