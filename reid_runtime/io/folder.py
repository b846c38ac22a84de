"""A flat folder of files, on this machine or remote, in which each file appears complete or not at all."""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from reid_runtime.errors import StorageError
from reid_runtime.io.atomic import atomic_write
from reid_runtime.io.locks import exclusive_lock
from reid_runtime.io.remote import is_url, open_remote


class Folder(Protocol):
    """A flat folder of files. Every method raises StorageError for what goes wrong."""

    @property
    def name(self) -> str:
        """As the user named it."""

    def locked(self) -> AbstractContextManager["Folder"]:
        """The folder for a block in which no other job is in it, as far as can be known; StorageError where one is."""

    def names(self) -> list[str]:
        """The names of the files in it, sorted; none where there is no folder yet."""

    def open(self, name: str) -> BinaryIO:
        """A file to read."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file that appears under its name when it is complete, and is on disk when this returns."""

    def remove(self, name: str) -> None:
        """Delete a file."""


def is_folder_name(name: str) -> bool:
    """Whether a name is that of a folder: a URL, a name with a slash behind it, or a folder that is there."""
    return is_url(name) or name.endswith(("/", os.sep)) or os.path.isdir(name)


def open_folder(name: str) -> Folder:
    """The folder of this name or URL, which need not be there yet."""
    return RemoteFolder(name, *open_remote(name)) if is_url(name) else LocalFolder(name)


@contextmanager
def _as_storage_error(what: str) -> Iterator[None]:
    """Every file system has errors of its own; all of them become one kind."""
    try:
        yield
    except Exception as error:
        raise StorageError(f"{what}: {error}") from error


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, made when it is needed; the one above it must be there."""

    name: str
    inode: tuple[int, int] | None = None
    """Device and number of the folder that is locked: nothing is written to another one that has its name. The lock
    holds the folder open, so no other one gets its number meanwhile.
    """

    @contextmanager
    def locked(self) -> Iterator["LocalFolder"]:
        """The folder, which is made for the lock and removed again if nothing was written."""
        is_new = self._make()
        try:
            with exclusive_lock(Path(self.name)):
                yield replace(self, inode=self._inode())
        finally:
            if is_new:
                with suppress(OSError):  # there are files in it
                    os.rmdir(self.name)

    def names(self) -> list[str]:
        """Sorted; none where there is no folder yet."""
        with _as_storage_error(f"{self.name} cannot be read"):
            try:
                return sorted(os.listdir(self.name))
            except FileNotFoundError:
                return []

    def open(self, name: str) -> BinaryIO:
        """A file to read."""
        with _as_storage_error(f"{name} cannot be read"):
            return open(os.path.join(self.name, name), "rb", opener=_open_file)

    def write(self, name: str, content: bytes) -> None:
        """By an atomic write."""
        path = Path(self.name, name)
        if self.inode is None:
            self._make()
        elif self.inode != self._inode():
            raise StorageError(
                f"{self.name} was removed or replaced while the job ran in it; expected the folder that the job began "
                f"in, and {name} is not written: start the job again"
            )
        with _as_storage_error(f"{path} could not be written"), atomic_write(path) as temporary:
            temporary.write_bytes(content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with _as_storage_error(f"{name} could not be removed"):
            os.remove(os.path.join(self.name, name))

    def _make(self) -> bool:
        """Make the folder; whether it was not there."""
        with _as_storage_error(f"{self.name} cannot be made"):
            try:
                os.mkdir(self.name)
            except FileExistsError:
                return False
        return True

    def _inode(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.name)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _open_file(path: str, flags: int) -> int:
    """A descriptor of a file; OSError for a pipe or a device, of which the reading might never end, or begin."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is a pipe, a device or a folder, and a file was expected")
    return descriptor


@dataclass(frozen=True)
class RemoteFolder:
    """A folder in a store, which itself puts files there complete or not at all."""

    name: str
    filesystem: Any
    path: str

    def locked(self) -> AbstractContextManager["RemoteFolder"]:
        """Stores have no locks: nothing keeps two jobs apart, who write the same bytes if they are the same job."""
        return nullcontext(self)

    def names(self) -> list[str]:
        """Sorted; none where the store has nothing under this path."""
        with _as_storage_error(f"{self.name} cannot be listed"):
            try:
                paths = self.filesystem.ls(self.path, detail=False)
            except FileNotFoundError:
                return []
        return sorted(path.rpartition("/")[2] for path in paths if path.rstrip("/") != self.path)

    def open(self, name: str) -> BinaryIO:
        """A file to read, by ranges."""
        with _as_storage_error(f"{self.name}: {name} cannot be read"):
            file: BinaryIO = self.filesystem.open(f"{self.path}/{name}", "rb")
        return file

    def write(self, name: str, content: bytes) -> None:
        """Put the complete file."""
        with _as_storage_error(f"{self.name}: {name} could not be written"):
            self.filesystem.pipe_file(f"{self.path}/{name}", content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with _as_storage_error(f"{self.name}: {name} could not be removed"):
            self.filesystem.rm_file(f"{self.path}/{name}")
