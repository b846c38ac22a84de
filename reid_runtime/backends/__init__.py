"""The engines that run a model, behind one Protocol."""

from pathlib import Path
from typing import Literal, get_args

from reid_runtime.backends.base import Backend
from reid_runtime.errors import BackendError

Device = Literal["auto", "cpu", "openvino", "cuda"]
DEVICES: tuple[str, ...] = get_args(Device)

__all__ = ["DEVICES", "Backend", "Device", "open_backend"]


def open_backend(path: Path, device: str, threads: int | None = None) -> Backend:
    """The model file on a device; BackendError where the device, the package or the file is not usable.

    "auto" is OpenVINO for OpenVINO's own files (.xml); for ONNX it is CUDA where ONNX Runtime offers it and it
    works, else the CPU. The backend's name says which.
    """
    from reid_runtime.backends.onnx import OnnxBackend, import_onnxruntime
    from reid_runtime.backends.openvino import OpenVinoBackend

    if device not in DEVICES:
        raise BackendError(f"no device is called {device!r}; known: {', '.join(DEVICES)}")
    if path.suffix == ".xml" and device not in ("auto", "openvino"):
        raise BackendError(
            f"{path} is OpenVINO's own format, which device {device!r} cannot run: use device 'openvino'"
        )
    if device == "openvino" or path.suffix == ".xml":
        return OpenVinoBackend(path, threads)
    if device == "auto":
        if "CUDAExecutionProvider" in import_onnxruntime("cpu").get_available_providers():
            try:
                return OnnxBackend(path, "cuda", threads)
            except BackendError:
                pass  # offered by the package, but there is no GPU or driver
        device = "cpu"
    return OnnxBackend(path, device, threads)
