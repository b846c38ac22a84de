"""From what a user names (folders, files, lists, standard input, URLs) to images with stable, distinct ids.

A folder is searched recursively for images, by their suffix in any case, in the order of their relative paths by
code point, the same on every machine; names that begin with a dot are skipped, and so are links to folders, which may
lead in circles. A `.txt` file, or `-` for standard input, lists one path a line,
relative to the working directory. An image named twice is embedded once. Ids are POSIX paths relative to the one
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
from reid_runtime.images.suffixes import IMAGE_SUFFIXES, is_image_name
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.io.remote import is_url, open_remote
from reid_runtime.jobs.shard import Shard

_REQUESTS = 16
"""Remote files that are requested at once: each answer takes its time, and none of the processor's."""


class SourceError(ReidRuntimeError):
    """A path that was named is not there, or names nothing."""


@dataclass(frozen=True)
class Sources:
    """N images to embed."""

    paths: tuple[str, ...]
    """Where they are: on this machine, or in `filesystem`."""
    ids: tuple[str, ...]
    """Distinct relative POSIX paths, one an image."""
    duplicates: int = 0
    """How many more times images were named."""
    skipped_files: int = 0
    """Files in the folders that are not images by their name."""
    skipped_links: int = 0
    """Links to folders in the folders: not followed."""
    filesystem: Any = None
    """fsspec's, which holds all of them; None where they are on this machine."""
    fingerprints: tuple[str, ...] = ()
    """What a remote file system says of each file's content: size and tag, or time."""

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, shard: Shard) -> "Sources":
        """The images of one shard, in the same order; none of them is no error."""
        if shard.count == 1:
            return self
        kept = [index for index, name in enumerate(self.ids) if shard.holds(name)]
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


def find_sources(names: Sequence[str], stdin: BinaryIO | None = None) -> Sources:
    """Find the images that paths and URLs name.

    Args:
        names: Folders, image files, `.txt` lists of paths, `-` for such a list on `stdin`; or URLs alone.
        stdin: What `-` reads; None for nothing.

    Returns:
        The images, at least one, in the order of the names; those of a folder in the order of their paths.

    Raises:
        SourceError: For a name that is not there, or when there are no images.
        StorageError: For a URL that cannot be reached.
    """
    urls = [name for name in names if is_url(name)]
    if urls and len(urls) < len(names):
        raise SourceError(f"{urls[0]} is remote and others are on this machine: name one kind at a time")
    sources = _remote(urls) if urls else _local(names, stdin)
    if not sources.ids:
        raise SourceError(
            f"no images in {', '.join(names)}: expected names that end in {', '.join(IMAGE_SUFFIXES)}; found "
            f"{sources.skipped_files} other files and {sources.skipped_links} links to folders, which are not followed"
        )
    return sources


def _local(names: Sequence[str], stdin: BinaryIO | None) -> Sources:
    if len(names) == 1 and names[0] != "-" and os.path.isdir(names[0]):
        # Nothing can be named twice here, and the order of the search is that of the ids.
        inside, files, links = _search(names[0])
        return Sources(tuple(os.path.join(names[0], name) for name in inside), utf8_ids(inside), 0, files, links)
    paths: list[str] = []
    roots: list[str] = []
    skipped_files = skipped_links = 0
    for name in names:
        if name == "-":
            paths += (listed := [] if stdin is None else read_list(stdin, "standard input"))
            roots += map(os.path.dirname, listed)
        elif os.path.isdir(name):
            inside, files, links = _search(name)
            paths += (os.path.join(name, image) for image in inside)
            skipped_files, skipped_links = skipped_files + files, skipped_links + links
            roots.append(name)
        elif name.lower().endswith(".txt") and os.path.isfile(name):
            try:
                with open(name, "rb") as lines:
                    paths += (listed := read_list(lines, name))
            except OSError as error:
                raise SourceError(f"{name}: the list cannot be read: {error.strerror}") from error
            roots += map(os.path.dirname, listed)
        elif os.path.isfile(name):
            paths.append(name)
            roots.append(os.path.dirname(name))
        else:
            raise SourceError(f"{name}: no such file or folder")
    kept: dict[str, str] = {}
    for path in paths:
        kept.setdefault(os.path.abspath(path), path)
    root = os.path.commonpath(set(map(os.path.abspath, roots))) if kept else ""
    ids = utf8_ids([os.path.relpath(path, root).replace(os.sep, "/") for path in kept])
    return Sources(tuple(kept.values()), ids, len(paths) - len(kept), skipped_files, skipped_links)


def _search(folder: str) -> tuple[list[str], int, int]:
    """(relative POSIX paths of images in order, number of other files, of links to folders) below a folder.

    One folder at a time is sorted, with a slash behind the names of folders: that is the order of complete paths.
    """
    files = links = 0

    def inside(prefix: str) -> Iterator[str]:
        nonlocal files, links
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
                        files += 1
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
    return images, files, links


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _remote(urls: Sequence[str]) -> Sources:
    fingerprints: dict[str, str] = {}
    roots: list[str] = []
    images = skipped_files = 0
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
            raise SourceError(f"{url}: no such file or folder")
        is_file = list(files) == [top]
        roots.append(posixpath.dirname(top) if is_file else top)
        for path in sorted(files):
            names = path.removeprefix(top).lstrip("/").split("/")
            if is_file or (is_image_name(names[-1]) and not any(name.startswith(".") for name in names)):
                images += 1
                fingerprints[path] = _remote_fingerprint(files[path])
            else:
                skipped_files += 1
    root = posixpath.commonpath(roots)
    ids = utf8_ids([posixpath.relpath(path, root) for path in fingerprints])
    duplicates = images - len(fingerprints)
    return Sources(tuple(fingerprints), ids, duplicates, skipped_files, 0, filesystem, tuple(fingerprints.values()))


def _remote_fingerprint(details: dict[str, Any]) -> str:
    tags = (details[name] for name in ("ETag", "etag", "LastModified", "mtime", "created") if details.get(name))
    return f"{details.get('size')} {next(tags, '')}"


def read_list(lines: BinaryIO, source: str) -> list[str]:
    """The paths of a list; bytes, because the names of files need not be text in any encoding."""
    paths: list[str] = []
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # Windows' editors put it there
        name = os.fsdecode(line.rstrip(b"\r\n"))
        if "\0" in name or (name and (os.path.isdir(name) or is_url(name))):
            raise SourceError(f"{source}, line {number}: expected the path of an image, found {name!r}")
        if name:
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
