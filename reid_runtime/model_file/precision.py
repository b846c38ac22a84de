"""In what a model computes, as fields: the kind of numbers, the kind of engine it was made for, and how it was made."""

from dataclasses import dataclass
from typing import Literal, get_args

from reid_runtime.errors import ContractError

Kind = Literal["float32", "float16", "bfloat16", "int8"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TargetEngine = Literal["cpu", "tensorrt"]
_ENGINES: tuple[TargetEngine, ...] = get_args(TargetEngine)


@dataclass(frozen=True)
class Precision:
    """What a model's numbers are rounded to. `str` shows it to people; nothing reads that text back."""

    kind: Kind = "float32"
    engine: TargetEngine | None = None
    """The kind of engine that the integers of an INT8 file are made for; None where one file serves all."""
    scheme: str | None = None
    """How: layers left in float32, the quantisation, what it was calibrated on. For people."""

    def __str__(self) -> str:
        details = ": ".join(part for part in (self.engine, self.scheme) if part)
        return f"{self.kind} ({details})" if details else self.kind


def from_version_1(text: str, source: str) -> Precision:
    """The precision in a contract of version 1, a text such as `int8 (cpu: u8s8, 7-bit weights)`.

    Raises ContractError, naming `source`, for a kind of numbers that is none of KINDS.
    """
    word, _, details = text.partition(" ")
    for kind in KINDS:
        if word == kind:
            details = details.strip().removeprefix("(").removesuffix(")")
            first, _, scheme = details.partition(": ")
            for engine in _ENGINES:
                if first == engine:
                    return Precision(kind, engine, scheme or None)
            return Precision(kind, None, details or None)
    raise ContractError(f"{source}: no precision is called {word!r}; known: {', '.join(KINDS)}")
