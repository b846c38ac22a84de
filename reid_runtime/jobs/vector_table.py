"""A file of embeddings as a search reads it: the vectors mapped, or in the parts they lie in, and the labels.

`read_embeddings` joins all rows of a folder in one table, which takes the memory twice; here nothing is joined but the
short columns.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.io.folder import Folder, open_folder
from reid_runtime.io.remote import is_url
from reid_runtime.jobs.csv_table import refuse_csv
from reid_runtime.jobs.embeddings import METADATA, Embeddings, check_not_former, check_unit_length, with_text_labels
from reid_runtime.jobs.formats import format_of
from reid_runtime.jobs.labels import Texts
from reid_runtime.jobs.manifest import MANIFEST, Manifest, read_manifest
from reid_runtime.jobs.npz import map_npz
from reid_runtime.jobs.parquet import read_columns
from reid_runtime.jobs.parts import Part, check_note, part_name, present_parts
from reid_runtime.matching.search import VectorRows
from reid_runtime.model_file.contract import Contract

_TEXTS = ("id", "error", "identity", "camera", "track", "role", "reasons")
_NAMES = ("embedding", *_TEXTS)
_NEEDED = ("id", "embedding", "contract", "contract_id", "artefact_id")


@dataclass(frozen=True)
class VectorTable:
    """N rows of one model; of what a file does not say, the texts are empty."""

    name: str
    """Of the file or folder, for people."""
    digest: str
    """SHA-256 of the file; of a folder, of the lines that `sha256sum *` prints of its files."""
    vectors: VectorRows
    id: Texts
    error: Texts
    identity: Texts
    camera: Texts
    track: Texts
    role: Texts
    reasons: Texts
    contract: str
    contract_id: str
    artefact_id: str
    backend: str | None = None

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def of(cls, rows: Embeddings, name: str, digest: str, **labels: Texts) -> "VectorTable":
        """A table of embeddings that is in memory already, with these columns in place of its own."""
        return _table(name, digest, [{**rows.columns(), **rows.metadata(), **labels}])


def read_vector_table(path: str | os.PathLike[str], threads: int | None = None) -> VectorTable:
    """Read a file of embeddings, or a complete folder of parts, without a second copy of its vectors.

    Args:
        path: What `write_embeddings` or `embed_folder` wrote; of a folder also its URL.
        threads: How many parts are read at once; None for as many as there are cores.

    Returns:
        The table.

    Raises:
        StorageError: For anything else: absent, damaged, cut short, altered, a folder that lacks parts, or vectors that
            are not of unit length.
        ContractError: For a contract that cannot be read.
    """
    name = os.fspath(path)
    if is_url(name) or os.path.isdir(name):
        return _read_parts(open_folder(name), threads or os.cpu_count() or 1)
    format_of(Path(path)).check_installed()
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if Path(path).suffix == ".csv":
            refuse_csv(Path(path))
        pieces = [map_npz(Path(path), _NAMES)] if Path(path).suffix == ".npz" else read_columns(Path(path), _NAMES)[2]
        return _table(name, f"sha256:{digest}", pieces)
    except StorageError:
        raise
    except Exception as error:  # the readers of all formats stumble over damage in many ways
        raise StorageError(
            f"{name}: expected a file of embeddings: {getattr(error, 'strerror', None) or error}"
        ) from error


def digest_of(digests: Iterable[tuple[str, str]]) -> str:
    """Of many files, by name and hexadecimal SHA-256: the digest of the lines that `sha256sum` prints of them."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _read_parts(folder: Folder, threads: int) -> VectorTable:
    job = read_manifest(folder)
    with folder.open(MANIFEST) as file:
        manifest = hashlib.sha256(file.read()).hexdigest()

    def read(number: int) -> tuple[list[dict[str, Any]], str]:
        return _read_part(folder, job, number)

    numbers = present_parts(folder, job)
    parts = [*parallel_map(read, numbers, threads, 4 * threads)]
    digests = [
        (MANIFEST, manifest),
        *((part_name(number), each[1]) for number, each in zip(numbers, parts, strict=True)),
    ]
    pieces = [piece for each, _ in parts for piece in each]
    return _table(folder.name, digest_of(digests), pieces or [_nothing(job)])


def _nothing(job: Manifest) -> dict[str, Any]:
    dimension = Contract.from_json(job.contract, MANIFEST).dimension
    metadata = {name: getattr(job, name) for name in METADATA}
    return {"id": np.empty(0, np.str_), "embedding": np.empty((0, dimension), np.float32), **metadata}


def _read_part(folder: Folder, job: Manifest, number: int) -> tuple[list[dict[str, Any]], str]:
    """A part's row groups, and its digest."""
    name = f"{folder.name}/{part_name(number)}"
    with folder.open(part_name(number)) as file:
        content = file.read()
    try:
        notes, rows, pieces = read_columns(io.BytesIO(content), _NAMES)
        part = Part.from_notes(notes)
    except Exception as error:  # damage comes in many kinds
        raise StorageError(f"{name}: expected a part of embeddings: {error}; remove it and --resume the job") from error
    check_note(part, notes, rows, name, job, number)
    return pieces, hashlib.sha256(content).hexdigest()


def _table(name: str, digest: str, pieces: list[dict[str, Any]]) -> VectorTable:
    """The table of the columns and metadata of at least one piece; StorageError where they do not fit together."""
    pieces = [with_text_labels(piece) for piece in pieces]
    first = pieces[0]
    missing = [
        column for column in ("id", "embedding", "contract", "contract_id", "artefact_id") if column not in first
    ]
    if missing:
        raise StorageError(f"{name}: expected a file of embeddings, it lacks {', '.join(missing)}")
    contract = Contract.from_json(first["contract"], name)
    check_not_former(contract.contract_id, name)
    for piece in pieces:
        shape = piece["embedding"].shape
        if shape != (len(piece["id"]), contract.dimension) or piece["contract_id"] != contract.contract_id:
            raise StorageError(
                f"{name}: its contract says {contract.contract_id} and {contract.dimension} numbers a row, the rows "
                f"{piece['contract_id']} and {shape} for {len(piece['id'])} ids: it was altered"
            )
    texts = {column: np.concatenate([*_texts(pieces, column)]) for column in _TEXTS}
    row = 0
    for piece in pieces:
        end = row + len(piece["id"])
        check_unit_length(name, piece["embedding"], piece["id"], texts["error"][row:end])
        row = end
    columns: dict[str, Any] = texts | {key: first.get(key) for key in METADATA}
    return VectorTable(name, digest, VectorRows(tuple(piece["embedding"] for piece in pieces)), **columns)


def _texts(pieces: list[dict[str, Any]], column: str) -> Iterator[Texts]:
    for piece in pieces:
        values = piece.get(column)
        yield np.full(len(piece["id"]), "", np.str_) if values is None else np.asarray(values)
