"""The contract: what a model promises, as one versioned JSON that travels inside the model file.

It decides how pictures are prepared and which vectors may be compared. Unknown fields and other versions are
refused: a runtime that skipped what it does not understand would give wrong vectors without an error.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from reid_runtime.errors import ContractError
from reid_runtime.resize import FixedSize, LongestSide, ResizeRule

VERSION = 1
METADATA_KEY = "reid_runtime.contract"
"""The key of an ONNX file's metadata under which the JSON lies."""


@dataclass(frozen=True)
class TrainedOn:
    """What the weights have seen, and the terms under which they may be used."""

    data: str
    terms: str
    identities: int
    crops: int


@dataclass(frozen=True)
class Score:
    """A reference score, measured through this very graph; fractions, not percent."""

    dataset: str
    protocol: str
    rank_1: float
    map_finite_sum: float
    map_trapezoid: float


@dataclass(frozen=True)
class InputFormat:
    """How a model wants its pixels: value v of 0 to 255 goes in as (v * scale - mean) / deviation.

    The defaults are our own graphs', which do all of that inside; a model of others states its own.
    """

    layout: Literal["NHWC", "NCHW"] = "NHWC"
    dtype: Literal["uint8", "float32"] = "uint8"
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Contract:
    """What a model promises. `resize` prepares the picture; `contract_id` says which vectors are comparable."""

    name: str
    resize: LongestSide | FixedSize
    input: InputFormat
    unit_output: bool
    """Whether the graph's own output has unit length; where not, the runtime divides by the norm."""
    dimension: int
    metric: str
    weights: str
    """Digest of the float32 root's weights, `sha256:…`; derived models keep it."""
    graph: str
    """The recipe of the graph around the weights: input, normalisation, pooling, output."""
    precision: str
    trained_on: tuple[TrainedOn, ...]
    scores: tuple[Score, ...] = ()
    parent: str | None = None
    """The `artefact_id` of the model this one was derived from, None for a float32 root."""
    drift: Mapping[str, float] | None = None
    """The measured difference from the parent."""

    @property
    def contract_id(self) -> str:
        """The embedding space's name: 16 hexadecimal digits from weights, resize, input and graph."""
        fixed = {
            "graph": self.graph,
            "input": asdict(self.input),
            "resize": _resize_to_json(self.resize),
            "weights": self.weights,
        }
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """The JSON text, keys sorted."""
        values = asdict(self) | {"version": VERSION, "resize": _resize_to_json(self.resize)}
        return json.dumps(values, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> "Contract":
        """The contract in a JSON text; raises ContractError, naming `source`, for anything it does not know."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ContractError(f"{source}: the contract is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ContractError(f"{source}: expected a JSON object as contract, found {type(values).__name__}")
        version = values.pop("version", None)
        if version != VERSION:
            raise ContractError(
                f"{source}: the contract's version is {version!r}, this release reads version {VERSION}: "
                "export the model again, or install the release that wrote it"
            )
        checked = _known(cls, values, source)
        checked["resize"] = _resize_from_json(checked["resize"], source)
        checked["input"] = _input_from_json(checked["input"], source)
        checked["trained_on"] = tuple(TrainedOn(**_known(TrainedOn, item, source)) for item in checked["trained_on"])
        checked["scores"] = tuple(Score(**_known(Score, item, source)) for item in checked["scores"])
        contract = cls(**checked)
        if contract.dimension < 1 or contract.metric != "cosine":
            raise ContractError(f"{source}: expected a positive dimension and metric 'cosine', found {text}")
        return contract


def _known(kind: type, values: Any, source: str) -> dict[str, Any]:
    """The values, if they are exactly the kind's fields."""
    names = {field.name for field in fields(kind)}
    found = set(values) if isinstance(values, dict) else set()
    if found != names:
        unknown, missing = sorted(found - names), sorted(names - found)
        raise ContractError(f"{source}: {kind.__name__} has unknown fields {unknown} and lacks {missing}")
    return dict(values)


def _input_from_json(values: Any, source: str) -> InputFormat:
    known = _known(InputFormat, values, source)
    mean, deviation = tuple(known.pop("mean")), tuple(known.pop("deviation"))
    found = InputFormat(mean=mean, deviation=deviation, **known)
    if (
        found.layout not in ("NHWC", "NCHW")
        or found.dtype not in ("uint8", "float32")
        or found.colour not in ("rgb", "bgr")
        or len(mean) != 3
        or len(deviation) != 3
        or 0 in deviation
    ):
        raise ContractError(
            f"{source}: expected layout NHWC or NCHW, dtype uint8 or float32, colour rgb or bgr, three means and three "
            f"deviations other than 0, found {values!r}"
        )
    return found


def _resize_to_json(rule: ResizeRule) -> dict[str, Any]:
    match rule:
        case LongestSide(size):
            return {"rule": "longest-side", "size": size, "filter": "bilinear"}
        case FixedSize(height, width):
            return {"rule": "fixed", "height": height, "width": width, "filter": "bilinear"}
    raise ContractError(f"no name is defined for the resize rule {rule!r}")


def _resize_from_json(values: Any, source: str) -> LongestSide | FixedSize:
    match values:
        case {"rule": "longest-side", "size": int(size), "filter": "bilinear", **rest} if size > 0 and not rest:
            return LongestSide(size)
        case {"rule": "fixed", "height": int(height), "width": int(width), "filter": "bilinear", **rest} if (
            height > 0 and width > 0 and not rest
        ):
            return FixedSize(height, width)
    raise ContractError(f"{source}: expected a longest-side or fixed bilinear resize rule, found {values!r}")
