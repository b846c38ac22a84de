"""Frozen dataclasses from and to TOML and JSON tables: every key checked, every value of its type and in its range."""

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from reid_runtime.errors import ReidRuntimeError
from training.registry import suggestion

Table = TypeVar("Table")


class RecipeError(ReidRuntimeError):
    """A recipe with an unknown key, or with a value of the wrong kind or out of its range."""


@dataclass(frozen=True)
class Range:
    """What a number may be."""

    least: float
    most: float = math.inf
    above: bool = False
    """Whether `least` itself is too little."""

    def __contains__(self, number: float) -> bool:
        return self.least <= number <= self.most and not (self.above and number == self.least)

    def __str__(self) -> str:
        start = f"more than {self.least:g}" if self.above else f"{self.least:g} or more"
        return start if self.most == math.inf else f"{self.least:g} to {self.most:g}"


class NonEmpty:
    """What a name may be."""

    def __contains__(self, text: str) -> bool:
        return text != ""

    def __str__(self) -> str:
        return "a name"


Name = Annotated[str, NonEmpty()]
Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
Share = Annotated[float, Range(0, 1)]
Amount = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]


def decode(
    kind: type[Table],
    values: Any,
    source: str,
    error: type[ReidRuntimeError] = RecipeError,
    root: type | None = None,
) -> Table:
    """A frozen dataclass from plain values, as TOML and JSON have them; keys that are absent keep their defaults.

    Args:
        kind: The dataclass; its fields are booleans, numbers, strings, Literals, tuples and further dataclasses.
        values: A mapping of its fields' names.
        source: What the error names: a file, and the table in it.
        error: What is raised.
        root: The outermost table, in which a key that is unknown here may belong.

    Raises:
        error: For what is no table, unknown keys, absent ones without a default, and values that a key cannot have.
    """
    if not isinstance(values, Mapping):
        raise error(f"{source} is {values!r}, expected a table")
    hints = get_type_hints(kind, include_extras=True)
    for key in values:
        if key not in hints:
            raise error(f"{source}: unknown key {key!r}; {_where_it_belongs(key, hints, root or kind)}")
    absent = [field.name for field in dataclasses.fields(kind) if _required(field) and field.name not in values]  # type: ignore[arg-type]  # a dataclass
    if absent:
        raise error(f"{source}: lacks {', '.join(map(repr, absent))}")
    checked = {
        key: _value(hints[key], value, f"{source}: {key!r}", error, root or kind) for key, value in values.items()
    }
    return kind(**checked)


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _where_it_belongs(key: str, hints: Mapping[str, Any], root: type) -> str:
    homes = [name for name, table in _tables(root) if key in get_type_hints(table) and name]
    return f"it belongs in {' or '.join(f'[{name}]' for name in homes)}" if homes else suggestion(key, hints)


def _tables(kind: type, name: str = "") -> Iterator[tuple[str, type]]:
    yield name, kind
    for key, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _tables(hint, f"{name}.{key}".lstrip("."))  # type: ignore[arg-type]  # a class, not a value


def _value(hint: Any, value: Any, where: str, error: type[ReidRuntimeError], root: type) -> Any:
    """`value` as `hint` wants it; raises `error`."""
    kind = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, where, error, root)  # type: ignore[arg-type]  # a class, not a value
    if kind is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise error(f"{where} is {value!r}, expected {' or '.join(map(repr, get_args(hint)))}")
        return value
    if kind is Annotated:
        checked = _value(get_args(hint)[0], value, where, error, root)
        if checked not in hint.__metadata__[0]:
            raise error(f"{where} is {value!r}, expected {hint.__metadata__[0]}")
        return checked
    if kind is tuple:
        inner = get_args(hint)
        length = None if inner[-1] is Ellipsis else len(inner)
        if not isinstance(value, list | tuple) or len(value) != (length or len(value)):
            raise error(f"{where} is {value!r}, expected a list{f' of {length}' if length else ''}")
        return tuple(_value(inner[0], item, where, error, root) for item in value)
    if hint is float and type(value) in (int, float):
        # By comparison: math.isfinite raises for an integer that no float can hold.
        if not abs(value) <= sys.float_info.max:
            raise error(f"{where} is {value}, expected a finite number")
        return float(value)
    if type(value) is not hint:
        raise error(f"{where} is {value!r}, expected {hint.__name__}")
    return value


def as_plain(table: Any) -> dict[str, Any]:
    """The dataclass as JSON has it: dictionaries, lists, numbers and strings."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(table)))
    return plain


def as_toml(values: Mapping[str, Any], name: str = "") -> str:
    """Plain values as TOML, tables after the values of their own level."""
    own = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    text = "\n".join([f"[{name}]", *own] if name else own) + "\n"
    for key, value in values.items():
        if isinstance(value, Mapping):
            text += "\n" + as_toml(value, f"{name}.{key}".lstrip("."))
    return text


def differing(one: Mapping[str, Any], other: Mapping[str, Any], name: str = "") -> list[str]:
    """The dotted names of what is not equal in two sets of plain values."""
    names: list[str] = []
    for key in one:
        here, there = one[key], other.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            names += differing(here, there, f"{name}{key}.")
        elif here != there:
            names.append(f"{name}{key}")
    return names
