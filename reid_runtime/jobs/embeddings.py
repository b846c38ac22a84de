"""The table of embeddings that every job gives, and the model that made it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import StorageError
from reid_runtime.jobs.labels import ROLES, Texts, text_labels
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.packaged import FORMER_DEFAULTS
from reid_runtime.vectors import STORED_TOLERANCE, Vectors

if TYPE_CHECKING:
    from reid_runtime.embedder import Embedder, Result

METADATA = ("contract", "contract_id", "artefact_id", "backend")
COLUMNS = {
    "id": "U", "embedding": "f", "width": "i", "height": "i", "error": "U", "quality": "f", "reasons": "U",
    "identity": "U", "camera": "U", "track": "U", "role": "U", "split": "U", "time": "f", "frame": "i",
    "x1": "f", "y1": "f", "x2": "f", "y2": "f",
}  # fmt: skip
"""The columns, in the file's order, and what numpy calls their kind of value; no kind is a pickled object."""
OPTIONAL = {*COLUMNS, "backend"} - {"id", "embedding", "width", "height", "error"}


@dataclass(frozen=True)
class Embeddings:
    """N rows, one an image, and the model that made them.

    Raises:
        StorageError: Where the columns do not fit together.
    """

    id: Texts
    """(N,) as the user gave them: relative POSIX paths, where they are files."""
    embedding: Vectors
    """(N, D) unit vectors; a row of NaN where `error` is not empty (null in Parquet)."""
    width: npt.NDArray[np.int32]
    """(N,) pixels of the image."""
    height: npt.NDArray[np.int32]
    error: Texts
    """(N,) why an image has no vector; empty where it has one."""
    contract: str
    """The contract's JSON."""
    contract_id: str
    artefact_id: str
    backend: str | None = None
    """The engine, device and precision that made the vectors, by its name; None where that is not known."""
    quality: npt.NDArray[np.float32] | None = None
    """(N,) from 0 to 1; NaN where it is unknown."""
    reasons: Texts | None = None
    """(N,) codes of what is wrong with an image, with commas; empty where nothing is."""
    identity: Texts | None = None
    """(N,) who it is; empty where that is unknown."""
    camera: Texts | None = None
    """(N,) empty where it is unknown."""
    track: Texts | None = None
    """(N,) the track or tracklet; empty where there is none."""
    role: Texts | None = None
    """(N,) "junk" or "distractor", for images of no identity that is searched for; else empty."""
    split: Texts | None = None
    """(N,) the data set's split."""
    time: npt.NDArray[np.float64] | None = None
    """(N,) seconds."""
    frame: npt.NDArray[np.int64] | None = None
    """(N,) the frame's number, from 1."""
    x1: npt.NDArray[np.float32] | None = None
    """(N,) pixels: the left, upper, right and lower edge of the box."""
    y1: npt.NDArray[np.float32] | None = None
    x2: npt.NDArray[np.float32] | None = None
    y2: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name, values in self.columns().items():
            axes = 2 if name == "embedding" else 1
            if values.ndim != axes or len(values) != self.id.size or values.dtype.kind != COLUMNS[name]:
                raise StorageError(
                    f"expected the column {name} to have {self.id.size} rows, {axes} axes and values of kind "
                    f"{COLUMNS[name]!r}, found {values.shape} of {values.dtype}"
                )
        unknown = set() if self.role is None else {*np.unique(self.role).tolist()} - {"", *ROLES}
        if unknown:
            raise StorageError(f"expected the roles {', '.join(ROLES)} or none, found {sorted(unknown)}")

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def of(
        cls,
        embedder: "Embedder",
        ids: Iterable[str],
        vectors: Vectors,
        sizes: npt.NDArray[np.int32],
        **columns: npt.NDArray[Any],
    ) -> "Embeddings":
        """The table of (N, D) vectors that an embedder made of images of (N, 2) sizes, width and height in pixels.

        `columns` are further ones, by their names; `error` is empty unless it is given.
        """
        return cls(
            id=np.array([*ids], dtype=np.str_),
            embedding=vectors,
            width=sizes[:, 0],
            height=sizes[:, 1],
            error=columns.pop("error", np.full(len(vectors), "", dtype=np.str_)),
            contract=embedder.contract.to_json(),
            contract_id=embedder.contract.contract_id,
            artefact_id=embedder.artefact_id,
            backend=embedder.backend.name,
            **columns,
        )

    @classmethod
    def from_results(
        cls, embedder: "Embedder", ids: Iterable[str], results: Sequence["Result"], **columns: npt.NDArray[Any]
    ) -> "Embeddings":
        """The table of an embedder's N results and their N ids; a result without a vector has a row with its error.

        `columns` are further ones, by their names.
        """
        vectors = np.full((len(results), embedder.dimension), np.nan, np.float32)
        for row, result in enumerate(results):
            if result.vector is not None:
                vectors[row] = result.vector
        sizes = np.array([(result.width, result.height) for result in results], np.int32).reshape(-1, 2)
        errors = ["" if result.error is None else str(result.error) for result in results]
        reasons = [",".join(result.reasons) for result in results]
        quality = np.array([result.quality for result in results], np.float32)
        return cls.of(
            embedder, ids, vectors, sizes,
            error=np.array(errors, dtype=np.str_), reasons=np.array(reasons, dtype=np.str_),
            quality=quality, **columns,
        )  # fmt: skip

    def flagged(self) -> tuple[tuple[str, str], ...]:
        """(id, reasons) of the rows that have a vector and reason codes."""
        if self.reasons is None:
            return ()
        rows = np.flatnonzero((self.reasons != "") & (self.error == ""))
        return tuple(zip(self.id[rows].tolist(), self.reasons[rows].tolist(), strict=True))

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns that are there, by name, in the file's order."""
        return self._present(COLUMNS)

    def metadata(self) -> dict[str, str]:
        """What is recorded of the model that made them, by name."""
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
    """The backends of several tables as one text: each name once; None where one of them does not know its own."""
    names = [rows.backend for rows in tables]
    return None if None in names else "; ".join(dict.fromkeys(filter(None, names)))


def with_judgement(rows: Embeddings, like: Iterable[Embeddings]) -> Embeddings:
    """The table with the columns `reasons` and `quality` where a table of `like` has them: empty, and NaN, where it has
    none itself, as earlier files.
    """
    columns: dict[str, npt.NDArray[Any]] = {}
    tables = [*like]
    if rows.reasons is None and any(table.reasons is not None for table in tables):
        columns["reasons"] = np.full(len(rows), "", dtype=np.str_)
    if rows.quality is None and any(table.quality is not None for table in tables):
        columns["quality"] = np.full(len(rows), np.nan, np.float32)
    return replace(rows, **columns) if columns else rows  # type: ignore[arg-type]


def join(tables: Sequence[Embeddings]) -> Embeddings:
    """The rows of several tables of one model, at least one, one table after the other, with the first's metadata."""
    tables = [with_judgement(rows, tables) for rows in tables]
    columns: dict[str, Any] = {
        name: np.concatenate([rows.columns()[name] for rows in tables]) for name in tables[0].columns()
    }
    return replace(tables[0], **columns)


def validated(name: str, read: Callable[[], dict[str, Any]]) -> Embeddings:
    """The columns and metadata that `read` finds in the file of this name, as a table; StorageError for no such file.

    Integers as identity and camera, as earlier files have them, become strings and roles.
    """
    try:
        values = read()
        missing = sorted({*COLUMNS, *METADATA} - OPTIONAL - values.keys())
        if missing:
            raise StorageError(f"it lacks {', '.join(missing)}")
        rows = Embeddings(**with_text_labels(values))
    except Exception as error:  # the readers of all formats stumble over damage in many ways
        raise StorageError(
            f"{name}: expected a file of embeddings: {getattr(error, 'strerror', None) or error}"
        ) from error
    contract = Contract.from_json(rows.contract, name)
    check_not_former(contract.contract_id, name)
    if (contract.contract_id, contract.dimension) != (rows.contract_id, rows.embedding.shape[1]):
        raise StorageError(
            f"{name}: its contract says {contract.contract_id} and {contract.dimension} numbers, "
            f"the file {rows.contract_id} and {rows.embedding.shape[1]}: it was altered"
        )
    check_unit_length(name, rows.embedding, rows.id, rows.error)
    return rows


def check_not_former(contract_id: str, name: str) -> None:
    """Raises StorageError for vectors of a default model that left the package."""
    if contract_id in FORMER_DEFAULTS:
        raise StorageError(
            f"{name}: its vectors are of the former default model, MobileNetV2 of Market-1501, which left the package: "
            "embed the images again, reid-runtime embed FOLDER -o FILE --force"
        )


def check_unit_length(name: str, vectors: Vectors, ids: Texts, errors: Texts) -> None:
    """Refuse rows of the file of this name that have neither an error nor a vector of length 1 (StorageError)."""
    lengths = np.einsum("nd,nd->n", vectors, vectors)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= 2 * STORED_TOLERANCE) & (errors == ""))
    if wrong.size:
        raise StorageError(
            f"{name}: {wrong.size} vectors are not of unit length, the first is that of {ids[wrong[0]]} with length "
            f"{np.sqrt(lengths[wrong[0]]):.4g}; embed these again"
        )


def with_text_labels(values: dict[str, Any]) -> dict[str, Any]:
    """Columns and metadata by name, with strings and roles for the integers of earlier files."""
    integers = [name for name in ("identity", "camera") if name in values and values[name].dtype.kind == "i"]
    if not integers:
        return values
    texts = text_labels(*(values.get(name, values[integers[0]]) for name in ("identity", "camera")))
    return values | {name: texts[name] for name in (*integers, *(["role"] if "identity" in integers else []))}
