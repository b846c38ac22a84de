"""A folder that one process has for itself while it works in it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reid_runtime.errors import StorageError

_WINDOWS = sys.platform == "win32"


@contextmanager
def exclusive_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Within the block no other process is in such a block of this folder; StorageError for no folder.

    Where another process is in one: with `wait` the block begins when that has ended, without it StorageError.

    The lock is the operating system's and ends with the process, however that ends. POSIX locks the folder itself, so
    that nothing is left in it; Windows a file in it. Some file systems, of networks above all, have no locks: there
    nothing keeps two processes apart.
    """
    from filelock import lock_descriptor  # takes 50 ms to import, which most commands need not pay

    path = folder / ".lock" if _WINDOWS else folder
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT if _WINDOWS else os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{folder} cannot be opened: {error.strerror}") from error
    try:
        try:
            is_ours = lock_descriptor(descriptor, blocking=wait)
        except OSError:
            is_ours = True  # a file system without locks
        if not is_ours:
            raise StorageError(f"another run is going on in {folder}: wait for its end, or choose another folder")
        yield
    finally:
        os.close(descriptor)
        if _WINDOWS:
            with suppress(OSError):  # another process has opened it meanwhile
                os.remove(path)
