"""The contract: what a model promises, as one versioned JSON that travels inside the model file.

It decides how images are prepared and which vectors may be compared. Unknown fields and other versions are
refused: a runtime that skipped what it does not understand would give wrong vectors without an error.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reid_runtime.errors import ContractError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import ResizeRule, rule_from_json, rule_to_json
from reid_runtime.io.decode import DecodeError, decode, each_key_once
from reid_runtime.model_file.precision import Precision, from_version_1

VERSION = 2
"""What is written; version 1, whose precision is a text and which lacks the names in the graph, is read too."""
METADATA_KEY = "reid_runtime.contract"
"""The key of an ONNX file's metadata under which the JSON lies."""
_MOST_NUMBERS = 1 << 16
"""Of a vector: a contract may be anyone's, and every image would take the memory that it says."""
TODO = "FILL IN: "
"""How a value begins that a draft leaves open, before what to put there."""


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
class Contract:
    """What a model promises. `resize` prepares the image; `contract_id` says which vectors are comparable."""

    name: str
    resize: ResizeRule
    input: InputFormat
    unit_output: bool
    """Whether the graph's own output has unit length; where not, the runtime divides by the norm."""
    dimension: int
    metric: str
    weights: str
    """Digest of the float32 root's weights, `sha256:…`; derived models keep it."""
    graph: str
    """The recipe of the graph around the weights: input, normalisation, pooling, output."""
    precision: Precision
    trained_on: tuple[TrainedOn, ...]
    scores: tuple[Score, ...] = ()
    parent: str | None = None
    """The `artefact_id` of the model this one was derived from, None for a float32 root."""
    drift: Mapping[str, float] | None = None
    """The measured difference from the parent."""
    inner: str | None = None
    """The graph's tensor of features before they are pooled; None where nobody named it."""
    last_layer: tuple[str, ...] | None = None
    """The graph's tensors that are its last layer's weights (D, C), its bias (D,), and the slope of a PReLU behind it;
    None as above. Initializers, or what the graph computes from them: integers turned to floats. A bias that the graph
    leaves out has an empty name."""
    output: str | None = None
    """The graph's output that is the vector, where it has several."""

    @property
    def contract_id(self) -> str:
        """The embedding space's name: 16 hexadecimal digits from weights, resize, input and graph."""
        fixed = {
            "graph": self.graph,
            "input": _input_to_json(self.input),
            "resize": rule_to_json(self.resize),
            "weights": self.weights,
        } | ({} if self.output is None else {"output": self.output})
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """The JSON text, keys sorted."""
        values = asdict(self) | {
            "version": VERSION,
            "resize": rule_to_json(self.resize),
            "input": _input_to_json(self.input),
        }
        if self.output is None:  # as contracts were written before there was one
            del values["output"]
        return json.dumps(values, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> "Contract":
        """Read a contract of version 1 or 2.

        Args:
            text: The JSON.
            source: What errors call it: the file's name.

        Returns:
            The contract.

        Raises:
            ContractError: For anything that it does not know, lacks or leaves open.
        """
        try:
            values = json.loads(text, object_pairs_hook=each_key_once)
        except (ValueError, RecursionError) as error:
            raise ContractError(f"{source}: the contract is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ContractError(f"{source}: expected a JSON object as contract, found {type(values).__name__}")
        version = values.pop("version", None)
        if version not in (1, VERSION):
            raise ContractError(
                f"{source}: the contract's version is {version!r}, this release reads versions 1 and {VERSION}: "
                "export the model again, or install the release that wrote it"
            )
        left_open = list(open_fields(values))
        if left_open:
            raise ContractError(f"{source}: still to be filled in: {'; '.join(left_open)}")
        values.setdefault("output", None)
        if version == 1:
            values = _from_version_1(values, source)
        try:
            contract: Contract = decode(cls, values, f"{source}: contract", {ResizeRule: rule_from_json})
        except DecodeError as error:
            raise ContractError(str(error)) from error
        if not 1 <= contract.dimension <= _MOST_NUMBERS or contract.metric != "cosine":
            raise ContractError(
                f"{source}: expected a dimension of 1 to {_MOST_NUMBERS} and metric 'cosine', found "
                f"{contract.dimension} and {contract.metric!r}"
            )
        _check_input(contract.input, source)
        return contract


def _from_version_1(values: dict[str, Any], source: str) -> dict[str, Any]:
    """The fields of version 2."""
    added = {"inner", "last_layer"}
    if added & values.keys():
        raise ContractError(f"{source}: contract of version 1 has unknown fields {sorted(added & values.keys())}")
    if "precision" not in values:
        return values  # which the decoder tells with all that is missing
    text = values["precision"]
    if not isinstance(text, str):
        raise ContractError(f"{source}: contract.precision: expected a text, found {text!r}")
    return values | dict.fromkeys(added) | {"precision": asdict(from_version_1(text, source))}


def open_fields(value: Any, path: str = "") -> Iterator[str]:
    """What a draft leaves open, by its path in the JSON: `input.colour (rgb or bgr)`."""
    if isinstance(value, str) and value.startswith(TODO):
        yield f"{path} ({value.removeprefix(TODO)})"
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from open_fields(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from open_fields(item, f"{path}[{number}]")


def _check_input(form: InputFormat, source: str) -> None:
    if 0 in form.deviation:
        raise ContractError(f"{source}: expected deviations other than 0, found {form.deviation}")
    plain = InputFormat()
    untouched = (plain.scale, plain.mean, plain.deviation)
    if form.dtype == "uint8" and (form.scale, form.mean, form.deviation) != untouched:
        raise ContractError(
            f"{source}: a uint8 input takes the pixels as they are, but {form} scales or shifts them: "
            "state scale 1, mean 0 and deviation 1, or dtype float32"
        )


def _input_to_json(form: InputFormat) -> dict[str, Any]:
    """Its numbers as floats, so that 1 and 1.0 are one embedding space."""
    return asdict(form) | {
        "scale": float(form.scale),
        "mean": [float(value) for value in form.mean],
        "deviation": [float(value) for value in form.deviation],
    }
