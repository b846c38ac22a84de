"""The run folder as a place: of one run at a time, and told of where it cannot be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from reid_runtime.errors import ReidRuntimeError
from reid_runtime.io.locks import exclusive_lock


class RunFolderError(ReidRuntimeError):
    """A run folder that cannot be written."""


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Within the block the folder is there and of this run alone.

    Raises StorageError where another run has it, and RunFolderError for whatever cannot be written to it within the
    block: all of a run's files are whole or absent, so what was saved before is as it was.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder):
            yield
    except (OSError, SafetensorError) as error:
        raise RunFolderError(
            f"{folder} cannot be written: {error}; what was saved there before is untouched. Make room, or a folder "
            "that may be written to, and give the same command again"
        ) from error
