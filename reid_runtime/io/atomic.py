"""Atomic writes: a file is written under a temporary name, flushed to disk and renamed, so it is complete or absent."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reid_runtime.errors import StorageError

_TEMPORARY_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.part")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path in the same folder to write to; when the block ends without an error it is flushed and renamed to `path`.

    When the block raises, or is killed, nothing under `path` has changed. The temporary name is one that no other run
    has: a killed one may have left its own file. Raises OSError.
    """
    temporary = _temporary_path(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def is_stale_temp(name: str) -> bool:
    """Whether a file's name is a temporary one of `atomic_write`, which a killed run may leave."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _flush_folder(folder: Path) -> None:
    """A new name is on disk once its folder is; Windows has no such call, and needs none."""
    if hasattr(os, "O_DIRECTORY"):
        number = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def ensure_writable(path: Path, force: bool) -> None:
    """Find out before the work starts whether a file of this name can be written; raises StorageError.

    An existing file is in the way unless `force` is true; a folder always is.
    """
    if os.path.isdir(path):
        raise StorageError(f"{path} is a folder; expected a file name")
    if os.path.exists(path) and not force:
        raise StorageError(f"{path} exists and is not overwritten; choose another name, or pass --force")
    if not os.path.isdir(path.parent):
        raise StorageError(f"{path.parent} is not a folder; make it first")
    try:
        temporary = _temporary_path(path)
        open(temporary, "xb").close()
        temporary.unlink()
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
