"""Reading all of a gallery's file: is every row whole, and is anything still to be done?"""

import time
from dataclasses import dataclass

import numpy as np

from reid_runtime.errors import ContractError, StorageError
from reid_runtime.gallery.crops import checksum
from reid_runtime.gallery.database import ERASE_PENDING, Database
from reid_runtime.gallery.erase import list_exports
from reid_runtime.io.text import counted
from reid_runtime.model_file.contract import Contract
from reid_runtime.vectors import UNIT_TOLERANCE

_SHOWN = 10
_BLOCK = 4096
"""Rows that are read at once."""


@dataclass(frozen=True)
class CheckResult:
    """What reading all of a gallery has shown."""

    problems: tuple[str, ...]
    """What is damaged, a sentence each; empty where the file is whole. Where SQLite cannot read it, nothing else is
    said.
    """
    people: int = 0
    crops: int = 0
    images: int = 0
    """Crops of which the image is kept."""
    contract_id: str = ""
    expired: int = 0
    """Crops whose time has passed and that are in the file until it is next opened for writing."""
    erasure_pending: bool = False
    """Whether bytes of something forgotten may still be in the file or its log of writes."""
    upgrading_to: str = ""
    """The contract id of an upgrade that was begun and not finished; empty where there is none."""
    shared_content: tuple[tuple[str, ...], ...] = ()
    """Groups of ids that have the same content and not the same person."""
    exports: int = 0


def check_database(database: Database) -> CheckResult:
    """As `Gallery.check`."""
    try:
        problems = [f"SQLite: {text}" for (text,) in database.rows("PRAGMA integrity_check(10)") if text != "ok"]
    except StorageError as error:
        problems = [str(error)]
    if problems:  # the rows of a damaged tree say nothing
        return CheckResult(tuple(problems))
    problems += [f"a row of {row[0]} refers to a missing {row[2]}" for row in database.rows("PRAGMA foreign_key_check")]
    problems += _vectors(database) + _images(database)
    missing = database.value(
        "SELECT COUNT(*) FROM crop WHERE id NOT IN (SELECT crop FROM vector WHERE space = "
        "(SELECT id FROM space WHERE current))"
    )
    if missing:
        problems.append(f"{counted(missing, 'crop has', 'crops have')} no vector of the current model")
    shared = database.rows(
        "SELECT content FROM crop GROUP BY content HAVING COUNT(DISTINCT person) > 1 ORDER BY MIN(id)"
    )
    return CheckResult(
        problems=tuple(problems),
        people=database.value("SELECT COUNT(*) FROM person"),
        crops=database.value("SELECT COUNT(*) FROM crop"),
        images=database.value("SELECT COUNT(*) FROM image"),
        contract_id=database.value("SELECT contract_id FROM space WHERE current"),
        expired=database.value("SELECT COUNT(*) FROM crop WHERE expires <= ?", (time.time(),)),
        erasure_pending=bool(database.state(ERASE_PENDING)),
        upgrading_to=database.value("SELECT contract_id FROM space WHERE NOT current ORDER BY id DESC") or "",
        shared_content=tuple(
            tuple(name for (name,) in database.rows("SELECT name FROM crop WHERE content = ? ORDER BY id", row))
            for row in shared
        ),
        exports=len(list_exports(database)),
    )


def _vectors(database: Database) -> list[str]:
    problems, after = [], 0
    dimensions: dict[int, int] = {}
    for number, contract_id, text in database.rows("SELECT id, contract_id, contract FROM space"):
        try:
            contract = Contract.from_json(text, str(database.path))
        except (ContractError, StorageError) as error:
            return [str(error)]
        if contract.contract_id != contract_id:
            problems.append(f"the contract of {contract_id} is one of {contract.contract_id}")
        dimensions[number] = contract.dimension
    while rows := database.rows(
        "SELECT vector.id, name, space, embedding, digest FROM vector JOIN crop ON crop.id = crop "
        "WHERE vector.id > ? ORDER BY vector.id LIMIT ?",
        (after, _BLOCK),
    ):
        after = rows[-1][0]
        for _, name, space, embedding, digest in rows:
            if checksum(embedding) != digest or len(embedding) != 4 * dimensions[space]:
                problems.append(f"the vector of {name} is not what was written")
            elif not abs(np.linalg.norm(np.frombuffer(embedding, "<f4")) - 1) <= UNIT_TOLERANCE:
                problems.append(f"the vector of {name} is not of unit length")
    return _first(problems)


def _images(database: Database) -> list[str]:
    problems, after = [], 0
    while rows := database.rows(
        "SELECT crop, name, jpeg, digest FROM image JOIN crop ON crop.id = crop WHERE crop > ? ORDER BY crop LIMIT ?",
        (after, _BLOCK),
    ):
        after = rows[-1][0]
        problems += [
            f"the crop of {name} is not what was written" for _, name, jpeg, digest in rows if checksum(jpeg) != digest
        ]
    return _first(problems)


def _first(problems: list[str]) -> list[str]:
    more = len(problems) - _SHOWN
    return problems if more <= 0 else [*problems[:_SHOWN], f"and {more} more"]
