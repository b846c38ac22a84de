"""OpenVINO on the CPU, for ONNX files and for OpenVINO's own (.xml beside its .bin).

In float32, or in bfloat16 where that is asked for by name: never the one when the other was.
"""

import functools
import itertools
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, Literal

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
from reid_runtime.backends.fixed_sizes import FixedSizes
from reid_runtime.backends.openvino_graph import fold_constants, of_one_size
from reid_runtime.errors import BackendError, MissingBackendError
from reid_runtime.images.model_input import ModelInput
from reid_runtime.install import install_line
from reid_runtime.model_file import ModelFile


def import_openvino() -> ModuleType:
    """The package, or a BackendError with the line that installs it."""
    # Its telemetry calls home and writes to the home folder at import. Told that this module is absent, OpenVINO
    # uses its own stand-in; the runtime touches neither the network nor the home folder.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how a module is barred
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingBackendError(f"OpenVINO is needed and missing: {install_line('openvino')}") from error
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


_WORTH = 256 * 256 * 128
"""Compiling a model again takes as long as so many crops of `small` gain."""
_COPIED = 64_000_000
"""Bytes of weights in all copies of a network, of which each core has one."""
_CACHED = 16_000_000
"""Bytes of the largest file whose weights stay in a core's caches from one batch to the next."""
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
"""OpenVINO's names of the precisions."""


def open_float32(file: ModelFile, options: Options) -> "OpenVinoBackend":
    """OpenVINO on the CPU in float32."""
    _check_fast(file, options)
    return OpenVinoBackend(file.path, options.threads, output=file.contract.output, fast=options.fast)


def open_bfloat16(file: ModelFile, options: Options) -> "OpenVinoBackend":
    """OpenVINO on the CPU in bfloat16."""
    _check_fast(file, options)
    return OpenVinoBackend(file.path, options.threads, "bfloat16", file.contract.output, fast=options.fast)


class OpenVinoBackend:
    """One compiled model, one inference request for each call at once: `run` may be called from many at once."""

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
        output: str | None = None,
        streams: int = 1,
        fast: bool = False,
    ) -> None:
        """Compile `path` for the CPU; `threads` limits it, None uses every core. `streams` share them: calls at once.

        precision: how values that the file holds in float32 are multiplied. "bfloat16" keeps 8 bits of them, and is
        refused with a BackendError on a CPU that does not compute in it.

        output: the graph's output that is the vector, where it has several.

        fast: compile the network for each size that many images have, which gives them other last bits than before.
        """
        openvino = import_openvino()
        core = openvino_core()
        if precision == "bfloat16":
            _check_bfloat16(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        # Left alone, OpenVINO computes in bfloat16 where the CPU has it: another vector on another machine.
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision]}
        # A stream among others has a thread of its own, to which each call is handed over: of `tiny` that takes a tenth
        # of the time. A model compiled for a single stream runs in the thread that calls it.
        self._copies = streams if streams * path.stat().st_size < _COPIED else 1
        if streams == 1:
            options["PERFORMANCE_HINT"] = "LATENCY"
        else:
            options["NUM_STREAMS"] = streams // self._copies
        if self._copies > 1:  # all copies would be pinned to the same core
            threads, options["ENABLE_CPU_PINNING"] = 1, False
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model = _read(path)
            self.batch_size = _batch_size(openvino, model)
            self._is_quantized = any(each.get_type_name() == "FakeQuantize" for each in model.get_ops())
            compiled = [core.compile_model(model, "CPU", options) for _ in range(self._copies)]
            self.path, self.outputs = path, tuple(output_name(each, output) for each in model.outputs)
            self._kind = {"f32": "float32", "f16": "float16"}.get(
                model.inputs[0].get_element_type().get_type_name(), ""
            )
        except Exception as error:  # OpenVINO raises plain RuntimeError, and others
            raise BackendError(f"{path}: OpenVINO cannot load it: {error}") from error
        if len(model.inputs) != 1:
            raise BackendError(f"{path}: expected one input, found {len(model.inputs)}")
        self._output = self.outputs.index(one_output(self.outputs, output, path))
        used = compiled[0].get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != _HINTS[precision]:
            raise BackendError(f"{path}: {precision} was asked for, OpenVINO chose {used}")
        self.name = f"openvino cpu, {precision}{', fast' if fast else ''}"
        self.device = "openvino" if precision == "float32" else "openvino-bf16"
        self.max_batch_pixels = CPU_BATCH_PIXELS
        self._precision, self._wanted, self._fast, self._options = precision, output, fast, options
        # What an operator takes to begin weighs more there than the caches do: `tiny` takes 1.36 ms an image in batches
        # of eight and 1.67 of four, `base` 6.9 and 6.4.
        self._group = images_at_once(path)
        self._batch_pixels = (8 if precision == "bfloat16" or is_light(path) else 4) * 256 * 128
        # Compiled for its size, it begins operators faster, and the caches count: two crops of `base`, but four of a
        # ResNet-50, which reads its weights again for each batch, and in bfloat16. `tiny` wants few calls.
        own = 2 if precision == "float32" and path.stat().st_size < _CACHED else 4
        own_pixels = self._batch_pixels if is_light(path) else own * 256 * 128
        self._network = self._requests_of(compiled)
        if streams > 1 and not self._is_quantized:
            self._network = FixedSizes(
                self._network, self._of_one_size, self._group, own_pixels, same_bytes=not fast
            ).run

    @property
    def side_by_side(self) -> OnOneCore | None:
        """The model compiled again, for a stream of requests on each core."""
        if (self.batch_size or 1) > 1:
            return None
        # To go from one shape of batches to another takes it three milliseconds.
        among_others = 2 * self._group if self._group > 4 else 4 * self._group
        return OnOneCore(self._on_one_core, self._batch_pixels, _WORTH, self._group, group_among_others=among_others)

    def _on_one_core(self, threads: int) -> Run:
        other = OpenVinoBackend(self.path, threads, self._precision, self._wanted, threads, self._fast)
        other.batch_size = self.batch_size  # which a trial may have found
        return other.run

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch in the contract's input format to (N, D) float32; BackendError with OpenVINO's own words."""
        return in_batches(self._network, images, self.batch_size)

    def _of_one_size(self, shape: tuple[int, ...]) -> Run:
        core, options = openvino_core(), self._options
        try:
            model = _read(self.path)
            further: list[npt.NDArray[Any]] = []
            if self._fast:
                model.reshape(list(shape))
            else:
                options, further = of_one_size(import_openvino(), core, model, shape, options)
            compiled = [core.compile_model(model, "CPU", options) for _ in range(self._copies)]
        except Exception as error:  # as above
            raise BackendError(f"{self.path}: OpenVINO cannot compile it for {shape}: {error}") from error
        return self._requests_of(compiled, further)

    def _requests_of(self, compiled: Sequence[Any], further: Sequence[npt.NDArray[Any]] = ()) -> Run:
        """What runs a batch in a request of one of the compiled models, and lends each to one call at a time.

        There are as many requests as calls at once, the first of each model before the second of any. `further` are
        the values of a model's inputs after the images.
        """
        requests: SimpleQueue[Any] = SimpleQueue()
        in_turn = itertools.cycle(compiled)

        def run(images: ModelInput) -> npt.NDArray[np.float32]:
            try:
                request = requests.get_nowait()
            except Empty:
                request = next(in_turn).create_infer_request()
            images = as_float(images, self._kind)
            try:
                outputs = request.infer([images, *further], share_inputs=True)
                # A copy: the request writes its next result over this one.
                vectors = np.array(outputs[self._output])
            except Exception as error:  # as above
                raise BackendError(
                    f"{self.name} failed on a batch of shape {images.shape} {images.dtype}: {error}"
                ) from error
            requests.put(request)
            return as_rows(vectors, len(images), self.name)

        return run


def _read(path: Path) -> Any:
    model = openvino_core().read_model(path)
    fold_constants(import_openvino(), model)
    return model


def _check_fast(file: ModelFile, options: Options) -> None:
    if options.fast and file.contract.precision.kind == "int8":
        raise BackendError(f"{file.path}: the faster mode is for float32 files; in INT8 it would be the slower one")


def _check_bfloat16(capabilities: list[str]) -> None:
    if "BF16" not in capabilities:
        raise MissingBackendError(
            "device 'openvino-bf16' needs a CPU that computes in bfloat16 (AVX512-BF16 or AMX), OpenVINO finds "
            f"{', '.join(sorted(capabilities))}: use device 'openvino'"
        )


def output_name(output: Any, wanted: str | None = None) -> str:
    """One of the names of an output: what is wanted, if it has that."""
    names = output.get_names()
    return str(wanted) if wanted in names else min(names, default="without a name")


def _batch_size(openvino: ModuleType, model: Any) -> int | None:
    """The only size of batches that runs, None for any; the first axis is freed where the file fixes it."""
    shape = model.inputs[0].get_partial_shape()
    if shape[0].is_dynamic:
        return None
    size, free = shape[0].get_length(), model.inputs[0].get_partial_shape()
    free[0] = openvino.Dimension()
    try:
        model.reshape({model.inputs[0]: free})
        if all(output.get_partial_shape()[0].is_dynamic for output in model.outputs):
            return None
        model.reshape({model.inputs[0]: shape})
    except RuntimeError:
        pass  # a constant inside holds on to the batch
    return int(size)
