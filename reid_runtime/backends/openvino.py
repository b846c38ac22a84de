"""OpenVINO on the CPU, for ONNX files and for OpenVINO's own (.xml beside its .bin).

In float32, or in bfloat16 where that is asked for by name: never the one when the other was.
"""

import functools
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.base import CPU_BATCH_PIXELS, Options, as_rows, raise_signal
from reid_runtime.errors import BackendError, MissingBackendError
from reid_runtime.images.model_input import ModelInput
from reid_runtime.model_file import ModelFile


def import_openvino() -> ModuleType:
    """The package, or a BackendError with the line that installs it."""
    # Its telemetry calls home and writes to the home folder at import. Told that this module is absent, OpenVINO
    # uses its own stand-in; the runtime touches neither the network nor the home folder.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how a module is barred
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingBackendError('OpenVINO is needed and missing: pip install "reid-runtime[openvino]"') from error
    except Exception as error:  # a broken package raises whatever it stumbles over
        raise_signal(error)
        raise BackendError(
            f"OpenVINO is installed and cannot be imported ({error}): pip install --force-reinstall openvino"
        ) from error
    return openvino  # type: ignore[no-any-return]  # the package has no types


_one_at_a_time = threading.Lock()


def openvino_core() -> Any:
    """The one `openvino.Core` of this process, kept until its end; BackendError as import_openvino has it.

    On Linux a Core lays a stack for signal handlers under the thread that uses it first, and frees that when it goes,
    in whatever order: of two Cores, the second to go puts the first one's back, which is no more, and the next Ctrl-C
    kills the process (OpenVINO 2026.4, src/plugins/intel_cpu/src/sigstack_manager.cpp).
    """
    with _one_at_a_time:
        return _core()


@functools.cache
def _core() -> Any:
    return import_openvino().Core()


_HINTS = {"float32": "f32", "bfloat16": "bf16"}
"""OpenVINO's names of the precisions."""


def open_float32(file: ModelFile, options: Options) -> "OpenVinoBackend":
    """OpenVINO on the CPU in float32."""
    return OpenVinoBackend(file.path, options.threads)


def open_bfloat16(file: ModelFile, options: Options) -> "OpenVinoBackend":
    """OpenVINO on the CPU in bfloat16."""
    return OpenVinoBackend(file.path, options.threads, precision="bfloat16")


class OpenVinoBackend:
    """One compiled model, one inference request a thread: `run` may be called from many at once."""

    def __init__(
        self, path: Path, threads: int | None = None, precision: Literal["float32", "bfloat16"] = "float32"
    ) -> None:
        """Compile `path` for the CPU; `threads` limits it, None uses every core.

        precision: how values that the file holds in float32 are multiplied. "bfloat16" keeps 8 bits of them, and is
        refused with a BackendError on a CPU that does not compute in it.
        """
        openvino = import_openvino()
        core = openvino_core()
        if precision == "bfloat16":
            _check_bfloat16(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        # Left alone, OpenVINO computes in bfloat16 where the CPU has it: another vector on another machine.
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(path)
            one_by_one = not _free_batch(openvino, model)
            self._compiled = core.compile_model(model, "CPU", options)
        except Exception as error:  # OpenVINO raises plain RuntimeError, and others
            raise BackendError(f"{path}: OpenVINO cannot load it: {error}") from error
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise BackendError(
                f"{path}: expected one input and one output, found {len(model.inputs)} and {len(model.outputs)}"
            )
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != _HINTS[precision]:
            raise BackendError(f"{path}: {precision} was asked for, OpenVINO chose {used}")
        self.name = f"openvino cpu, {precision}"
        self.device = "openvino" if precision == "float32" else "openvino-bf16"
        self.max_batch_pixels = 1 if one_by_one else CPU_BATCH_PIXELS
        self._local = threading.local()

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
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
        return as_rows(np.array(outputs[0], dtype=np.float32), self.name)


def _check_bfloat16(capabilities: list[str]) -> None:
    if "BF16" not in capabilities:
        raise MissingBackendError(
            "device 'openvino-bf16' needs a CPU that computes in bfloat16 (AVX512-BF16 or AMX), OpenVINO finds "
            f"{', '.join(sorted(capabilities))}: use device 'openvino'"
        )


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
