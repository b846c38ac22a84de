"""Atomic writes: a file is written under a temporary name, flushed to disk and renamed, so it is complete or absent."""

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reid_runtime.errors import StorageError

if sys.platform != "win32":
    import fcntl

_ENDING = r"\.[0-9a-f]{8}\.part"
_active: list[Path] = []
_TEMPORARY_NAME = re.compile(rf"\..+{_ENDING}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path in the same folder to write to; when the block ends without an error it is flushed and renamed to `path`.

    When the block raises, or is killed, nothing under `path` has changed. A file that is replaced gives its permissions
    to the new one, and a link stays and its file is replaced. The temporary name is one that no other run has, and is
    locked while the block runs: what a killed run has left is removed by the next write of that name. Raises OSError.
    """
    path = Path(os.path.realpath(path)) if os.path.islink(path) else path
    _remove_stale(path)
    permissions = path.stat().st_mode & 0o777 if path.is_file() else None
    temporary, descriptor = _create_temporary(path, 0o666 if permissions is None else 0o600)
    _active.append(temporary)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if permissions is not None:
            os.chmod(temporary, permissions)
        os.replace(temporary, path)
    finally:
        _active.remove(temporary)
        temporary.unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)
    _flush_folder(path.parent)


def is_writing() -> bool:
    """Whether an atomic write of this process is under way, which may take long on a slow disk."""
    return bool(_active)


def is_stale_temp(name: str) -> bool:
    """Whether a file's name is a temporary one of `atomic_write`, which a killed run may leave."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def _create_temporary(path: Path, permissions: int) -> tuple[Path, int | None]:
    """A new file next to `path`, and the descriptor of its lock; None on Windows, which renames no open file."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, permissions)
        if sys.platform == "win32":
            os.close(descriptor)
            return temporary, None
        is_ours = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another run took it for stale, and removes it
            is_ours = False
        except OSError:  # a file system without locks: nothing is taken for stale there
            pass
        if is_ours and temporary.exists():
            return temporary, descriptor
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    """Remove the temporary files of `path` whose writers are dead: nobody holds their locks."""
    pattern = re.compile(re.escape(f".{path.name}") + _ENDING)
    for name in os.listdir(path.parent) if sys.platform != "win32" else ():
        if not pattern.fullmatch(name):
            continue
        with suppress(OSError):  # locked, another user's, or gone meanwhile
            descriptor = os.open(path.with_name(name), os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path.with_name(name))
            finally:
                os.close(descriptor)


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
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    if not os.path.isdir(target.parent):
        raise StorageError(f"{target.parent} is not a folder; make it first")
    try:
        temporary, descriptor = _create_temporary(target, 0o600)
        temporary.unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
