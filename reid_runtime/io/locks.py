"""A folder that one process has for itself while it runs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reid_runtime.errors import StorageError

if sys.platform != "win32":
    import fcntl


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Within the block no other run is in such a block of this folder; StorageError where one is, or no folder.

    The lock is on the folder itself and ends with the process, however that ends. Windows has none of the kind, and
    some file systems, of networks above all, have none at all: there nothing keeps two runs apart.
    """
    if sys.platform == "win32":
        yield
        return
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{folder} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another run is going on in {folder}: wait for its end, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(number)
