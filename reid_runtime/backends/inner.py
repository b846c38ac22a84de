"""A model on the CPU that gives more of its tensors than its output: for explanations, at no cost for embedding."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino, openvino_core
from reid_runtime.errors import BackendError, MissingBackendError
from reid_runtime.images.model_input import ModelInput

Tensor = npt.NDArray[np.generic]


class InnerBackend(Protocol):
    """A loaded model whose tensors can be asked for by name."""

    @property
    def name(self) -> str:
        """Engine and device, for people."""

    def run(self, images: ModelInput, names: Sequence[str]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One batch in the contract's input format to the model's output and these tensors; BackendError."""


def open_inner(content: bytes, source: str, threads: int | None = None) -> InnerBackend:
    """ONNX Runtime on the CPU, or OpenVINO where that alone is installed, for the bytes of an ONNX file.

    Raises BackendError, naming `source`, for a model that neither loads.
    """
    try:
        return _OnnxRuntime(content, source, threads)
    except MissingBackendError as missing:
        try:
            return _OpenVino(content, source, threads)
        except MissingBackendError:
            raise missing from None


class _OnnxRuntime:
    name = "onnxruntime cpu"

    def __init__(self, content: bytes, source: str, threads: int | None) -> None:
        onnxruntime = import_onnxruntime("cpu")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BackendError(f"{source}: ONNX Runtime cannot load it with its inner tensors: {error}") from error
        self.output = self._session.get_outputs()[0].name

    def run(self, images: ModelInput, names: Sequence[str]) -> tuple[Tensor, Mapping[str, Tensor]]:
        (name,) = [each.name for each in self._session.get_inputs()]
        try:
            outputs = self._session.run([self.output, *names], {name: images})
        except Exception as error:  # as above
            raise BackendError(f"{self.name} failed on a batch of shape {images.shape}: {error}") from error
        return outputs[0], dict(zip(names, outputs[1:], strict=True))


class _OpenVino:
    name = "openvino cpu, float32"

    def __init__(self, content: bytes, source: str, threads: int | None) -> None:
        import_openvino()
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = openvino_core().compile_model(openvino_core().read_model(content), "CPU", options)
        except Exception as error:  # OpenVINO raises plain RuntimeError, and others
            raise BackendError(f"{source}: OpenVINO cannot load it with its inner tensors: {error}") from error

    def run(self, images: ModelInput, names: Sequence[str]) -> tuple[Tensor, Mapping[str, Tensor]]:
        try:
            outputs = self._compiled([images])
        except Exception as error:  # as above
            raise BackendError(f"{self.name} failed on a batch of shape {images.shape}: {error}") from error
        return np.array(outputs[0]), {name: np.array(outputs[name]) for name in names}
