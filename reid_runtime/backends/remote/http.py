"""The Open Inference Protocol over HTTP: tensors as binary data behind the JSON, or in it where a server wants that."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import urllib3
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from urllib3.exceptions import HTTPError, ProtocolError

from reid_runtime.backends.remote.client import (
    Answer,
    Metadata,
    RefusedError,
    UnavailableError,
    datatype,
    metadata_of,
)
from reid_runtime.images.model_input import ModelInput
from reid_runtime.model_file.address import Address

_AWAY = (429, 502, 503, 504)
"""Status codes of a server, or of a proxy before it, that may answer later."""
_LENGTH = "Inference-Header-Content-Length"
_LARGEST = 64 << 20
"""Bytes of an answer that are read at most: rows for a batch are some ten kilobytes."""
_WORDS = 300
"""Characters of a server's own words that an error repeats."""


class HttpClient:
    """A pool of connections; nothing is sent again without being asked for."""

    def __init__(self, address: Address) -> None:
        self.address = address
        timeout = urllib3.Timeout(connect=min(10.0, address.timeout), read=address.timeout)
        self._pool = urllib3.HTTPConnectionPool(
            address.host, address.port, timeout=timeout, maxsize=address.requests + 1, retries=False
        )
        version = f"/versions/{quote(address.version, safe='')}" if address.version else ""
        self._model = f"/v2/models/{quote(address.name, safe='')}{version}"
        self.is_binary = True
        """Whether pixels go as binary data; MLServer wants them in the JSON, which is slow."""

    def is_ready(self) -> bool:
        """Whether server and model take requests."""
        try:
            status, _, _ = self._send("GET", f"{self._model}/ready")
        except UnavailableError:
            return False
        return status == 200

    def metadata(self) -> Metadata:
        """What the server says of the model now."""
        model = self._json(self._model)
        try:
            config = self._json(f"{self._model}/config")
        except RefusedError:  # which only Triton has
            config = {}
        try:
            return metadata_of(model, config)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RefusedError(f"{self.address}: the model's metadata cannot be read: {error!r}") from error

    def infer(self, name: str, images: ModelInput, output: str | None) -> Answer:
        """A batch and what came back for it."""
        tensor = InferInput(name, list(images.shape), datatype(images))
        tensor.set_data_from_numpy(images, binary_data=self.is_binary)
        wanted = None if output is None else [InferRequestedOutput(output, binary_data=self.is_binary)]
        body, length = InferenceServerClient.generate_request_body([tensor], outputs=wanted)
        kind = "application/json" if length is None else "application/octet-stream"
        headers = {"Content-Type": kind} | ({} if length is None else {_LENGTH: str(length)})
        status, answer, fields = self._send("POST", f"{self._model}/infer", body, headers)
        if status != 200:
            raise RefusedError(f"{self.address}: the server refused a batch {images.shape}: {_words(answer, status)}")
        try:
            length = fields.get(_LENGTH)
            result = InferenceServerClient.parse_response_body(
                answer, header_length=None if length is None else int(length)
            )
            response = result.get_response()
            chosen = response["outputs"][0]["name"] if output is None else output
            rows = result.as_numpy(chosen)
        except Exception as error:  # whatever a body that is no answer makes of the parser
            raise RefusedError(f"{self.address}: the answer cannot be read: {type(error).__name__}: {error}") from error
        if rows is None:
            raise RefusedError(f"{self.address}: the answer has no output {chosen!r}")
        return Answer(rows, str(response.get("model_version") or ""))

    def _json(self, path: str) -> Mapping[str, Any]:
        status, body, _ = self._send("GET", path)
        if status != 200:
            raise RefusedError(f"{self.address}: {_words(body, status)}")
        try:
            values = json.loads(body)
        except ValueError as error:
            raise RefusedError(f"{self.address}{path}: expected JSON, found {body[:40]!r}") from error
        if not isinstance(values, dict):
            raise RefusedError(f"{self.address}{path}: expected a JSON object, found {type(values).__name__}")
        return values

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and header fields."""
        try:
            try:
                response, answer = self._exchange(method, path, body, headers)
            except ProtocolError:
                if method != "GET":
                    raise
                # A server that refuses a batch unread closes the connection, which is noticed by who uses it next.
                response, answer = self._exchange(method, path, body, headers)
        except (HTTPError, OSError) as error:
            raise UnavailableError(f"{self.address}: no answer: {error}") from error
        if len(answer) > _LARGEST:
            response.close()
            raise RefusedError(f"{self.address}: the answer is longer than {_LARGEST >> 20} MiB")
        if response.status in _AWAY:
            raise UnavailableError(f"{self.address}: {_words(answer, response.status)}")
        return response.status, answer, response.headers

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[urllib3.BaseHTTPResponse, bytes]:
        """A response and its body, of which no more than a byte over _LARGEST is read."""
        response = self._pool.urlopen(method, path, body=body, headers=headers, preload_content=False, redirect=False)
        answer = response.read(_LARGEST + 1)
        response.release_conn()
        return response, answer


def _words(body: bytes, status: int) -> str:
    """What a server says in place of an answer, in one line."""
    text = body[: 10 * _WORDS].decode("utf-8", "replace")
    try:
        values = json.loads(body)
        text = str(values.get("error", values.get("detail", text))) if isinstance(values, dict) else text
    except ValueError:
        pass
    return f"{' '.join(text.split())[:_WORDS] or 'no words'} (HTTP {status})"
