"""What a file of embeddings holds: a table, and the model that made it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import StorageError
from reid_runtime.model_file.contract import Contract

METADATA = ("contract", "contract_id", "artefact_id", "backend")
OPTIONAL = ("identity", "camera", "split", "time", "backend")
KINDS = {
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
    backend: str | None = None
    """The engine, device and precision that made the vectors, by its name; None where that is not known."""
    identity: npt.NDArray[np.int64] | None = None
    camera: npt.NDArray[np.int64] | None = None
    split: npt.NDArray[np.str_] | None = None
    time: npt.NDArray[np.float64] | None = None
    """(N,) seconds."""

    def __post_init__(self) -> None:
        for name, values in self.columns().items():
            axes = 2 if name == "embedding" else 1
            if values.ndim != axes or len(values) != self.id.size or values.dtype.kind != KINDS[name]:
                raise StorageError(
                    f"expected the column {name} to have {self.id.size} rows, {axes} axes and values of kind "
                    f"{KINDS[name]!r}, found {values.shape} of {values.dtype}"
                )

    def __len__(self) -> int:
        return len(self.id)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns that are there, by name, in the file's order."""
        return self._present(KINDS)

    def metadata(self) -> dict[str, str]:
        """What is known of the model that made them, by name."""
        return self._present(METADATA)

    def _present(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def take(self, rows: npt.NDArray[np.int64]) -> "Embeddings":
        """These rows, in this order."""
        columns: dict[str, Any] = {name: values[rows] for name, values in self.columns().items()}
        return replace(self, **columns)


def check_same_space(first: Embeddings, second: Embeddings) -> None:
    """Refuse to mix vectors of two embedding spaces; both ids are in the StorageError."""
    if first.contract_id != second.contract_id:
        raise StorageError(
            f"contract ids {first.contract_id} and {second.contract_id} name two embedding spaces, whose vectors "
            "cannot be compared: embed both with one model"
        )


def one_backend(tables: Sequence[Embeddings]) -> str | None:
    """What several tables say together of their backends: each name once; None where one of them does not know."""
    names = [rows.backend for rows in tables]
    return None if None in names else "; ".join(dict.fromkeys(filter(None, names)))


def join(tables: Sequence[Embeddings]) -> Embeddings:
    """The rows of several tables of one model, at least one, one table after the other, with the first's metadata."""
    columns: dict[str, Any] = {
        name: np.concatenate([rows.columns()[name] for rows in tables]) for name in tables[0].columns()
    }
    return replace(tables[0], **columns)


def checked(name: str, read: Callable[[], dict[str, Any]]) -> Embeddings:
    """What `read` finds in the file of this name; raises StorageError where that is no table of embeddings."""
    try:
        found = read()
        missing = sorted({*KINDS, *METADATA} - {*OPTIONAL} - set(found))
        if missing:
            raise StorageError(f"it lacks {', '.join(missing)}")
        rows = Embeddings(**found)
    except Exception as error:  # the readers of both formats stumble over damage in many ways
        raise StorageError(f"{name}: expected a file of embeddings: {error}") from error
    contract = Contract.from_json(rows.contract, name)
    if (contract.contract_id, contract.dimension) != (rows.contract_id, rows.embedding.shape[1]):
        raise StorageError(
            f"{name}: its contract says {contract.contract_id} and {contract.dimension} numbers, "
            f"the file {rows.contract_id} and {rows.embedding.shape[1]}: it was altered"
        )
    return rows
