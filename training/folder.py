"""The run folder as a place: of one run at a time, and told of where it cannot be written."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from reid_runtime.errors import ReidRuntimeError

if sys.platform != "win32":
    import fcntl


class RunFolderError(ReidRuntimeError):
    """A run folder that cannot be written, or in which another run is going on."""


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Within the block the folder is there and of this run alone.

    Raises RunFolderError where another run has it, and for whatever cannot be written to it within the block: all of
    a run's files are whole or absent, so what was saved before is as it was.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            yield
    except (OSError, SafetensorError) as error:
        raise RunFolderError(
            f"{folder} cannot be written: {error}; what was saved there before is untouched. Make room, or a folder "
            "that may be written to, and give the same command again"
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A lock on the folder, which ends with the process, however that ends; Windows has none of the kind."""
    if sys.platform == "win32":
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(
                f"another run is going on in {folder}: wait for its end, or choose another run folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(number)
