"""Where engines are kept, and the record of which ones this user built.

The folder is the caller's, else REID_RUNTIME_CACHE, else `reid-runtime/engines` in XDG_CACHE_HOME or ~/.cache. Nobody
else may write to it, to what lies in it or to the folders above it, for an engine is code.
"""

import hashlib
import os
import stat
import warnings
from pathlib import Path

from reid_runtime.errors import BackendError

ENVIRONMENT = "REID_RUNTIME_CACHE"
_RECORDS = "built-here"
_POSIX = os.name == "posix"
_NO_LINK, _NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def default_folder() -> Path:
    """Where engines are kept unless the caller says otherwise; BackendError where the machine has no home folder."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The XDG specification has relative paths ignored.
        root = Path(caches) if os.path.isabs(caches) else Path.home() / ".cache"
    except RuntimeError as error:
        raise BackendError(f"no folder for engines: {error}; name one with {ENVIRONMENT}") from error
    return root / "reid-runtime" / "engines"


def make_private(folder: Path) -> None:
    """Make a folder, and those missing above it, for this user alone whatever the umask; raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def require_private(folder: Path) -> None:
    """A BackendError for a folder to which others than this user and root can write; OSError where there is none.

    That is: by its own mode, the group's bits included, or by that of a folder above it, where they could exchange it;
    above it the sticky bit of /tmp keeps what is one's own.
    """
    os.close(_open_folder(folder))


def read_private(path: Path) -> bytes:
    """A file of a private folder; BackendError where others can write to either, OSError where it cannot be read.

    What is checked is what is open, so that no name can come to mean another file in between.
    """
    folder = _open_folder(path.parent)
    try:
        file = (
            os.open(path.name, os.O_RDONLY | _NO_LINK | _NO_WAIT, dir_fd=folder) if _POSIX else os.open(path, _BINARY)
        )
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or not _is_ours(status):
                raise BackendError(_refusal(path))
            return stream.read()
    finally:
        os.close(folder)


def lock_out_others(path: Path) -> None:
    """Take from others the right to write to a file that is there, which hands its mode on to what replaces it."""
    if path.is_file():
        path.chmod(path.stat().st_mode & 0o755)


def _open_folder(folder: Path) -> int:
    """The descriptor of a private folder."""
    path = folder.resolve(strict=True)
    if not _POSIX:
        return os.open(os.devnull, os.O_RDONLY)  # permissions lie elsewhere there
    for above in reversed(path.parents):  # from the top: below a folder that is ours, nobody else changes names
        if not _is_ours(above.stat(), sticky=True):
            raise BackendError(_refusal(above))
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
    if not _is_ours(os.fstat(descriptor)):
        os.close(descriptor)
        raise BackendError(_refusal(path))
    return descriptor


def _is_ours(status: os.stat_result, sticky: bool = False) -> bool:
    """Whether a file or folder is this user's or root's, and nobody else's to write; `sticky` excuses the mode."""
    if not _POSIX:
        return True
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky and status.st_mode & stat.S_ISVTX)
    return status.st_uid in (0, os.geteuid()) and not writable


def _refusal(path: Path) -> str:
    return (
        f"{path} belongs to another user or can be written by others, and engines are code: chmod go-w it if it is "
        f"yours, or name a folder of your own with {ENVIRONMENT}"
    )


def record_trust(sidecar: str) -> None:
    """Remember that this user built the engine of this sidecar, whose text holds the engine's digest."""
    try:
        folder = default_folder() / _RECORDS
        make_private(folder)
        require_private(folder)
        note = folder / _name(sidecar)
        note.touch(mode=0o600)
        read_private(note)  # one that is another's is worth nothing
    except (OSError, BackendError) as error:
        warnings.warn(
            f"nothing will know that this engine was built here, loading it needs trust: {error}", stacklevel=3
        )


def is_trusted(sidecar: str) -> bool:
    """Whether there is such a record, this user's or root's, in a folder to which nobody else writes."""
    try:
        read_private(default_folder() / _RECORDS / _name(sidecar))
    except (OSError, BackendError):
        return False
    return True


def _name(sidecar: str) -> str:
    return hashlib.sha256(sidecar.encode()).hexdigest()
