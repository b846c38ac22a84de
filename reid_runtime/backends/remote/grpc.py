"""The Open Inference Protocol over gRPC."""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, service_pb2
from tritonclient.utils import InferenceServerException

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

_AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED")
"""gRPC's status codes of a server that may answer later."""
_QUICK = 5.0
"""Seconds for a question that needs no computing."""
_PARAMETERS = 6
"""The field of MLServer's ModelMetadataResponse that Triton's has not."""
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),  # of a server that restarts; gRPC's own is two minutes
    ("grpc.enable_http_proxy", 0),
]
Result = TypeVar("Result")


class GrpcClient:
    """One channel; nothing is sent again without being asked for."""

    def __init__(self, address: Address) -> None:
        self.address, self.is_binary = address, True
        self._client = InferenceServerClient(address.netloc, channel_args=_CHANNEL)

    def is_ready(self) -> bool:
        """Whether server and model take requests."""
        name, version = self.address.name, self.address.version
        try:
            return bool(self._asked(lambda: self._client.is_model_ready(name, version, client_timeout=_QUICK)))
        except (UnavailableError, RefusedError):
            return False

    def metadata(self) -> Metadata:
        """What the server says of the model now."""
        name, version = self.address.name, self.address.version
        message = self._asked(lambda: self._client.get_model_metadata(name, version, client_timeout=_QUICK))
        try:
            reply = self._asked(lambda: self._client.get_model_config(name, version, client_timeout=_QUICK))
            config = MessageToDict(reply, preserving_proto_field_name=True).get("config", {})
        except RefusedError:  # which only Triton has
            config = {}
        model = MessageToDict(message, preserving_proto_field_name=True)
        try:
            return metadata_of(model | {"parameters": _unknown_parameters(message)}, config)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RefusedError(f"{self.address}: the model's metadata cannot be read: {error!r}") from error

    def infer(self, name: str, images: ModelInput, output: str | None) -> Answer:
        """A batch and what came back for it."""
        tensor = InferInput(name, list(images.shape), datatype(images))
        tensor.set_data_from_numpy(images)
        result = self._asked(
            lambda: self._client.infer(
                self.address.name,
                [tensor],
                self.address.version,
                None if output is None else [InferRequestedOutput(output)],
                client_timeout=self.address.timeout,
            )
        )
        response = result.get_response()
        try:
            chosen = response.outputs[0].name if output is None else output
            rows = result.as_numpy(chosen)
        except Exception as error:  # whatever an answer that contradicts itself makes of the parser
            raise RefusedError(f"{self.address}: the answer cannot be read: {type(error).__name__}: {error}") from error
        if rows is None:
            raise RefusedError(f"{self.address}: the answer has no output {chosen!r}")
        return Answer(rows, response.model_version)

    def _asked(self, question: Callable[[], Result]) -> Result:
        try:
            return question()
        except InferenceServerException as error:
            status = str(error.status() or "").rpartition(".")[2]
            words = f"{self.address}: {' '.join(str(error.message()).split())[:300]} ({status or 'gRPC'})"
            raise (UnavailableError if status in _AWAY else RefusedError)(words) from error


def _unknown_parameters(message: Any) -> dict[str, str]:
    """The parameters of MLServer's metadata, out of what Triton's schema does not know."""
    parameters: dict[str, str] = {}
    for field in UnknownFieldSet(message):
        if field.field_number == _PARAMETERS and isinstance(field.data, bytes):
            entry = service_pb2.ModelInferRequest.ParametersEntry.FromString(field.data)
            parameters[entry.key] = entry.value.string_param
    return parameters
