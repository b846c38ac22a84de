"""Triton's Python backend: an ONNX file on ONNX Runtime's CPU, for a Triton that has no backend for it.

It needs numpy and onnxruntime in the Python of the server, and nothing of reid-runtime.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
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
        self.threads = ThreadPoolExecutor(self.cores)
        (port,) = self.all_cores.get_inputs()
        self.input, self.may_split = port.name, not isinstance(port.shape[0], int)
        self.outputs = [each.name for each in self.all_cores.get_outputs()]

    def _open(self, path: str, threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait for work would take the cores from the server, and from a client on the same machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _run(self, images: Any) -> list[Any]:
        """Few images on all cores; of more, small batches side by side, each on one core, which is faster."""
        if len(images) < 2 * self.cores or not self.may_split:
            whole: list[Any] = self.all_cores.run(self.outputs, {self.input: images})
            return whole
        most = max(1, 3 * _PIXELS // math.prod(images.shape[1:]))
        small = [{self.input: images[start : start + most]} for start in range(0, len(images), most)]
        results = self.threads.map(lambda batch: self.one_core.run(self.outputs, batch), small)
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run what the dynamic batcher has gathered as one batch, and give each request its rows."""
        batches = [triton.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        try:
            results = self._run(np.concatenate(batches))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            return [triton.InferenceResponse(error=triton.TritonError(str(error))) for _ in requests]
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        parts = zip(*(np.split(result, ends) for result in results), strict=True)
        return [
            triton.InferenceResponse([triton.Tensor(*pair) for pair in zip(self.outputs, rows, strict=True)])
            for rows in parts
        ]
