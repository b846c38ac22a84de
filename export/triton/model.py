"""Triton's Python backend: an ONNX file on ONNX Runtime's CPU, for a Triton that has no backend for it.

It needs numpy and onnxruntime in the Python of the server, and nothing of reid-runtime.
"""

import os
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    """What Triton looks for in this file; the requests of one call have images of one shape."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load model.onnx, which lies beside this file."""
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        options = onnxruntime.SessionOptions()
        # Threads that wait for work would take the cores from the server, and from a client on the same machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (self.input,) = (each.name for each in self.session.get_inputs())
        self.outputs = [each.name for each in self.session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run what the dynamic batcher has gathered as one batch, and give each request its rows."""
        batches = [triton.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        try:
            results = self.session.run(self.outputs, {self.input: np.concatenate(batches)})
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            return [triton.InferenceResponse(error=triton.TritonError(str(error))) for _ in requests]
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        parts = zip(*(np.split(result, ends) for result in results), strict=True)
        return [
            triton.InferenceResponse([triton.Tensor(*pair) for pair in zip(self.outputs, rows, strict=True)])
            for rows in parts
        ]
