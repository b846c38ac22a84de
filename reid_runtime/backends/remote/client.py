"""What the runtime asks of a server of the Open Inference Protocol, over HTTP or gRPC alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import ModelInput


class UnavailableError(BackendError):
    """The server cannot be reached, is starting, or does not answer in time: the same request may be sent again."""


class RefusedError(BackendError):
    """The server answered that it will not do what it was asked, or with what cannot be read."""


@dataclass(frozen=True)
class Port:
    """An input or output of a served model."""

    name: str
    datatype: str
    """The protocol's name: UINT8, FP32."""
    shape: tuple[int, ...]
    """-1 for a free axis."""


@dataclass(frozen=True)
class Metadata:
    """What a server says of a model."""

    platform: str
    """The engine, in the server's words; empty where it does not say."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    parameters: Mapping[str, str]
    """Texts that were laid beside the model: of Triton's configuration, or of the model's metadata."""
    most_images: int | None
    """The largest batch that the server takes; None where it does not say."""


@dataclass(frozen=True)
class Answer:
    """What came back for a batch."""

    output: npt.NDArray[np.generic]
    version: str
    """Of the model that computed it; empty where the server does not say."""


class Client(Protocol):
    """A connection to one model. Shared between threads; every call raises UnavailableError or RefusedError."""

    is_binary: bool
    """Whether pixels go as they are: always over gRPC; over HTTP a server may want them as numbers in the JSON."""

    def is_ready(self) -> bool:
        """Whether the server and the model are there and take requests; False also where nobody answers."""

    def metadata(self) -> Metadata:
        """What the server says of the model now."""

    def infer(self, name: str, images: ModelInput, output: str | None) -> Answer:
        """Send a batch as the input `name`; `output` names what is wanted, None for a model's only one."""


def metadata_of(model: Mapping[str, Any], config: Mapping[str, Any]) -> Metadata:
    """The metadata of the JSON objects that servers give; `config` is Triton's alone, else empty."""
    parameters: dict[str, str] = {}
    for key, value in {**(model.get("parameters") or {}), **(config.get("parameters") or {})}.items():
        text = value.get("string_value") if isinstance(value, Mapping) else value
        if isinstance(text, str):
            parameters[key] = text
    most = int(config.get("max_batch_size") or 0)
    inputs, outputs = (
        tuple(
            Port(str(each["name"]), str(each.get("datatype", "")), tuple(map(int, each.get("shape") or ())))
            for each in model.get(kind) or ()
        )
        for kind in ("inputs", "outputs")
    )
    return Metadata(
        str(model.get("platform") or config.get("backend") or ""), inputs, outputs, parameters, most or None
    )


def datatype(images: ModelInput) -> str:
    """The protocol's name of an array's kind."""
    return {"uint8": "UINT8", "float32": "FP32", "float16": "FP16"}[images.dtype.name]
