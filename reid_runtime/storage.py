"""Files of embeddings: npz, and parquet by extra, with the same columns and the same metadata.

A file is written beside its final name, flushed to disk and renamed: under the final name there is a whole file
or none. Every file says which embedding space it is in (`contract_id`) and which model file made it (`artefact_id`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from reid_runtime.contract import Contract
from reid_runtime.errors import StorageError
from reid_runtime.files import check_new_file, whole_file

_METADATA = ("contract", "contract_id", "artefact_id")
_OPTIONAL = ("identity", "camera", "split", "time")
_KINDS = {
    "id": "U", "embedding": "f", "width": "i", "height": "i", "error": "U",
    "identity": "i", "camera": "i", "split": "U", "time": "f",
}  # fmt: skip
"""The columns, in the file's order, and what numpy calls their kind of value; no kind is a pickled object."""


@dataclass(frozen=True)
class Embeddings:
    """N rows, one a picture, and the model that made them."""

    id: npt.NDArray[np.str_]
    """(N,) relative POSIX paths."""
    embedding: npt.NDArray[np.float32]
    """(N, D) unit vectors; a row of NaN where `error` is not empty (null in parquet)."""
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    error: npt.NDArray[np.str_]
    """(N,) why a picture has no vector; empty where it has one."""
    contract: str
    """The contract's JSON."""
    contract_id: str
    artefact_id: str
    identity: npt.NDArray[np.int64] | None = None
    camera: npt.NDArray[np.int64] | None = None
    split: npt.NDArray[np.str_] | None = None
    time: npt.NDArray[np.float64] | None = None
    """(N,) seconds."""

    def __post_init__(self) -> None:
        for name, values in self.columns().items():
            axes = 2 if name == "embedding" else 1
            if values.ndim != axes or len(values) != self.id.size or values.dtype.kind != _KINDS[name]:
                raise StorageError(
                    f"expected the column {name} to have {self.id.size} rows, {axes} axes and values of kind "
                    f"{_KINDS[name]!r}, found {values.shape} of {values.dtype}"
                )

    def __len__(self) -> int:
        return len(self.id)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns that are there, by name, in the file's order."""
        present = {name: getattr(self, name) for name in _KINDS}
        return {name: values for name, values in present.items() if values is not None}


def check_writable(path: Path, force: bool) -> None:
    """Find out before the work starts whether its result can be written; raises StorageError."""
    if path.suffix not in (".npz", ".parquet"):
        raise StorageError(f"{path}: expected a name that ends in .npz or .parquet")
    if path.suffix == ".parquet":
        _pyarrow()
    check_new_file(path, force)


def write_embeddings(path: Path, rows: Embeddings, force: bool = False) -> None:
    """Write a file that appears under its name only when it is whole; raises StorageError."""
    check_writable(path, force)
    write: Callable[[BinaryIO, Embeddings], None] = _write_parquet if path.suffix == ".parquet" else _write_npz
    try:
        with whole_file(path) as beside, open(beside, "xb") as file:
            write(file, rows)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def read_embeddings(path: Path) -> Embeddings:
    """Read a file that `write_embeddings` wrote; raises StorageError for anything else."""
    read = _read_parquet if path.suffix == ".parquet" else _read_npz
    try:
        found = read(path)
        missing = sorted({*_KINDS, *_METADATA} - {*_OPTIONAL} - set(found))
        if missing:
            raise StorageError(f"it lacks {', '.join(missing)}")
        rows = Embeddings(**found)
    except Exception as error:  # the readers of both formats stumble over damage in many ways
        raise StorageError(f"{path}: expected a file of embeddings: {error}") from error
    contract = Contract.from_json(rows.contract, str(path))
    if (contract.contract_id, contract.dimension) != (rows.contract_id, rows.embedding.shape[1]):
        raise StorageError(
            f"{path}: its contract says {contract.contract_id} and {contract.dimension} numbers, "
            f"the file {rows.contract_id} and {rows.embedding.shape[1]}: it was altered"
        )
    return rows


def check_same_space(first: Embeddings, second: Embeddings) -> None:
    """Refuse to mix vectors of two embedding spaces; both ids are in the StorageError."""
    if first.contract_id != second.contract_id:
        raise StorageError(
            f"contract ids {first.contract_id} and {second.contract_id} name two embedding spaces, whose vectors "
            "cannot be compared: embed both with one model"
        )


def _write_npz(file: BinaryIO, rows: Embeddings) -> None:
    arrays: dict[str, Any] = rows.columns() | {name: np.array(getattr(rows, name)) for name in _METADATA}
    np.savez(file, **arrays)


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        found: dict[str, Any] = {name: file[name] for name in (*_KINDS, *_METADATA) if name in file}
    return found | {name: str(found[name]) for name in _METADATA if name in found}


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise StorageError('parquet needs pyarrow: pip install "reid-runtime[parquet]"') from error
    return pyarrow, parquet


def _write_parquet(file: BinaryIO, rows: Embeddings) -> None:
    arrow, parquet = _pyarrow()
    failed = rows.error != ""
    columns: dict[str, Any] = {}
    for name, values in rows.columns().items():
        if name == "embedding":
            flat = arrow.array(np.ascontiguousarray(values).reshape(-1), arrow.float32())
            columns[name] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=arrow.array(failed))
        elif name == "error":
            columns[name] = arrow.array(values.tolist(), arrow.string(), mask=~failed)
        else:
            columns[name] = arrow.array(values.tolist(), arrow.string()) if _KINDS[name] == "U" else arrow.array(values)
    table = arrow.table(columns).replace_schema_metadata({name: getattr(rows, name) for name in _METADATA})
    parquet.write_table(table, file)


def _read_parquet(path: Path) -> dict[str, Any]:
    arrow, parquet = _pyarrow()
    table = parquet.read_table(path)
    found: dict[str, Any] = {
        key.decode(): value.decode()
        for key, value in (table.schema.metadata or {}).items()
        if key.decode() in _METADATA
    }
    for name in _KINDS.keys() & set(table.column_names):
        column = table.column(name).combine_chunks()
        if name == "embedding":
            if not arrow.types.is_fixed_size_list(column.type):
                raise ValueError(f"its embeddings are {column.type}")
            dimension = column.type.list_size
            vectors = np.full((len(column), dimension), np.nan, np.float32)
            valid = np.asarray(column.is_valid())
            vectors[valid] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
            found[name] = vectors
        elif _KINDS[name] == "U":
            found[name] = np.array([value or "" for value in column.to_pylist()], dtype=np.str_)
        else:
            found[name] = column.to_numpy(zero_copy_only=False)
    return found
