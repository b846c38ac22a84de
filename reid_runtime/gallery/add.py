"""Crops into a gallery: what is refused and why, and the rows of those that are taken."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

import numpy as np

from reid_runtime.errors import StorageError
from reid_runtime.gallery.crops import CropImage, checksum, content_digest
from reid_runtime.gallery.database import POLICY, Database
from reid_runtime.gallery.policy import NAME_TAKEN, NO_PERSON, NO_VECTOR, AdmissionPolicy
from reid_runtime.jobs.embeddings import Embeddings

_CROP = (
    "INSERT INTO crop (person, name, content, camera, track, time, quality, reasons, width, height, origin, added, "
    "expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Refused:
    """A crop that was not taken."""

    id: str
    codes: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Added:
    """What became of the crops of one call."""

    added: tuple[str, ...] = ()
    """Ids of the crops that are in the gallery now and were not before."""
    known: tuple[str, ...] = ()
    """Ids of crops that were there already: the same id, person and content."""
    refused: tuple[Refused, ...] = ()
    same_content: tuple[tuple[str, str, str], ...] = ()
    """(id, another crop's id, whose it is): added, though its content is there under another name."""

    def __add__(self, other: "Added") -> "Added":
        return Added(
            self.added + other.added,
            self.known + other.known,
            self.refused + other.refused,
            self.same_content + other.same_content,
        )


def add_rows(
    database: Database, rows: Embeddings, images: Sequence[CropImage | None], origin: str, expires: float | None
) -> Added:
    """As `Gallery.add`."""
    if images and len(images) != len(rows):
        raise StorageError(f"expected an image, or None, for each of {len(rows)} rows, found {len(images)}")
    total = Added()
    with database.transaction() as connection:
        space, contract_id = connection.execute("SELECT id, contract_id FROM space WHERE current").fetchone()
        if rows.contract_id != contract_id:
            raise StorageError(
                f"other_contract: {database.path} holds vectors of {contract_id}, these are of {rows.contract_id}: "
                "embed with the gallery's model, or move the gallery with `reid-runtime gallery upgrade --model`"
            )
        policy = AdmissionPolicy.from_json(database.state(POLICY))
        for row in range(len(rows)):
            image = images[row] if images else None
            total += _add_row(connection, space, policy, rows, row, image, origin, expires)
    return total


def _add_row(
    connection: Connection,
    space: int,
    policy: AdmissionPolicy,
    rows: Embeddings,
    row: int,
    image: CropImage | None,
    origin: str,
    expires: float | None,
) -> Added:
    name, person = str(rows.id[row]), _text(rows.identity, row)
    if rows.error[row]:
        return Added(refused=(Refused(name, (NO_VECTOR,), str(rows.error[row])),))
    if not person:
        return Added(refused=(Refused(name, (NO_PERSON,), _text(rows.role, row)),))
    quality = _number(rows.quality, row)
    codes = policy.codes(_text(rows.reasons, row), quality)
    if codes:
        return Added(refused=(Refused(name, codes),))
    vector = np.ascontiguousarray(rows.embedding[row], "<f4").tobytes()
    content = content_digest(vector) if image is None else image.content
    there = connection.execute(
        "SELECT person.name, content FROM crop JOIN person ON person.id = person WHERE crop.name = ?", (name,)
    ).fetchone()
    if there == (person, content):
        return Added(known=(name,))
    if there is not None:
        detail = f"a crop of {there[0]}" + (", with the same content" if there[1] == content else ", with another one")
        return Added(refused=(Refused(name, (NAME_TAKEN,), detail),))
    twin = connection.execute(
        "SELECT crop.name, person.name FROM crop JOIN person ON person.id = person WHERE content = ?", (content,)
    ).fetchone()
    connection.execute("INSERT OR IGNORE INTO person (name) VALUES (?)", (person,))
    number = connection.execute("SELECT id FROM person WHERE name = ?", (person,)).fetchone()[0]
    sizes = int(rows.width[row]), int(rows.height[row])
    labels = _text(rows.camera, row), _text(rows.track, row), _number(rows.time, row), quality
    reasons = None if rows.reasons is None else str(rows.reasons[row])
    crop = connection.execute(
        _CROP, (number, name, content, *labels, reasons, *sizes, origin, time.time(), expires)
    ).lastrowid
    connection.execute(
        "INSERT INTO vector (space, crop, embedding, digest) VALUES (?, ?, ?, ?)",
        (space, crop, vector, checksum(vector)),
    )
    if image is not None and image.jpeg is not None:
        connection.execute("INSERT INTO image VALUES (?, ?, ?)", (crop, image.jpeg, checksum(image.jpeg)))
    return Added((name,), same_content=() if twin is None else ((name, *twin),))


def _text(column: Any, row: int) -> str:
    return "" if column is None else str(column[row])


def _number(column: Any, row: int) -> float | None:
    return None if column is None or not np.isfinite(column[row]) else float(column[row])
