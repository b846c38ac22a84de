"""A gallery into another model's embedding space: its kept crops are embedded again, and everybody switches at once."""

from collections.abc import Callable
from dataclasses import dataclass
from sqlite3 import Connection
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reid_runtime.batching import WINDOW
from reid_runtime.errors import StorageError
from reid_runtime.gallery.crops import checksum
from reid_runtime.gallery.database import Database, add_space
from reid_runtime.gallery.erase import ErasurePendingError, erase
from reid_runtime.io.text import counted
from reid_runtime.jobs.embeddings import Embeddings
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

if TYPE_CHECKING:
    from reid_runtime.embedder import Embedder

_SHOWN = 10
_BLOCK = 1024
"""People whose similarities to all others are held at once."""
_WITHOUT = "SELECT crop.id, name FROM crop LEFT JOIN image ON image.crop = crop.id WHERE image.crop IS NULL"
_TO_DO = (
    "SELECT image.crop, name, jpeg FROM image JOIN crop ON crop.id = image.crop WHERE image.crop NOT IN "
    "(SELECT crop FROM vector WHERE space = ?) ORDER BY image.crop LIMIT ?"
)


@dataclass(frozen=True)
class NeighbourChange:
    """A person whose most similar other person is another one in the new space."""

    person: str
    before: str
    after: str
    similarity_before: float
    """Cosine of the two people's mean vectors."""
    similarity_after: float


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade did."""

    before: str
    """The contract id of the old space."""
    after: str
    crops: int
    """Crops that are in the new space."""
    left_out: int
    """Crops that were forgotten, because only their vector was kept."""
    people: int
    """People who are in both spaces, and were compared."""
    changed: tuple[NeighbourChange, ...]


class MissingCropsError(StorageError):
    """Crops that cannot be embedded again, because only their vectors were kept; `names` has all their ids."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        super().__init__(message)
        self.names = names


class _NotReadyError(Exception):
    """Another writer has added crops since the last ones were embedded."""


def upgrade_database(
    database: Database, embedder: "Embedder", before: Embeddings, after: Callable[[], Embeddings], leave_out: bool
) -> Upgraded:
    """As `Gallery.upgrade`; `before` and `after()` are the gallery's rows in the two spaces."""
    contract_id = embedder.contract.contract_id
    if contract_id == before.contract_id:
        raise StorageError(f"{database.path} is in the space {contract_id} already")
    if not leave_out:
        _check_images(database)
    with database.transaction() as connection:
        add_space(connection, embedder.contract, embedder.artefact_id, current=False)
        space, artefact = connection.execute(
            "SELECT id, artefact_id FROM space WHERE contract_id = ?", (contract_id,)
        ).fetchone()
        if artefact != embedder.artefact_id:  # begun with another file of the space: vectors of one upgrade are of one
            connection.execute("DELETE FROM vector WHERE space = ?", (space,))
            connection.execute("UPDATE space SET artefact_id = ? WHERE id = ?", (embedder.artefact_id, space))
    while True:
        _embed(database, embedder, space)
        try:
            gone = erase(database, lambda connection: _switch(connection, space, leave_out), "upgrade").crops
        except _NotReadyError:
            if not leave_out:
                _check_images(database)
            continue
        except ErasurePendingError:  # switched; the old vectors' bytes are the next writer's
            gone = len(before) - len(after())
        break
    rows = after()
    people, changed = _changed_neighbours(before, rows)
    return Upgraded(before.contract_id, contract_id, len(rows), gone, people, changed)


def _check_images(database: Database) -> None:
    names = tuple(name for _, name in database.rows(_WITHOUT))
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise MissingCropsError(
            f"no_image: {counted(len(names), 'crop was', 'crops were')} added as vectors alone and cannot be embedded "
            f"again: {', '.join(names[:_SHOWN])}{more}; forget them, or pass --leave-out; nothing has changed",
            names,
        )


def _embed(database: Database, embedder: "Embedder", space: int) -> None:
    """Vectors in the new space for all kept crops that have none; each window is on disk when it is done."""
    while rows := database.rows(_TO_DO, (space, WINDOW)):
        vectors = []
        for result, (_, name, _) in zip(embedder.stream([row[2] for row in rows]), rows, strict=True):
            if result.vector is None:
                raise StorageError(
                    f"{database.path}: the kept crop of {name} cannot be read: {result.error}; nothing has changed"
                )
            vectors.append(np.ascontiguousarray(result.vector, "<f4").tobytes())
        with database.transaction() as connection:
            # One that was forgotten meanwhile gets none.
            connection.executemany(
                "INSERT OR IGNORE INTO vector (space, crop, embedding, digest) "
                "SELECT ?, id, ?, ? FROM crop WHERE id = ?",
                [(space, vector, checksum(vector), row[0]) for vector, row in zip(vectors, rows, strict=True)],
            )


def _switch(connection: Connection, space: int, leave_out: bool) -> list[int]:
    """Make the space the current one, and the only one; gives the crops that are not in it, which are to go."""
    without = [number for number, _ in connection.execute(_WITHOUT)]
    if connection.execute(_TO_DO, (space, 1)).fetchone() or (without and not leave_out):
        raise _NotReadyError
    connection.execute("DELETE FROM vector WHERE space != ?", (space,))
    connection.execute("DELETE FROM space WHERE id != ?", (space,))
    connection.execute("UPDATE space SET current = 1 WHERE id = ?", (space,))
    return without


def _changed_neighbours(before: Embeddings, after: Embeddings) -> tuple[int, tuple[NeighbourChange, ...]]:
    """How many people are in both tables, and those whose most similar other person differs."""
    names = np.intersect1d(_identities(before), _identities(after))
    if len(names) < 2:
        return len(names), ()
    first, first_similarity = _neighbours(_means(before, names))
    second, second_similarity = _neighbours(_means(after, names))
    return len(names), tuple(
        NeighbourChange(
            str(names[row]),
            str(names[first[row]]),
            str(names[second[row]]),
            float(first_similarity[row]),
            float(second_similarity[row]),
        )
        for row in np.flatnonzero(first != second)
    )


def _identities(rows: Embeddings) -> npt.NDArray[np.str_]:
    return np.array([], np.str_) if rows.identity is None else rows.identity


def _means(rows: Embeddings, names: npt.NDArray[np.str_]) -> Vectors:
    """(P, D) the mean vector of each person, of unit length."""
    identities = _identities(rows)
    chosen = np.flatnonzero(np.isin(identities, names))
    sums = np.zeros((len(names), rows.embedding.shape[1]), np.float32)
    np.add.at(sums, np.searchsorted(names, identities[chosen]), rows.embedding[chosen])
    return normalise(sums, "mean")


def _neighbours(means: Vectors) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(P,) the most similar other row, and (P,) its cosine."""
    nearest = np.empty(len(means), np.int64)
    similarity = np.empty(len(means), np.float32)
    for start in range(0, len(means), _BLOCK):
        part = means[start : start + _BLOCK] @ means.T
        rows = np.arange(len(part))
        part[rows, start + rows] = -np.inf
        nearest[start : start + _BLOCK] = part.argmax(axis=1)
        similarity[start : start + _BLOCK] = part.max(axis=1)
    return nearest, similarity
