"""Things that a recipe names: looked up by name, with the nearest name where there is none."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from reid_runtime.errors import ReidRuntimeError

Entry = TypeVar("Entry")


def look_up(entries: Mapping[str, Entry], name: str, kind: str, error: type[ReidRuntimeError], more: str = "") -> Entry:
    """The entry of that name; raises `error`, with the nearest name, where there is none.

    `kind` says what the entries are, `more` which names are valid besides.
    """
    if name not in entries:
        raise error(f"no {kind} is called {name!r}; {suggestion(name, entries, more)}")
    return entries[name]


def suggestion(name: str, names: Iterable[str], more: str = "") -> str:
    """What an error adds about a name that does not exist: the nearest one that does, or all."""
    names = list(names)
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(names)}{more}"
