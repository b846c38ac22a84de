"""Files of embeddings, in every format that is registered here: one appears complete under its name, or not at all."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from reid_runtime.errors import OptionsError, StorageError
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.folder import open_folder
from reid_runtime.io.remote import is_url
from reid_runtime.jobs.csv_table import refuse_csv, write_csv
from reid_runtime.jobs.embeddings import Embeddings, validated
from reid_runtime.jobs.npz import read_npz, read_npz_notes, write_npz
from reid_runtime.jobs.parquet import NOTHING, import_pyarrow, read_footer, read_parquet, survey, write_parquet
from reid_runtime.jobs.parts import read_folder


@dataclass(frozen=True)
class Groups:
    """How a file is read in groups of rows, where it does not fit into memory."""

    survey: Callable[[BinaryIO], tuple[dict[str, Any], list[tuple[int, str]]]]
    """What `Format.read` gives without the rows, and (number, least id) of each group."""
    read: Callable[[BinaryIO, int], dict[str, Any]]
    """As `Format.read`, of the group of this number."""


@dataclass(frozen=True)
class Format:
    """How one kind of file is read and written."""

    read: Callable[[Path | BinaryIO], dict[str, Any]]
    """Its columns and metadata, by name; whatever it raises makes the file a damaged one."""
    write: Callable[[BinaryIO, Iterable[Embeddings], Mapping[str, str]], int]
    """Tables of one model, at least one, one after the other, and notes; gives the number of rows."""
    read_notes: Callable[[Path | BinaryIO], dict[str, str]]
    """The notes, among other texts."""
    check_installed: Callable[[], object] = lambda: None
    """Raises StorageError, with the line that installs it, where a package is missing."""
    groups: Groups | None = None
    """None where a file is read at once."""
    kept_as: str | None = None
    """The suffix of what an interrupted job keeps; None where it is the format's own. One that cannot be read again has
    that of another.
    """


FORMATS = {
    ".npz": Format(read_npz, write_npz, read_npz_notes),
    ".parquet": Format(
        read_parquet, write_parquet, lambda source: read_footer(source)[0], import_pyarrow, Groups(survey, read_parquet)
    ),
    ".csv": Format(refuse_csv, write_csv, refuse_csv, kept_as=".npz"),
}
"""By the suffix of the file's name."""


SUFFIXES = " or ".join(FORMATS)
"""For help texts and messages."""


class SuffixError(StorageError, OptionsError):
    """A file's name has the suffix of no format."""


def format_of(path: Path) -> Format:
    """The format of a file's name; SuffixError for a name with another suffix."""
    if path.suffix not in FORMATS:
        raise SuffixError(f"{path}: expected a name that ends in {SUFFIXES}")
    return FORMATS[path.suffix]


def ensure_embeddings_writable(path: Path, force: bool) -> None:
    """Find out before the work starts whether its result can be written; raises StorageError."""
    format_of(path).check_installed()
    ensure_writable(path, force)


def write_embeddings(
    path: str | os.PathLike[str], rows: Embeddings, force: bool = False, notes: Mapping[str, str] = NOTHING
) -> None:
    """Write a file of embeddings, which appears under its name only when it is complete.

    Args:
        path: The file; its suffix, `.npz`, `.parquet` or `.csv`, says in which format.
        rows: The table to write.
        force: Whether to overwrite a file that is there.
        notes: Further texts to keep in the file, by name.

    Raises:
        StorageError: Where the file is there already, or cannot be written; then nothing has changed.
    """
    write_tables(Path(path), [rows], force, notes)


def write_tables(path: Path, tables: Iterable[Embeddings], force: bool, notes: Mapping[str, str] = NOTHING) -> int:
    """Write tables of one model, at least one, into one file; gives the number of rows. Raises StorageError."""
    ensure_embeddings_writable(path, force)
    try:
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            return format_of(path).write(file, tables, notes)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def read_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Read a file of embeddings, or a complete folder of parts.

    Args:
        path: What `write_embeddings` or `embed_folder` wrote; of a folder also its URL.

    Returns:
        The table, with N rows of D numbers; rows of images without a vector hold NaN.

    Raises:
        StorageError: For anything else: absent, damaged, cut short, altered, or a folder that lacks parts.
        ContractError: For a contract that cannot be read.
    """
    if is_url(os.fspath(path)) or os.path.isdir(path):
        return read_folder(open_folder(os.fspath(path)))
    return validated(os.fspath(path), lambda: format_of(Path(path)).read(Path(path)))
