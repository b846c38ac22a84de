"""Triton's Python backend: an ONNX file on ONNX Runtime's CPU, for a Triton that has no backend for it.

It needs numpy and onnxruntime in the Python of the server, and nothing of reid-runtime. Triton 24.08 or newer: models
before could not answer once `execute` has returned.
"""

import math
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

_PIXELS = 2 * 256 * 128
"""Of a batch on one core: what is fastest for people upright."""


class TritonPythonModel:
    """What Triton looks for in this file; the requests of one call have images of one shape."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load model.onnx, which lies beside this file."""
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.cores = len(os.sched_getaffinity(0))
        self.all_cores, self.one_core = self._open(path, self.cores), self._open(path, 1)
        self.threads, self.answers = ThreadPoolExecutor(self.cores), ThreadPoolExecutor(1)
        self.last: Future[Any] = self.answers.submit(int)
        (port,) = self.all_cores.get_inputs()
        self.input, self.may_split = port.name, not isinstance(port.shape[0], int)
        self.outputs = [each.name for each in self.all_cores.get_outputs()]

    def _open(self, path: str, threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait for work would take the cores from the server, and from a client on the same machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _submit(self, images: Any) -> list[Future[Any]]:
        """Few images to all cores; of more, small batches side by side, each on one core, which is faster."""
        if len(images) < 2 * self.cores or not self.may_split:
            return [self.threads.submit(self.all_cores.run, self.outputs, {self.input: images})]
        most = max(1, 3 * _PIXELS // max(1, math.prod(images.shape[1:])))
        small = [{self.input: images[start : start + most]} for start in range(0, len(images), most)]
        return [self.threads.submit(self.one_core.run, self.outputs, each) for each in small]

    def execute(self, requests: list[Any]) -> None:
        """Begin what the dynamic batcher has gathered as one batch.

        The next one may begin before this one is answered, so that no core waits for the last images of a batch.
        """
        batches = [triton.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        running = self._submit(np.concatenate(batches))
        before, self.last = self.last, self.answers.submit(self._answer, requests, list(map(len, batches)), running)
        wait([before])

    def _answer(self, requests: list[Any], lengths: list[int], running: list[Future[Any]]) -> None:
        """Give each request its rows."""
        try:
            parts = [future.result() for future in running]
            outputs = [np.concatenate(each) for each in zip(*parts, strict=True)]
            rows = zip(*(np.split(each, np.cumsum(lengths)[:-1]) for each in outputs), strict=True)
            responses = [
                triton.InferenceResponse([triton.Tensor(*pair) for pair in zip(self.outputs, each, strict=True)])
                for each in rows
            ]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            responses = [triton.InferenceResponse(error=triton.TritonError(str(error))) for _ in requests]
        for request, response in zip(requests, responses, strict=True):
            request.get_response_sender().send(response, flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
