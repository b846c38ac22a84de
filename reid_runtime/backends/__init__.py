"""The engines that run a model, behind one Protocol."""

import logging
from pathlib import Path
from typing import Literal, get_args

from reid_runtime.backends.base import Backend
from reid_runtime.errors import BackendError
from reid_runtime.model_file.contract import Contract

Device = Literal["auto", "cpu", "openvino", "openvino-bf16", "cuda", "tensorrt"]
DEVICES: tuple[str, ...] = get_args(Device)

__all__ = ["DEVICES", "Backend", "Device", "open_backend", "runs_engine"]

_LOG = logging.getLogger(__name__)


def open_backend(
    path: Path,
    device: str,
    threads: int | None = None,
    *,
    contract: Contract | None = None,
    trust_engine: bool = False,
    graphs: int = 0,
    fallback: Path | None = None,
) -> Backend:
    """The model file on a device; BackendError where the device, the package or the file is not usable.

    "openvino" computes in float32, "openvino-bf16" in bfloat16. "auto" is OpenVINO in float32 for OpenVINO's own
    files (.xml) and TensorRT for engines (.engine); for ONNX it is CUDA where ONNX Runtime offers it and it works, else
    the CPU. What it chose is in the backend's name and in the log: at INFO, or at WARNING, with the reason, where CUDA
    was offered and failed.

    "tensorrt" takes ONNX, whose engine it finds or builds, and engines. For it alone are contract, stated for a file
    that carries none; trust_engine, which takes an engine that nothing vouches for; graphs, how many CUDA graphs each
    context keeps; and fallback, an ONNX file of the same model that ONNX Runtime CUDA runs where no profile takes a
    shape.
    """
    from reid_runtime.backends.onnx import OnnxBackend
    from reid_runtime.backends.openvino import OpenVinoBackend

    if device not in DEVICES:
        raise BackendError(f"no device is called {device!r}; known: {', '.join(DEVICES)}")
    if runs_engine(path, device):
        from reid_runtime.backends.tensorrt.open import open_tensorrt

        other = None if fallback is None else OnnxBackend(fallback, "cuda", threads)
        return open_tensorrt(path, contract=contract, trust_engine=trust_engine, graphs=graphs, fallback=other)
    if graphs or fallback is not None:
        raise BackendError(f"CUDA graphs and a fallback are for device 'tensorrt', and {device!r} was asked for")
    if device == "auto":
        return _best(path, threads)
    if device == "openvino":
        return OpenVinoBackend(path, threads)
    if device == "openvino-bf16":
        return OpenVinoBackend(path, threads, precision="bfloat16")
    if path.suffix == ".engine":
        raise BackendError(f"{path} is a TensorRT engine, which device {device!r} cannot run: use device 'tensorrt'")
    if path.suffix == ".xml":
        raise BackendError(
            f"{path} is OpenVINO's own format, which device {device!r} cannot run: use device 'openvino'"
        )
    return OnnxBackend(path, device, threads)


def runs_engine(path: Path, device: str) -> bool:
    """Whether it is TensorRT that runs this file on this device."""
    return device == "tensorrt" or (device == "auto" and path.suffix == ".engine")


def _best(path: Path, threads: int | None) -> Backend:
    """What the file and the machine allow, said aloud."""
    from reid_runtime.backends.onnx import OnnxBackend, import_onnxruntime
    from reid_runtime.backends.openvino import OpenVinoBackend

    backend: Backend
    if path.suffix == ".xml":
        backend = OpenVinoBackend(path, threads)
    elif "CUDAExecutionProvider" not in import_onnxruntime("cpu").get_available_providers():
        backend = OnnxBackend(path, "cpu", threads)
    else:
        try:
            backend = OnnxBackend(path, "cuda", threads)
        except BackendError as error:  # offered by the package, but there is no GPU or driver, or a library is missing
            backend = OnnxBackend(path, "cpu", threads)
            _LOG.warning("device auto: %s, because CUDA, which is installed, cannot be used: %s", backend.name, error)
            return backend
    _LOG.info("device auto: %s", backend.name)
    return backend
