"""A small server of the Open Inference Protocol in this process, over HTTP and gRPC, that can be told to be wrong."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

_KINDS = {"UINT8": np.uint8, "FP32": np.float32, "FP16": np.float16, "FP64": np.float64}
_NAMES = {np.dtype(kind): name for name, kind in _KINDS.items()}
_LENGTH = "Inference-Header-Content-Length"


@dataclass
class ServedFunction:
    """A model that is a function of a batch, and what its server says of it."""

    compute: object
    parameters: dict = field(default_factory=dict)
    name: str = "reid"
    inputs: tuple = (("images", "UINT8", (-1, -1, -1, 3)),)
    outputs: tuple = (("embeddings", "FP32", (-1, -1)),)
    most: int = 0
    version: str = "1"
    has_config: bool = True
    """As Triton has; else the parameters are in the metadata, as MLServer has them."""
    before: object = None
    """Is called before each batch; may sleep, or give (status, words) in place of an answer."""
    requests: int = 0
    together: int = 0
    """The most batches that were here at once."""
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, images):
        with self._lock:
            self.requests += 1
            self._now += 1
            self.together = max(self.together, self._now)
        try:
            refusal = self.before() if self.before else None
            return refusal, None if refusal else np.asarray(self.compute(images))
        finally:
            with self._lock:
                self._now -= 1

    def metadata(self):
        ports = {
            kind: [dict(zip(("name", "datatype", "shape"), port, strict=True)) for port in each]
            for kind, each in (("inputs", self.inputs), ("outputs", self.outputs))
        }
        stated = {} if self.has_config else {"parameters": self.parameters}
        return {"name": self.name, "versions": [self.version], "platform": "", **ports, **stated}

    def config(self):
        texts = {key: {"string_value": value} for key, value in self.parameters.items()}
        return {"name": self.name, "backend": "function", "max_batch_size": self.most, "parameters": texts}


@contextmanager
def serving(model, port=0):
    """Over HTTP while the block runs; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        has_refused = False
        """As MLServer, which then closes the connection without a word: the next request on it has no answer."""

        def log_message(self, *words):
            pass

        def do_GET(self):
            if self.has_refused:
                self.close_connection = True
                return
            root = f"/v2/models/{model.name}"
            if self.path == f"{root}/ready":
                self._send(200, {})
            elif self.path == root:
                self._send(200, model.metadata())
            elif self.path == f"{root}/config" and model.has_config:
                self._send(200, model.config())
            else:
                self._send(404, {"error": f"unknown model or path: {self.path}"})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            length = int(self.headers.get(_LENGTH, len(body)))
            (tensor,) = json.loads(body[:length])["inputs"]
            images = np.frombuffer(body[length:], _KINDS[tensor["datatype"]]).reshape(tensor["shape"])
            refusal, rows = model.answer(images)
            if refusal:
                self.has_refused = True
                self._send(refusal[0], {"error": refusal[1]})
                return
            content = rows.tobytes()
            output = {
                "name": model.outputs[0][0] if model.outputs else "embeddings",
                "datatype": _NAMES[rows.dtype],
                "shape": list(rows.shape),
                "parameters": {"binary_data_size": len(content)},
            }
            self._send(200, {"model_name": model.name, "model_version": model.version, "outputs": [output]}, content)

        def _send(self, status, values, content=b""):
            head = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(head) + len(content)))
            if content:
                self.send_header(_LENGTH, str(len(head)))
            self.end_headers()
            self.wfile.write(head + content)

    open_sockets = set()

    class Server(ThreadingHTTPServer):
        def process_request_thread(self, request, address):
            open_sockets.add(request)
            super().process_request_thread(request, address)

        def handle_error(self, request, address):  # a client that went away
            pass

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"kserve://127.0.0.1:{server.server_address[1]}/{model.name}"
    finally:
        server.shutdown()
        server.server_close()
        for connection in list(open_sockets):  # as when a process ends
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def serving_grpc(model):
    """Over gRPC while the block runs; gives the address."""
    import grpc
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelReady(self, request, context):  # noqa: N802
            return service_pb2.ModelReadyResponse(ready=request.name == model.name)

        def ModelMetadata(self, request, context):  # noqa: N802
            if request.name != model.name:
                context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model: {request.name}")
            return ParseDict(model.metadata(), service_pb2.ModelMetadataResponse(), ignore_unknown_fields=True)

        def ModelConfig(self, request, context):  # noqa: N802
            if not model.has_config:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "no configuration")
            return service_pb2.ModelConfigResponse(config=ParseDict(model.config(), model_config_pb2.ModelConfig()))

        def ModelInfer(self, request, context):  # noqa: N802
            (tensor,) = request.inputs
            images = np.frombuffer(request.raw_input_contents[0], _KINDS[tensor.datatype]).reshape(tensor.shape)
            refusal, rows = model.answer(images)
            if refusal:
                context.abort(grpc.StatusCode[refusal[0]], refusal[1])
            response = service_pb2.ModelInferResponse(model_name=model.name, model_version=model.version)
            response.outputs.add(
                name=model.outputs[0][0] if model.outputs else "embeddings",
                datatype=_NAMES[rows.dtype],
                shape=rows.shape,
            )
            response.raw_output_contents.append(rows.tobytes())
            return response

    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"kserve+grpc://127.0.0.1:{port}/{model.name}"
    finally:
        server.stop(0.2).wait()


def slowly(seconds):
    """A `before` that takes a while."""
    return lambda: time.sleep(seconds)
