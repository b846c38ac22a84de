"""JSON into frozen dataclasses, by their annotations: nothing is guessed, and no field is missing or unknown."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Rules = Mapping[Any, Callable[[Any, str], Any]]
"""Types that are not read by their annotations: what makes one of a JSON value and its path."""

_NO_RULES: Rules = {}
_SHOWN = 80
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class DecodeError(ValueError):
    """A value is not what its type says; the message begins with the value's path."""


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """`object_pairs_hook` for json.loads; DecodeError for a key that comes twice, of which readers keep either one."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DecodeError(f"{next(key for key in keys if keys.count(key) > 1)!r} is stated twice")
    return values


def decode(kind: Any, value: Any, path: str, rules: Rules = _NO_RULES) -> Any:
    """A value of json.loads as the annotation `kind` asks for; `path` names it in the DecodeError for any other."""
    if kind in rules:
        return rules[kind](value, path)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind)
        if value.keys() != kinds.keys():
            unknown, missing = sorted(value.keys() - kinds.keys()), sorted(kinds.keys() - value.keys())
            raise DecodeError(f"{path} has unknown fields {unknown} and lacks {missing}")
        return kind(**{name: decode(kinds[name], item, f"{path}.{name}", rules) for name, item in value.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        kinds_of_items = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(kinds_of_items) == len(value):
            pairs = zip(kinds_of_items, value, strict=True)
            return tuple(decode(item_kind, item, path, rules) for item_kind, item in pairs)
    elif origin is Mapping and isinstance(value, dict):
        return {name: decode(arguments[1], item, f"{path}.{name}", rules) for name, item in value.items()}
    elif origin in (Union, UnionType) and NoneType in arguments:
        return None if value is None else decode(arguments[0], value, path, rules)
    elif origin is Literal and value in arguments:
        return value
    elif kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    elif type(value) is kind:
        return value
    found = repr(value)
    raise DecodeError(
        f"{path}: expected {_words(kind)}, found {found if len(found) <= _SHOWN else found[:_SHOWN] + '...'}"
    )


def _words(kind: Any) -> str:
    """What a value of this type is in JSON."""
    if kind in _WORDS:
        return _WORDS[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        count = "" if arguments[-1] is ... else f" of {len(arguments)}"
        return f"a list{count}, each {_words(arguments[0])}"
    return f"null or {_words(arguments[0])}" if NoneType in arguments else "an object"
