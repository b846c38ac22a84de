"""Where a model is served: `kserve://host:port/model`, in place of a file's path."""

import math
import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from reid_runtime.errors import BackendError

Scheme = Literal["kserve", "kserve+grpc"]
_PORTS: dict[str, int] = {"kserve": 8000, "kserve+grpc": 8001}
"""Of each scheme the port that Triton has."""
_FORM = "kserve://HOST:PORT/MODEL, kserve+grpc://HOST:PORT/MODEL, either with /versions/N and ?timeout=SECONDS behind"


@dataclass(frozen=True)
class Address:
    """A model on a server of the Open Inference Protocol (KServe v2), and how patiently it is spoken to."""

    scheme: Scheme
    """"kserve" is HTTP, "kserve+grpc" is gRPC."""
    host: str
    port: int
    name: str
    """The model's, on the server."""
    version: str = ""
    """The model's version; empty for the one that the server chooses."""
    timeout: float = 60.0
    """Seconds that one answer may take."""
    patience: float = 30.0
    """Seconds that a server may be away, while it restarts, before a job ends."""
    requests: int = 4
    """How many batches are on their way at once."""

    def __str__(self) -> str:
        version = f"/versions/{self.version}" if self.version else ""
        return f"{self.scheme}://{self.netloc}/{self.name}{version}"

    @property
    def netloc(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read an address; BackendError for what is none."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise BackendError(f"{text}: {error}: expected {_FORM}") from error
        name, *version = map(unquote, parts.path.strip("/").split("/"))
        is_version = len(version) == 2 and version[0] == "versions" and version[1]
        if parts.scheme not in _PORTS or not parts.hostname or not name or (version and not is_version):
            raise BackendError(f"{text} is no address of a model: expected {_FORM}")
        if parts.username or parts.password or parts.fragment:
            raise BackendError(f"{parts.hostname}: an address carries no user, password or fragment: expected {_FORM}")
        options = {"timeout": 60.0, "patience": 30.0, "requests": 4.0}
        for key, value in parse_qsl(parts.query, keep_blank_values=True):
            options[key] = _number(text, key, value, known=options)
        return cls(
            "kserve" if parts.scheme == "kserve" else "kserve+grpc",
            parts.hostname, _PORTS[parts.scheme] if port is None else port, name, version[1] if version else "",
            options["timeout"], options["patience"], int(options["requests"]),
        )  # fmt: skip


def is_address(model: str | os.PathLike[str] | None) -> bool:
    """Whether a model's name is the address of a server rather than a file's path."""
    return isinstance(model, str) and model.partition("://")[0] in _PORTS and "://" in model


def _number(text: str, key: str, value: str, known: dict[str, float]) -> float:
    """The value of an option behind the `?`; BackendError for another option, or for no number above 0."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if key not in known or not 0 < number <= 1e5 or (key == "requests" and number != int(number)):
        raise BackendError(f"{text}: expected {', '.join(known)}, each a number above 0, found {key}={value}")
    return number
