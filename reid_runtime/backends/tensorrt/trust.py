"""Where engines are kept, and the record of which ones this user built on this machine.

The folder is the caller's, else REID_RUNTIME_CACHE, else `reid-runtime/engines` in XDG_CACHE_HOME or ~/.cache. Nobody
else may write to it, for an engine is code.
"""

import hashlib
import os
import stat
import warnings
from pathlib import Path

from reid_runtime.errors import BackendError

ENVIRONMENT = "REID_RUNTIME_CACHE"
_RECORDS = "built-here"


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


def require_private(folder: Path) -> None:
    """A BackendError for a folder that others than this user and root may write to; OSError where there is none."""
    status = folder.stat()
    if os.name == "posix" and (status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH):
        raise BackendError(
            f"{folder} belongs to another user or can be written by everyone, and engines are code: name a folder of "
            f"your own with {ENVIRONMENT}"
        )


def record_trust(sidecar: str) -> None:
    """Remember that this user built the engine of this sidecar, whose text holds the engine's digest."""
    try:
        folder = default_folder() / _RECORDS
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        require_private(folder)
        (folder / _name(sidecar)).touch()
    except (OSError, BackendError) as error:
        warnings.warn(
            f"nothing will know that this engine was built here, loading it needs trust: {error}", stacklevel=3
        )


def is_trusted(sidecar: str) -> bool:
    """Whether there is such a record, in a folder to which nobody else writes."""
    try:
        folder = default_folder() / _RECORDS
        require_private(folder)
        return (folder / _name(sidecar)).is_file()
    except (OSError, BackendError):
        return False


def _name(sidecar: str) -> str:
    return hashlib.sha256(sidecar.encode()).hexdigest()
