"""Where a job's parts lie: a folder of this machine, or a place in a store. Each file appears whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
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

    def alone(self) -> AbstractContextManager[None]:
        """Within the block no other job is in the folder, as far as can be told; StorageError where one is."""

    def names(self) -> list[str]:
        """The names of the files in it, sorted; none where there is no folder yet."""

    def open(self, name: str) -> BinaryIO:
        """A file to read."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file that appears under its name when it is whole, and is safe when this returns."""

    def remove(self, name: str) -> None:
        """Take a file away."""


def open_folder(name: str) -> Folder:
    """The folder of this name, which need not be there yet, or the place that an URL names."""
    return StoreFolder(name, *open_remote(name)) if is_url(name) else LocalFolder(name)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Every store has errors of its own; all of them are told as one kind."""
    try:
        yield
    except Exception as error:
        raise StorageError(f"{what}: {error}") from error


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, made when it is needed; the one above it must be there."""

    name: str

    @contextmanager
    def alone(self) -> Iterator[None]:
        """By a lock on the folder, which is made for it and goes again if nothing was written."""
        made = self._make()
        with exclusive_lock(Path(self.name)):
            try:
                yield
            finally:
                if made:
                    with suppress(OSError):  # there are files in it
                        os.rmdir(self.name)

    def names(self) -> list[str]:
        """Sorted; none where there is no folder yet."""
        with _told(f"{self.name} cannot be read"):
            try:
                return sorted(os.listdir(self.name))
            except FileNotFoundError:
                return []

    def open(self, name: str) -> BinaryIO:
        """A file to read."""
        with _told(f"{name} cannot be read"):
            return open(os.path.join(self.name, name), "rb")

    def write(self, name: str, content: bytes) -> None:
        """Beside the name, flushed, renamed, and the folder flushed."""
        path = Path(self.name, name)
        self._make()
        with _told(f"{path} could not be written"), atomic_write(path) as beside:
            beside.write_bytes(content)

    def remove(self, name: str) -> None:
        """Take a file away."""
        with _told(f"{name} could not be removed"):
            os.remove(os.path.join(self.name, name))

    def _make(self) -> bool:
        """Make the folder; whether it was not there."""
        with _told(f"{self.name} cannot be made"):
            try:
                os.mkdir(self.name)
            except FileExistsError:
                return False
        return True


@dataclass(frozen=True)
class StoreFolder:
    """A place in a store, whose files are put there whole by the store itself."""

    name: str
    store: Any
    place: str

    def alone(self) -> AbstractContextManager[None]:
        """Stores have no locks: nothing keeps two jobs apart, who write the same bytes if they are the same job."""
        return nullcontext()

    def names(self) -> list[str]:
        """Sorted; none where the store has nothing under this place."""
        with _told(f"{self.name} cannot be listed"):
            try:
                found = self.store.ls(self.place, detail=False)
            except FileNotFoundError:
                return []
        return sorted(path.rpartition("/")[2] for path in found if path.rstrip("/") != self.place)

    def open(self, name: str) -> BinaryIO:
        """A file to read, by ranges."""
        with _told(f"{self.name}: {name} cannot be read"):
            file: BinaryIO = self.store.open(f"{self.place}/{name}", "rb")
        return file

    def write(self, name: str, content: bytes) -> None:
        """Put the whole file."""
        with _told(f"{self.name}: {name} could not be written"):
            self.store.pipe_file(f"{self.place}/{name}", content)

    def remove(self, name: str) -> None:
        """Take a file away."""
        with _told(f"{self.name}: {name} could not be removed"):
            self.store.rm_file(f"{self.place}/{name}")
