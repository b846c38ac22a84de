"""ONNX Runtime, on the CPU or on CUDA: never the one when the other was asked for."""

import io
import logging
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.base import (
    CPU_BATCH_PIXELS,
    OnOneCore,
    Options,
    Run,
    as_float,
    as_rows,
    images_at_once,
    in_batches,
    is_light,
    one_output,
    raise_signal,
)
from reid_runtime.errors import BackendError, MissingBackendError
from reid_runtime.images.model_input import ModelInput
from reid_runtime.install import install_line
from reid_runtime.io.concurrency import cores
from reid_runtime.model_file import ModelFile

_CUDA_BATCH_PIXELS = 256 * 256 * 128
_CROP = 256 * 128
_CACHED = (4_000_000, 16_000_000)
"""Bytes of files, between which a network keeps two crops in a core's caches, but not four: `base` and `small` are 5
to 12 % faster by two. `tiny`, which waits for its operators to begin, and ResNet-50, which reads its weights again for
each batch, are 3 to 8 % faster by four.
"""
_WORTH = 64 * _CROP
"""Opening a second session takes as long as such crops of `base` gain."""
_KINDS = {"tensor(float)": "float32", "tensor(float16)": "float16"}
"""ONNX Runtime's names of the kinds of floats."""
_LOG = logging.getLogger(__name__)


def import_onnxruntime(extra: str) -> ModuleType:
    """The one ONNX Runtime that is installed; a BackendError that says what to do where there is none, or two.

    Its telemetry is off: the package reid_runtime sees to that when it is imported.
    """
    present = []
    for distribution in ("onnxruntime", "onnxruntime-gpu"):
        try:
            present.append(f"{distribution} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    if len(present) > 1:
        raise BackendError(
            f"both {' and '.join(present)} are installed, and each overwrites files of the other: "
            f"pip uninstall onnxruntime onnxruntime-gpu, then {install_line('cpu')} or {install_line('gpu')}"
        )
    try:
        import onnxruntime

        onnxruntime.InferenceSession  # noqa: B018  # what another's removal left of it imports well, and is empty
    except Exception as error:  # a broken package raises whatever it stumbles over
        raise_signal(error)
        install = install_line(extra)
        if not present:
            raise MissingBackendError(f"ONNX Runtime is needed and missing: {install}") from error
        raise BackendError(
            f"{present[0]} is installed and cannot be imported ({error}): pip uninstall onnxruntime onnxruntime-gpu, "
            f"then {install}"
        ) from error
    return onnxruntime  # type: ignore[no-any-return]  # the package has no types


def open_cpu(file: ModelFile, options: Options) -> "OnnxBackend":
    """ONNX Runtime on the CPU."""
    return OnnxBackend(file.path, "cpu", options.threads, output=file.contract.output)


def open_cuda(file: ModelFile, options: Options) -> "OnnxBackend":
    """ONNX Runtime on CUDA."""
    return OnnxBackend(file.path, "cuda", options.threads, options.gpu, file.contract.output)


def open_best(file: ModelFile, options: Options) -> "OnnxBackend":
    """CUDA where ONNX Runtime offers it and it works, else the CPU; the log says which, and why not CUDA."""
    if "CUDAExecutionProvider" not in import_onnxruntime("cpu").get_available_providers():
        backend = open_cpu(file, options)
    else:
        try:
            backend = open_cuda(file, options)
        except BackendError as error:  # offered by the package, but there is no GPU or driver, or a library is missing
            backend = open_cpu(file, options)
            _LOG.warning("device auto: %s, because CUDA, which is installed, cannot be used: %s", backend.name, error)
            return backend
    _LOG.info("device auto: %s", backend.name)
    return backend


@dataclass(frozen=True)
class Port:
    """A graph's input."""

    name: str
    kind: str
    """As ONNX Runtime calls it."""
    shape: tuple[int | None, ...]
    """None for a free axis."""


def session_ports(session: Any, path: Path) -> tuple[Port, tuple[str, ...]]:
    """The one input of a session, and the names of its outputs.

    Raises BackendError for several inputs, UnicodeDecodeError for names that are no text.
    """
    inputs, outputs = session.get_inputs(), tuple(each.name for each in session.get_outputs())
    names = [each.name for each in inputs]
    if len(names) != 1:
        raise BackendError(
            f"{path}: expected one input, found {', '.join(names) or 'none'}: make constants of all but the image's"
        )
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape)
    return Port(names[0], inputs[0].type, shape), outputs


class OnnxBackend:
    """One ONNX Runtime session over one file. Its `run` is safe to call from many threads."""

    def __init__(
        self, path: Path, device: str, threads: int | None = None, gpu: int = 0, output: str | None = None
    ) -> None:
        """Load `path` on `device`, "cpu" or "cuda", there on the GPU of this number; `threads` limits the CPU's.

        `output` names the graph's output that is the vector, where it has several.
        """
        onnxruntime = import_onnxruntime("gpu" if device == "cuda" else "cpu")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Threads that wait for work spin, and after a call they take the cores from whatever comes next: OpenVINO took
        # 31 ms a batch after ONNX Runtime's, 19 with this, 17 alone. It costs ONNX Runtime itself about 1 %.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Left alone, it binds its threads to cores of the machine, each process's to the same ones, and also where this
        # process may not run: two processes of one core each took more than twice the time.
        options.intra_op_num_threads = threads or cores()
        if device == "cuda":
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise MissingBackendError(
                    "device 'cuda' was asked for, but this ONNX Runtime offers "
                    f"{', '.join(onnxruntime.get_available_providers())}: "
                    f"pip uninstall onnxruntime, then {install_line('gpu')}"
                )
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            # EXHAUSTIVE, the default, searches again for every new shape: 634 ms against 2 ms.
            # TF32 rounds inputs to 10 bits: off, so that every backend gives the same vectors.
            cuda = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0", "device_id": str(gpu)}
            providers: list[str | tuple[str, dict[str, str]]] = [("CUDAExecutionProvider", cuda)]
            missing = _load_cuda(onnxruntime)
        else:
            providers = ["CPUExecutionProvider"]
            missing = ""
        try:
            # Its own fallback would go on, on another device, with a word on standard output.
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
            port, self.outputs = session_ports(self._session, path)
        except BackendError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BackendError(f"{path}: ONNX Runtime cannot load it on {device}: {error}{missing}") from error
        used = self._session.get_providers()[0]
        if used.removesuffix("ExecutionProvider").lower() != device:
            raise MissingBackendError(
                f"device {device!r} was asked for, ONNX Runtime chose {used}: its CUDA libraries are missing or of "
                f"another version: {install_line('gpu', '--force-reinstall')}{missing}"
            )
        self.path, self._kind, self._wanted = path, _KINDS.get(port.kind, ""), output
        least, most = _CACHED
        self._group, self._crops = images_at_once(path), 2 if least <= path.stat().st_size < most else 4
        self._input, self._output = port.name, one_output(self.outputs, output, path)
        self.name, self.device = f"onnxruntime {device}", device
        self.max_batch_pixels = _CUDA_BATCH_PIXELS if device == "cuda" else CPU_BATCH_PIXELS
        batch = port.shape[0] if port.shape else None
        self.batch_size = batch if batch else None

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch in the contract's input format to (N, D) float32; BackendError with ONNX Runtime's own words."""
        return in_batches(self._run, images, self.batch_size)

    @property
    def side_by_side(self) -> OnOneCore | None:
        """A second session, whose calls run in the thread that makes them."""
        if self.device != "cpu" or (self.batch_size or 1) > 1:
            return None
        # An image of `tiny` takes as long alone as among others, and is still in the caches if it waits for none.
        waits = not is_light(self.path)
        return OnOneCore(self._on_one_core, self._crops * _CROP, _WORTH, self._group, waits, self._group)

    def _on_one_core(self, threads: int) -> Run:
        other = OnnxBackend(self.path, self.device, 1, output=self._wanted)
        other.batch_size = self.batch_size  # which a trial may have found
        return other.run

    def _run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        images = as_float(images, self._kind)
        try:
            (vectors,) = self._session.run([self._output], {self._input: images})
        except Exception as error:  # as above
            raise BackendError(
                f"{self.name} failed on a batch of shape {images.shape} {images.dtype}: {error}"
            ) from error
        return as_rows(vectors, len(images), self.name)


def _load_cuda(onnxruntime: ModuleType) -> str:
    """Load the CUDA libraries that came with pip, which ONNX Runtime does not look for by itself.

    Gives its output about those it did not find, as the end of a message: its own error names no library.
    """
    from reid_runtime.backends.cuda.driver import missing_gpu

    reason = missing_gpu()
    if reason is not None:
        raise MissingBackendError(
            f"device 'cuda' was asked for, and there is {reason}: install NVIDIA's driver, or in a container pass the "
            "GPU on (docker run --gpus all)"
        )
    output = io.StringIO()
    with redirect_stdout(output):
        onnxruntime.preload_dlls()
    return f" ({' '.join(output.getvalue().split())})" if output.getvalue() else ""
