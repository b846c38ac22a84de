"""Embeddings as Parquet, by extra: the vectors are lists of a fixed size, null where there is an error."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.install import install_line
from reid_runtime.jobs.embeddings import COLUMNS, METADATA, Embeddings

GROUP = 4096
"""Rows of a row group: what is read or written at once where a file does not fit into memory."""

_LARGEST = 1 << 30
"""Bytes that the rows of any file may need; more only by the size of the file."""
MOST_EXPANSION = 64
"""Bytes of memory for one of a file at most: no file of ours comes near, and one made to fill the memory does."""

NOTHING: Mapping[str, str] = {}


def import_pyarrow() -> tuple[ModuleType, ModuleType]:
    """pyarrow and its parquet, or a StorageError with the line that installs them."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise StorageError(f"parquet needs pyarrow: {install_line('parquet')}") from error
    return pyarrow, parquet


def write_parquet(file: BinaryIO, tables: Iterable[Embeddings], notes: Mapping[str, str] = NOTHING) -> int:
    """Write tables of one model, at least one, one after the other, holding one at a time; gives the number of rows.

    `notes` go into the file's metadata, next to those of the model.
    """
    _, parquet = import_pyarrow()
    writer, written = None, 0
    try:
        for rows in tables:
            table = _to_arrow(rows, notes)
            # The format's checksums, which an npz has anyway: without them an altered vector looks like any other.
            # Vectors hardly ever repeat a number: a dictionary of them is larger than they are, and slower by far.
            repeating = [name for name in table.column_names if name != "embedding"]
            writer = writer or parquet.ParquetWriter(
                file, table.schema, write_page_checksum=True, use_dictionary=repeating
            )
            if len(rows):
                writer.write_table(table, row_group_size=GROUP)
                written += len(rows)
    finally:
        if writer is not None:
            writer.close()
    return written


def _to_arrow(rows: Embeddings, notes: Mapping[str, str]) -> Any:
    arrow, _ = import_pyarrow()
    failed = rows.error != ""
    columns: dict[str, Any] = {}
    for name, values in rows.columns().items():
        if name == "embedding":
            flat = arrow.array(np.ascontiguousarray(values).reshape(-1), arrow.float32())
            columns[name] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=arrow.array(failed))
        elif name == "error":
            columns[name] = arrow.array(values.tolist(), arrow.string(), mask=~failed)
        elif COLUMNS[name] == "U":
            columns[name] = arrow.array(values.tolist(), arrow.string())
        else:
            columns[name] = arrow.array(values)
    return arrow.table(columns).replace_schema_metadata(rows.metadata() | dict(notes))


def read_parquet(source: Path | BinaryIO, group: int | None = None) -> dict[str, Any]:
    """The columns and metadata of a file, or of one of its row groups."""
    with _open(source) as file:
        return _values(file.read() if group is None else file.read_row_group(group))


def read_columns(source: Path | BinaryIO, names: Iterable[str]) -> tuple[dict[str, str], int, list[dict[str, Any]]]:
    """The metadata of a file, its number of rows, and of each row group those of these columns that are there.

    A file without row groups has its empty columns in place of one.
    """
    with _open(source) as file:
        names = [name for name in file.schema_arrow.names if name in names]
        groups = range(file.num_row_groups)
        pieces = [_values(file.read_row_group(group, columns=names, use_threads=False)) for group in groups]
        empty = [] if pieces else [_values(file.schema_arrow.empty_table().select(names))]
        return _text(file.schema_arrow.metadata), file.metadata.num_rows, pieces or empty


def read_footer(source: Path | BinaryIO) -> tuple[dict[str, str], int]:
    """The metadata of a file, and its number of rows."""
    _, parquet = import_pyarrow()
    with parquet.ParquetFile(source) as file:
        return _text(file.schema_arrow.metadata), file.metadata.num_rows


def survey(source: BinaryIO) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """What `read_parquet` gives of a file, without the rows; and (number, least id) of each row group with rows."""
    with _open(source) as file:
        groups = [
            (group, min(file.read_row_group(group, columns=["id"]).column("id").to_pylist()))
            for group in range(file.num_row_groups)
            if file.metadata.row_group(group).num_rows
        ]
        return _values(file.schema_arrow.empty_table()), groups


@contextmanager
def _open(source: Path | BinaryIO) -> Iterator[Any]:
    """The file, unless its rows would take far more memory than it could honestly hold; ValueError then."""
    _, parquet = import_pyarrow()
    size = source.stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
    with parquet.ParquetFile(source, page_checksum_verification=True) as file:
        rows, kinds = file.metadata.num_rows, [field.type for field in file.schema_arrow if field.name == "embedding"]
        needed = 4 * rows * max([1, *(getattr(kind, "list_size", 1) for kind in kinds)])
        if needed > _LARGEST + MOST_EXPANSION * size:
            raise ValueError(f"its {rows:,} rows need {needed:,} bytes, out of a file of {size:,}")
        yield file


def _values(table: Any) -> dict[str, Any]:
    metadata = _text(table.schema.metadata)
    return {name: metadata[name] for name in METADATA if name in metadata} | _from_arrow(table)


def _text(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}


def _from_arrow(table: Any) -> dict[str, Any]:
    arrow, _ = import_pyarrow()
    columns: dict[str, Any] = {}
    for name in COLUMNS.keys() & set(table.column_names):
        column = table.column(name).combine_chunks()
        if name == "embedding":
            if not arrow.types.is_fixed_size_list(column.type):
                raise ValueError(f"its embeddings are {column.type}")
            dimension = column.type.list_size
            numbers = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
            columns[name] = vectors = np.empty((len(column), dimension), np.float32)
            if column.null_count:
                vectors[:] = np.nan
                vectors[np.asarray(column.is_valid())] = numbers
            else:  # without a mask, which takes several times as long
                vectors[:] = numbers
        elif COLUMNS[name] == "U" and not arrow.types.is_integer(column.type):
            columns[name] = np.array([value or "" for value in column.to_numpy(zero_copy_only=False)], dtype=np.str_)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns
