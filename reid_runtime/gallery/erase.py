"""Forgetting: a person's rows go, then what is left of them in the file's pages and in the log of writes.

`secure_delete` overwrites what is deleted, but SQLite may have moved a row from one page to another before, and the
write-ahead log holds pages as they were. So the file is written anew (`VACUUM`) and the log is emptied. Between the
two steps the gallery says that this is still to be done, and the next writer does it: a killed process leaves nothing.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from sqlite3 import Connection

from reid_runtime.errors import StorageError
from reid_runtime.gallery.database import ERASE_PENDING, Database, chunks, log, set_state, storage_errors


class ErasurePendingError(StorageError):
    """What was forgotten answers no more, and is still in the log of writes, which another process holds open."""


@dataclass(frozen=True)
class Export:
    """Something that was written out of a gallery, and that forgetting cannot reach."""

    time: float
    """Seconds since 1970."""
    kind: str
    """`embeddings`, `page` or `search`."""
    path: str
    crops: int
    forgotten: int
    """How many of its people have been forgotten since, as a whole or in part."""


@dataclass(frozen=True)
class Forgotten:
    """What is gone, and what of it was written elsewhere before."""

    people: int
    crops: int
    exports: tuple[Export, ...] = ()
    """Files that were made while these people were in the gallery: they are not touched."""


def forget_people(database: Database, names: tuple[str, ...]) -> Forgotten:
    """As `Gallery.forget`."""

    def crops(connection: Connection) -> list[int]:
        numbers: list[int] = []
        for name in names:
            row = connection.execute("SELECT id FROM person WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise StorageError(f"{database.path} has nobody of the name {name!r}; nothing was forgotten")
            numbers += (each for (each,) in connection.execute("SELECT crop.id FROM crop WHERE person = ?", row))
        return numbers

    return erase(database, crops, "forget")


def forget_expired(database: Database, now: float | None = None) -> Forgotten:
    """As `Gallery.forget_expired`."""
    moment, sql = time.time() if now is None else now, "SELECT id FROM crop WHERE expires <= ?"
    if not database.rows(f"{sql} LIMIT 1", (moment,)):
        finish_erasure(database)
        return Forgotten(0, 0)
    return erase(database, lambda connection: [each for (each,) in connection.execute(sql, (moment,))], "expire")


def list_exports(database: Database) -> tuple[Export, ...]:
    """What was written out of the gallery, first to last."""
    return tuple(export for _, export in _exports(database))


def record_export(database: Database, kind: str, path: str, people: Collection[str], crops: int) -> None:
    """Note that a file is about to be written, and of whom; before it is, so that none is missing."""
    with database.transaction() as connection:
        number = connection.execute(
            "INSERT INTO export (time, kind, path, crops) VALUES (?, ?, ?, ?)", (time.time(), kind, path, crops)
        ).lastrowid
        connection.executemany(
            "INSERT INTO export_person SELECT ?, id FROM person WHERE name = ?", [(number, name) for name in people]
        )


def finish_erasure(database: Database) -> None:
    """Do what is left of an earlier forgetting; nothing where it was finished."""
    if not database.state(ERASE_PENDING):
        return
    with database.lock, storage_errors(database.path):
        database.connection.execute("VACUUM")
        busy = database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise ErasurePendingError(
            f"{database.path}: what was forgotten answers no more, but a process that reads keeps the log of writes, "
            "which still holds it; end that process, then `reid-runtime gallery forget --expired` finishes this"
        )
    with database.transaction() as connection:
        set_state(connection, ERASE_PENDING, 0)


def erase(database: Database, choose: Callable[[Connection], list[int]], action: str) -> Forgotten:
    """Forget the crops that `choose` finds, by their numbers, and people of whom none is left."""
    touched: dict[int, int] = {}
    with database.transaction() as connection:
        crops = choose(connection)
        people: set[int] = set()
        for marks, part in chunks(crops):
            people.update(p for (p,) in connection.execute(f"SELECT person FROM crop WHERE id IN ({marks})", part))
            # Rows that refer to a crop go with it.
            connection.execute(f"DELETE FROM crop WHERE id IN ({marks})", part)
        for marks, part in chunks(sorted(people)):
            for (export,) in connection.execute(f"SELECT export FROM export_person WHERE person IN ({marks})", part):
                touched[export] = touched.get(export, 0) + 1
        for export, count in touched.items():
            connection.execute("UPDATE export SET forgotten = forgotten + ? WHERE id = ?", (count, export))
        gone = connection.execute("DELETE FROM person WHERE id NOT IN (SELECT person FROM crop)").rowcount
        set_state(connection, ERASE_PENDING, 1)
        log(connection, action, gone, len(crops))
    finish_erasure(database)
    return Forgotten(gone, len(crops), tuple(each for number, each in _exports(database) if number in touched))


def _exports(database: Database) -> list[tuple[int, Export]]:
    rows = database.rows("SELECT id, time, kind, path, crops, forgotten FROM export ORDER BY id")
    return [(row[0], Export(*row[1:])) for row in rows]
