"""What the rest of the runtime knows of a backend: a name, a device, and one call."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import BackendError
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.images.model_input import InputFormat, ModelInput
from reid_runtime.model_file.contract import Contract

# 32 crops of 256x128: larger batches are no faster on a CPU and only cost memory.
CPU_BATCH_PIXELS = 32 * 256 * 128


@dataclass(frozen=True)
class Options:
    """How a model file is opened. All but `threads` are for devices that run engines."""

    threads: int | None = None
    """CPU threads of a call; None uses every core."""
    trust_engine: bool = False
    """Run an engine that nothing vouches for; it is code."""
    cuda_graphs: int = 0
    """How many CUDA graphs each execution context keeps."""
    fallback: Path | None = None
    """An ONNX file of the same model, run by ONNX Runtime CUDA where no profile takes a shape."""
    gpu: int = 0
    """The number of the GPU, for ONNX Runtime CUDA."""


DEFAULT = Options()


class Backend(Protocol):
    """A loaded model on one device. Shared between threads: `run` may be called from many at once."""

    @property
    def name(self) -> str:
        """Engine and device, for people: `onnxruntime cpu`."""

    @property
    def device(self) -> str:
        """What computes, for programs: the device that `open_backend` was given, never "auto"."""

    @property
    def max_batch_pixels(self) -> int:
        """Height x width x batch that one call should stay under; a single larger image goes alone."""

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch of one shape, at least one image, in the contract's input format, to (N, D) float32."""


@runtime_checkable
class OwnArtefact(Protocol):
    """A Backend that runs another artefact than the file it was opened from: an engine that was built of it."""

    artefact_id: str
    """`sha256:…`"""
    contract: Contract | None
    """The engine's; None where nothing but the file's says what it is."""


class CropBackend(Backend, Protocol):
    """A Backend that takes crops of a frame on the GPU."""

    def run_crops(
        self,
        frame: Any,
        channel_order: ChannelOrder,
        corners: npt.NDArray[np.int64],
        shape: tuple[int, int],
        form: InputFormat,
    ) -> npt.NDArray[np.float32]:
        """The crops at `corners`, all resized to `shape`, to (N, D) float32."""


def crop_backend(backend: Backend) -> CropBackend:
    """The backend as one that takes crops of a frame on the GPU; BackendError for one that takes the host's pixels."""
    if not hasattr(backend, "run_crops"):
        raise BackendError(
            f"the frame is on the GPU, and {backend.name} takes pixels of the host: bring the frame to the host, or "
            "load with device='tensorrt'"
        )
    return cast(CropBackend, backend)


def as_rows(output: Any, source: str) -> npt.NDArray[np.float32]:
    """A third-party model's output as (N, D) float32: pooling may leave (N, D, 1, 1), half precision float16.

    Raises BackendError, naming `source`, for an output that is no tensor.
    """
    if not isinstance(output, np.ndarray):
        raise BackendError(
            f"{source}: expected a tensor (N, D) as output, found a {type(output).__name__}: export it so"
        )
    if output.ndim > 2 and output.shape[2:] == (1,) * (output.ndim - 2):
        output = output.reshape(output.shape[:2])
    rows: npt.NDArray[np.float32] = output.astype(np.float32) if output.dtype == np.float16 else output
    return rows


def raise_signal(error: Exception) -> None:
    """Raise what a signal raised while a compiled package was imported, if that is what the error is made of.

    pybind11 makes an ImportError of anything, also of Ctrl-C; that is no broken package.
    """
    if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
        raise error.__cause__
