"""The devices, one entry each: what opens a model file there, which files it takes, which packages it needs.

A backend is added by one new module with an opener and one entry of REGISTRY; the command line's choices, `doctor`
and `verify` follow. Its module is imported when the device is first opened.
"""

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_runtime.backends.base import DEFAULT, Backend, Options
from reid_runtime.errors import BackendError
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.formats import ONNX, OPENVINO, TENSORRT, Format, format_of

if TYPE_CHECKING:
    from reid_runtime.backends.remote import ServedModel
    from reid_runtime.model_file.address import Address

_LOG = logging.getLogger(__name__)


Opener = Callable[[ModelFile, Options], Backend]


@dataclass(frozen=True)
class Device:
    """What the runtime knows of a device before its module is imported."""

    opener: str
    """`module:function`, an Opener."""
    packages: tuple[str, ...]
    """Distributions that bring its engine; one of them is enough."""
    extra: str
    """The extra of reid-runtime that installs one."""
    formats: tuple[Format, ...] = (ONNX,)
    """Model files that it runs."""
    rounds: str | None = None
    """For a device that computes in fewer bits than the file holds: the one that runs it as exactly as it is."""
    builds_engines: bool = False
    """Whether opening a file may take minutes, and the options for engines apply."""
    has_fast: bool = False
    """Whether it has a faster mode, which does not keep the last bits."""


_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")
_TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx")
REGISTRY = {
    "cpu": Device("reid_runtime.backends.onnx:open_cpu", _ONNXRUNTIME, "cpu"),
    "openvino": Device(
        "reid_runtime.backends.openvino:open_float32",
        ("openvino",),
        "openvino",
        formats=(ONNX, OPENVINO),
        has_fast=True,
    ),
    "openvino-bf16": Device(
        "reid_runtime.backends.openvino:open_bfloat16",
        ("openvino",),
        "openvino",
        formats=(ONNX, OPENVINO),
        rounds="openvino",
        has_fast=True,
    ),
    "cuda": Device("reid_runtime.backends.onnx:open_cuda", _ONNXRUNTIME, "gpu"),
    "tensorrt": Device(
        "reid_runtime.backends.tensorrt.open:open_tensorrt",
        _TENSORRT,
        "tensorrt",
        formats=(ONNX, TENSORRT),
        builds_engines=True,
    ),
}
_AUTO = {ONNX.name: "reid_runtime.backends.onnx:open_best"}
"""What "auto" opens a format with; for the others, the first device that runs them."""
DEVICES = ("auto", *REGISTRY)
_ALIASES = {"gpu": "cuda"}
_SERVERS = "reid_runtime.backends.remote:open_served"
"""What opens a model at an address: no device of this machine."""


def parse_device(text: str) -> tuple[str, int]:
    """(one of DEVICES, the GPU's number) of what users write: `gpu` for `cuda`, `cuda:1` for the second GPU.

    Raises BackendError for no device.
    """
    name, colon, number = text.partition(":")
    name = _ALIASES.get(name, name)
    if name not in DEVICES or (colon and not (name == "cuda" and re.fullmatch("[0-9]{1,3}", number))):
        raise BackendError(
            f"no device is called {text!r}; known: {', '.join(DEVICES)}, gpu for cuda, and cuda:N for the GPU of that "
            "number, which CUDA_VISIBLE_DEVICES chooses for tensorrt"
        )
    return name, int(number or 0)


def open_backend(file: ModelFile, device: str, options: Options = DEFAULT) -> Backend:
    """Open a model file on a device.

    Args:
        file: The model file.
        device: One of DEVICES. "openvino" computes in float32, "openvino-bf16" in bfloat16. "tensorrt" takes engines,
            and ONNX files, whose engine it finds or builds. "auto" is OpenVINO for its own files (.xml) and TensorRT
            for engines (.engine); for ONNX it is CUDA where ONNX Runtime offers it and it works, else the CPU. What
            it chose is in the backend's name and in the log: at INFO, or at WARNING, with the reason, where CUDA was
            offered and failed.
        options: Threads, and what only engines take.

    Raises:
        BackendError: For a device, a package or a file that cannot be used here, and for an option of engines on
            another device.
    """
    name = require_device(file.path, device, options)
    if device == "auto" and file.format.name in _AUTO:
        return _opener(_AUTO[file.format.name])(file, options)
    backend = _opener(REGISTRY[name].opener)(file, options)
    if device == "auto":
        _LOG.info("device auto: %s", backend.name)
    return backend


def open_server(
    address: "Address", stated: str | os.PathLike[str] | None, device: str = "auto", options: Options = DEFAULT
) -> "ServedModel":
    """Open a model on a server, as `remote.open_served` has it; BackendError for a device or an option of engines."""
    if device not in ("auto", "cpu") or options != Options(options.threads):
        raise BackendError(
            f"{address}: the server decides what the model runs on: leave device {device!r}, and what is for engines, "
            "out"
        )
    opened: ServedModel = _loaded(_SERVERS)(address, stated)
    return opened


def require_device(path: Path, device: str, options: Options = DEFAULT) -> str:
    """The device that opens a file of this format where `device` is asked for; BackendError as `open_backend` has it.

    For "auto" it is the first device that runs the format.
    """
    if device not in DEVICES:
        raise BackendError(f"no device is called {device!r}; known: {', '.join(DEVICES)}")
    usable = devices_for(path)
    name = usable[0] if device == "auto" else device
    if (options.cuda_graphs or options.fallback is not None) and not REGISTRY[name].builds_engines:
        raise BackendError(f"CUDA graphs and a fallback are for device 'tensorrt', and {device!r} was asked for")
    if options.fast and not REGISTRY[name].has_fast:
        known = " or ".join(each for each, device in REGISTRY.items() if device.has_fast)
        raise BackendError(f"device {device!r} has no faster mode: expected --device {known} with --fast (fast=True)")
    if name not in usable:
        raise BackendError(
            f"{path}: device {name!r} runs {' and '.join(known.suffix for known in REGISTRY[name].formats)} files, "
            f"found {format_of(path).suffix}: use device {usable[0]!r}"
        )
    return name


def devices_for(path: Path) -> list[str]:
    """The devices that run files of this format, as exactly as they are written or not."""
    return [name for name, device in REGISTRY.items() if format_of(path) in device.formats]


def _opener(name: str) -> Opener:
    opener: Opener = _loaded(name)
    return opener


def _loaded(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)
