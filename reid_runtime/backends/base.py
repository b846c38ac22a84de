"""What the rest of the runtime knows of a backend: a name, a device, and one call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import BackendError, OptionsError
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.images.model_input import InputFormat, ModelInput
from reid_runtime.model_file.contract import Contract

# 32 crops of 256x128: larger batches are no faster on a CPU and only cost memory.
CPU_BATCH_PIXELS = 32 * 256 * 128


@dataclass(frozen=True)
class Options:
    """How a model file is opened. All but `threads` and `fast` are for devices that run engines."""

    threads: int | None = None
    """CPU threads of a call; None uses every core."""
    fast: bool = False
    """The device's faster mode, whose vectors differ in their last bits with the images that came before."""
    trust_engine: bool = False
    """Run an engine that nothing vouches for; it is code."""
    cuda_graphs: int = 0
    """How many CUDA graphs each execution context keeps."""
    fallback: Path | None = None
    """An ONNX file of the same model, run by ONNX Runtime CUDA where no profile takes a shape."""
    gpu: int = 0
    """The number of the GPU, for ONNX Runtime CUDA."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise OptionsError(f"expected at least one thread, or None for all cores, found {self.threads}")


DEFAULT = Options()

CUT = (
    'cut the graph where that is, python -c "import sys, onnx.utils; onnx.utils.extract_model(*sys.argv[1:3], '
    '[sys.argv[3]], [sys.argv[4]])" MODEL ONE.onnx INPUT TENSOR'
)
"""The edit that helps where a graph's output is no row of numbers."""


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


@runtime_checkable
class FixedBatches(Backend, Protocol):
    """A Backend whose model may take batches of one size alone."""

    path: Path
    batch_size: int | None
    """Their size, 1 for one by one; None for any."""


@runtime_checkable
class ServerBackend(Backend, Protocol):
    """A Backend whose model runs in another process, which may be many times as fast, and may be replaced."""

    requests: int
    """How many calls of `run` at once keep it busy."""

    def confirm(self, within: float = 0.0) -> None:
        """Raise BackendError unless what runs there is still what was opened.

        Nothing is asked where that was seen in the last `within` seconds.
        """


Run = Callable[[ModelInput], npt.NDArray[np.float32]]
"""What `Backend.run` is."""


LIGHT = 4_000_000
"""Bytes of a network's file, below which it is a light one."""


def is_light(path: Path) -> bool:
    """Whether the network in this file is a light one."""
    return path.stat().st_size < LIGHT


def images_at_once(path: Path) -> int:
    """`OnOneCore.group` of the network in this file."""
    return 16 if is_light(path) else 4


@dataclass(frozen=True)
class OnOneCore:
    """How a backend runs many batches side by side, each on one core."""

    open: Callable[[int], Run]
    """Opens the model for so many batches at once; what it gives may be called from as many threads."""
    pixels: int
    """Height x width x batch of one: what is fastest, not what fits."""
    worth: int
    """Pixels to embed from which on it is worth the time that opening takes."""
    group: int = 16
    """Images that a thread embeds at once: many of a light network, for which handing over takes 8 % of the time, few
    of a heavy one, of which the last thread would be long alone at work."""
    waits_for_shape: bool = True
    """Whether images had better wait for others of their size: where one alone, or of another size, takes longer."""
    group_among_others: int = 16
    """`group` while images of other sizes wait too: more where going from one size to another takes time."""


@runtime_checkable
class SideBySide(Backend, Protocol):
    """A Backend on the CPU that may run batches side by side, and then gives the same bytes."""

    @property
    def side_by_side(self) -> OnOneCore | None:
        """None where this model or device gains nothing by it."""


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


def as_rows(output: Any, images: int, source: str) -> npt.NDArray[np.float32]:
    """A third-party model's output for so many images as (N, D) float32.

    Pooling may leave (N, D, 1, 1), a squeezed batch of one (D,), half precision float16. Raises BackendError, naming
    `source`, for anything else.
    """
    if not isinstance(output, np.ndarray) or output.dtype.kind != "f" or not output.ndim:
        found = type(output).__name__
        if isinstance(output, np.ndarray):
            found = f"{output.dtype} {output.shape}"
        raise BackendError(f"{source}: expected a tensor (N, D) of floats as output, found {found}: {CUT}")
    shape = tuple(side for axis, side in enumerate(output.shape) if axis == 0 or side != 1 or output.ndim <= 2)
    if output.ndim == 1 and images == 1:
        shape = (1, *shape)
    return output.reshape(shape).astype(np.float32, copy=False)


def as_float(images: ModelInput, kind: str) -> ModelInput:
    """A batch of floats in the kind that a graph takes, "float32" or "float16", whichever the contract says."""
    if images.dtype.kind != "f" or kind not in ("float32", "float16") or images.dtype == kind:
        return images
    converted: ModelInput = images.astype(kind)
    return converted


def in_batches(
    run: Callable[[ModelInput], npt.NDArray[np.float32]], images: ModelInput, size: int | None
) -> npt.NDArray[np.float32]:
    """Rows of a model that takes batches of one size alone, the last one filled up; with None it takes any."""
    if size is None or len(images) == size:
        return run(images)
    rows = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
        rows.append(run(np.ascontiguousarray(filled))[: len(batch)])
    return np.concatenate(rows)


def one_output(names: Sequence[str], wanted: str | None, source: object) -> str:
    """The output that is the vector; BackendError where that is not known."""
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    if wanted is None:
        raise BackendError(
            f'{source} has the outputs {", ".join(names)}: name that of the vectors in its contract, "output": '
            f'"{names[0]}"'
        )
    raise BackendError(f"{source} has no output {wanted!r}, as its contract says, but {', '.join(names)}")


def raise_signal(error: Exception) -> None:
    """Raise what a signal raised while a compiled package was imported, if that is what the error is made of.

    pybind11 makes an ImportError of anything, also of Ctrl-C; that is no broken package.
    """
    if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
        raise error.__cause__
