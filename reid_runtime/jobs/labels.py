"""Who and which camera: strings where vectors are kept, integers where they are scored; the one border between them."""

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import StorageError

Texts = npt.NDArray[np.str_]
Integers = npt.NDArray[np.int64]

ROLES = {"junk": -1, "distractor": 0}
"""What a row may be that is of no identity, and the identity by which earlier files and `scoring.labels` know it: that
room, which embedding has no use for, is not imported for two numbers.
"""

_PERSON = re.compile(r"[1-9][0-9]{0,17}")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


def text_labels(identities: Integers, cameras: Integers) -> dict[str, Texts]:
    """The columns `identity`, `camera` and `role` for the (N,) integers of a data set, or of earlier files."""
    roles = np.full(len(identities), "", np.dtype("<U10"))
    for role, integer in ROLES.items():
        roles[identities == integer] = role
    texts = {"identity": identities.astype(np.str_), "camera": cameras.astype(np.str_), "role": roles}
    texts["identity"][roles != ""] = ""
    return texts


def named_labels(
    identities: Integers, cameras: Integers, identity: Callable[[int], str], camera: Callable[[int], str]
) -> dict[str, Texts]:
    """As `text_labels`, under the names that a data set gives its people and cameras."""
    labels = text_labels(identities, cameras)
    people = np.array([identity(number) for number in identities.tolist()], np.str_)
    named = {"identity": np.where(labels["role"] == "", people, "")}
    return labels | named | {"camera": np.array([camera(number) for number in cameras.tolist()], np.str_)}


def integer_labels(ids: Texts, identity: Texts, camera: Texts, role: Texts | None) -> tuple[Integers, Integers]:
    """(N,) identities and (N,) cameras as scores take them, of a table's columns; StorageError where one is unknown.

    Labels that are integers stay what they are, all others are numbered in their order from 1; the integers of
    equal labels are equal within one table only.
    """
    roles = np.full(len(ids), "") if role is None else role
    for name, unknown, more in (
        ("identity", (identity == "") & (roles == ""), ", or the role junk or distractor"),
        ("camera", camera == "", ""),
    ):
        if unknown.any():
            raise StorageError(
                f"{unknown.sum()} of {len(ids)} rows have no {name}, the first is {ids[unknown.argmax()]}; expected "
                f"one in every row{more}"
            )
    identities = _integers(identity, _PERSON)
    for name, integer in ROLES.items():
        identities[roles == name] = integer
    return identities, _integers(camera, _INTEGER)


def _integers(texts: Texts, pattern: re.Pattern[str]) -> Integers:
    distinct, rows = np.unique(texts, return_inverse=True)
    names: list[str] = distinct.tolist()
    if all(not name or pattern.fullmatch(name) for name in names):
        return np.array([int(name or 0) for name in names], np.int64)[rows]
    return rows.astype(np.int64) + 1
