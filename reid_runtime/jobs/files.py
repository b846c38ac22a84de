"""One file of embeddings, npz or parquet: there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from reid_runtime.errors import StorageError
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.remote import is_url
from reid_runtime.jobs.folders import open_folder
from reid_runtime.jobs.npz import read_npz, write_npz
from reid_runtime.jobs.parquet import import_pyarrow, read_parquet, write_parquet
from reid_runtime.jobs.parts import read_folder
from reid_runtime.jobs.table import Embeddings, checked

Written = TypeVar("Written")


def check_writable(path: Path, force: bool) -> None:
    """Find out before the work starts whether its result can be written; raises StorageError."""
    if path.suffix not in (".npz", ".parquet"):
        raise StorageError(f"{path}: expected a name that ends in .npz or .parquet")
    if path.suffix == ".parquet":
        import_pyarrow()
    ensure_writable(path, force)


def write_embeddings(path: Path, rows: Embeddings, force: bool = False) -> None:
    """Write a file that appears under its name only when it is whole; raises StorageError."""
    write: Callable[[BinaryIO, Embeddings], None] = write_parquet if path.suffix == ".parquet" else write_npz
    write_file(path, lambda file: write(file, rows), force)


def write_file(path: Path, write: Callable[[BinaryIO], Written], force: bool) -> Written:
    """Have `write` fill a file of this name, which appears when it is whole; gives what that gave.

    Raises StorageError.
    """
    check_writable(path, force)
    try:
        with atomic_write(path) as beside, open(beside, "xb") as file:
            return write(file)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def read_embeddings(path: Path | str) -> Embeddings:
    """Read a file that `write_embeddings` wrote, or a whole folder of parts; raises StorageError for anything else."""
    if is_url(str(path)) or os.path.isdir(path):
        return read_folder(open_folder(str(path)))
    read = read_parquet if Path(path).suffix == ".parquet" else read_npz
    return checked(str(path), lambda: read(Path(path)))
