"""OpenVINO on the CPU, in float32: for ONNX files and for OpenVINO's own (.xml beside its .bin)."""

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.base import CPU_BATCH_PIXELS, Array
from reid_runtime.contract import METADATA_KEY
from reid_runtime.errors import BackendError


def import_openvino() -> ModuleType:
    """The package, or a BackendError with the line that installs it."""
    # Its telemetry calls home and writes to the home folder at import. Told that this module is absent, OpenVINO
    # uses its own stand-in; the runtime touches neither the network nor the home folder.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how a module is barred
    try:
        import openvino
    except ImportError as error:
        raise BackendError('OpenVINO is needed and missing: pip install "reid-runtime[openvino]"') from error
    return openvino  # type: ignore[no-any-return]  # the package has no types


class OpenVinoBackend:
    """One compiled model, one inference request a thread: `run` may be called from many at once."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Compile `path` for the CPU; `threads` limits it, None uses every core."""
        openvino = import_openvino()
        core = openvino.Core()
        # Left alone, OpenVINO computes in bfloat16 where the CPU has it: another vector on another machine.
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(path)
            self.contract_text = _carried_contract(model)
            one_by_one = not _free_batch(openvino, model)
            self._compiled = core.compile_model(model, "CPU", options)
        except Exception as error:  # OpenVINO raises plain RuntimeError, and others
            raise BackendError(f"{path}: OpenVINO cannot load it: {error}") from error
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise BackendError(
                f"{path}: expected one input and one output, found {len(model.inputs)} and {len(model.outputs)}"
            )
        self.name = "openvino cpu, float32"
        self.max_batch_pixels = 1 if one_by_one else CPU_BATCH_PIXELS
        self._local = threading.local()

    def run(self, images: Array) -> npt.NDArray[np.float32]:
        """One batch in the contract's input format to (N, D) float32; BackendError with OpenVINO's own words."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        try:
            outputs = self._local.request.infer([images], share_inputs=True)
        except Exception as error:  # as above
            raise BackendError(
                f"{self.name} failed on a batch of shape {images.shape} {images.dtype}: {error}"
            ) from error
        # A copy: the request writes its next result over this one.
        vectors: npt.NDArray[np.float32] = np.array(outputs[0], dtype=np.float32)
        return vectors


def _carried_contract(model: Any) -> str | None:
    """The contract that an ONNX file carries in its metadata, as OpenVINO hands that on."""
    place = ["framework", METADATA_KEY]
    return str(model.get_rt_info(place).value) if model.has_rt_info(place) else None


def _free_batch(openvino: ModuleType, model: Any) -> bool:
    """Free the first axis of the input where the file fixes it; says whether batches of any size then run."""
    shape = model.inputs[0].get_partial_shape()
    if shape[0].is_dynamic:
        return True
    shape[0] = openvino.Dimension()
    try:
        model.reshape({model.inputs[0]: shape})
    except RuntimeError:
        return False  # a constant inside holds on to the batch
    return bool(model.outputs[0].get_partial_shape()[0].is_dynamic)
