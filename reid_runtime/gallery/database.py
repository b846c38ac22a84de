"""The gallery's one SQLite file: its tables, how it is opened, and transactions that are on disk or never were.

Every connection has `secure_delete` on, so that SQLite overwrites what it deletes, and `synchronous` full, so that
what a call has acknowledged is on disk. The journal is a write-ahead log: readers never wait for a writer.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reid_runtime.errors import OptionsError, StorageError
from reid_runtime.model_file.contract import Contract

APPLICATION_ID = 0x52654964
"""In the header of every gallery, as SQLite has it for telling its files apart; the letters ReId."""
FORMAT = 1
PATIENCE = 30.0
"""Seconds that a writer waits for another one."""
ERASE_PENDING, CHANGES, POLICY = "erase_pending", "changes", "policy"
"""What `state` holds: whether a deletion has still to reach the file's bytes, the number of writes, what is taken."""

_SCHEMA = """
CREATE TABLE state (name TEXT PRIMARY KEY, value NOT NULL);
CREATE TABLE space (
    id INTEGER PRIMARY KEY AUTOINCREMENT, contract_id TEXT NOT NULL UNIQUE, contract TEXT NOT NULL,
    artefact_id TEXT NOT NULL, current INTEGER NOT NULL
);
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE crop (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES person, name TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL, camera TEXT NOT NULL, track TEXT NOT NULL, time REAL, quality REAL, reasons TEXT,
    width INTEGER NOT NULL, height INTEGER NOT NULL, origin TEXT NOT NULL, added REAL NOT NULL, expires REAL
);
CREATE INDEX crop_person ON crop (person);
CREATE INDEX crop_content ON crop (content);
CREATE INDEX crop_expires ON crop (expires) WHERE expires IS NOT NULL;
CREATE TABLE image (
    crop INTEGER PRIMARY KEY REFERENCES crop ON DELETE CASCADE, jpeg BLOB NOT NULL, digest BLOB NOT NULL
);
CREATE TABLE vector (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL REFERENCES space,
    crop INTEGER NOT NULL REFERENCES crop ON DELETE CASCADE, embedding BLOB NOT NULL, digest BLOB NOT NULL,
    UNIQUE (space, crop)
);
CREATE INDEX vector_crop ON vector (crop);
CREATE TABLE export (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL,
    crops INTEGER NOT NULL, forgotten INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE export_person (
    export INTEGER NOT NULL REFERENCES export, person INTEGER NOT NULL REFERENCES person ON DELETE CASCADE,
    PRIMARY KEY (export, person)
) WITHOUT ROWID;
CREATE INDEX export_person_person ON export_person (person);
CREATE TABLE log (time REAL NOT NULL, action TEXT NOT NULL, people INTEGER NOT NULL, crops INTEGER NOT NULL);
"""
"""`export_person` and everything else that names a person goes with the person; `log` and `export` name none."""


class Database:
    """A connection to one gallery, which threads may share; each call holds it alone."""

    def __init__(self, path: Path, connection: sqlite3.Connection, read_only: bool) -> None:
        """Use `open_database` or `create_database`."""
        self.path, self.connection, self.read_only = path, connection, read_only
        self.lock = threading.RLock()

    def close(self) -> None:
        """Close the connection; the last one of all empties the write-ahead log into the file."""
        with self.lock:
            self.connection.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, each a tuple; raises StorageError."""
        with self.lock, storage_errors(self.path):
            return self.connection.execute(sql, values).fetchall()

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row; None where there is no row."""
        rows = self.rows(sql, values)
        return rows[0][0] if rows else None

    def state(self, name: str) -> Any:
        """One value of the table `state`; None where it is not there."""
        return self.value("SELECT value FROM state WHERE name = ?", (name,))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read in the block is of one moment, whoever writes meanwhile."""
        with self.lock:
            self.rows("BEGIN")
            try:
                yield
            finally:
                self.rows("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is written in the block is on disk when it ends; none of it is where it raises, or the process dies."""
        if self.read_only:
            raise StorageError(f"{self.path} is open for reading only; open it with read_only=False")
        with self.lock, storage_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("UPDATE state SET value = value + 1 WHERE name = ?", (CHANGES,))
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk has rolled it back already
                    self.connection.execute("ROLLBACK")
                raise


def set_state(connection: sqlite3.Connection, name: str, value: object) -> None:
    """Write one value of the table `state`, within a transaction."""
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))


def log(connection: sqlite3.Connection, action: str, people: int, crops: int) -> None:
    """Note what was done and to how many, never to whom."""
    connection.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (time.time(), action, people, crops))


def create_database(path: Path, contract: Contract, artefact_id: str, policy: str) -> Database:
    """A new gallery, or one that another process has made meanwhile; StorageError where a file is in the way."""
    database = _connect(path, "rwc")
    with storage_errors(path):
        database.connection.execute("PRAGMA journal_mode = WAL")
        database.connection.execute("BEGIN IMMEDIATE")
        if _header(database.connection) == (0, 0, 0):
            for statement in _SCHEMA.split(";"):
                database.connection.execute(statement)
            database.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.connection.execute(f"PRAGMA user_version = {FORMAT}")
            for name, value in ((CHANGES, 0), (ERASE_PENDING, 0), (POLICY, policy)):
                set_state(database.connection, name, value)
            add_space(database.connection, contract, artefact_id, current=True)
        database.connection.execute("COMMIT")
    _check_header(database)
    return database


def open_database(path: Path, read_only: bool) -> Database:
    """A gallery that is there; StorageError for any other file."""
    if not path.is_file():
        raise StorageError(f"{path}: no such gallery; `reid-runtime gallery add` makes one")
    database = _connect(path, "ro" if read_only else "rw")
    _check_header(database)
    return database


def is_gallery(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of an SQLite file, which a gallery is."""
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except (OSError, ValueError):
        return False


def add_space(connection: sqlite3.Connection, contract: Contract, artefact_id: str, *, current: bool) -> None:
    """Make an embedding space known, within a transaction."""
    connection.execute(
        "INSERT OR IGNORE INTO space (contract_id, contract, artefact_id, current) VALUES (?, ?, ?, ?)",
        (contract.contract_id, contract.to_json(), artefact_id, int(current)),
    )


def chunks(values: Sequence[int], size: int = 500) -> Iterable[tuple[str, Sequence[int]]]:
    """Placeholders and values for `IN (...)`, of which SQLite takes so many at once."""
    for start in range(0, len(values), size):
        part = values[start : start + size]
        yield ",".join("?" * len(part)), part


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """SQLite's errors as StorageError, reason first."""
    try:
        yield
    except sqlite3.OperationalError as error:
        reason = str(error)
        if "locked" in reason or "busy" in reason:
            reason = f"another process has been writing for {PATIENCE:.0f} s; try again"
        elif "full" in reason:
            reason = "the disk is full; nothing of this call was kept, all before it was"
        raise StorageError(f"{path}: {reason}") from error
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{path} is damaged, or no gallery: {error}; see `reid-runtime gallery check`") from error


def _connect(path: Path, mode: str) -> Database:
    if os.path.isdir(path):
        raise StorageError(f"{path} is a folder; expected the file of a gallery")
    uri = f"file:{quote(os.path.abspath(path))}?mode={mode}"
    if mode == "ro" and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        uri += "&immutable=1"  # else even a reader makes the log's index beside the file
    with storage_errors(path):
        connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        for pragma in ("secure_delete = ON", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
    return Database(path, connection, mode == "ro")


def _header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    pragmas = ("application_id", "user_version", "schema_version")
    first, second, third = (int(connection.execute(f"PRAGMA {pragma}").fetchone()[0]) for pragma in pragmas)
    return first, second, third


def _check_header(database: Database) -> None:
    try:
        with storage_errors(database.path):
            application, version, _ = _header(database.connection)
        if application != APPLICATION_ID:
            raise StorageError(f"{database.path} is no gallery: another program's SQLite file, or an empty one")
        if version != FORMAT:
            raise OptionsError(
                f"{database.path} is a gallery of format {version}, this version reads {FORMAT}: install one that does"
            )
    except BaseException:
        database.close()
        raise
