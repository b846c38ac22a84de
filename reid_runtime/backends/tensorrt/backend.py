"""TensorRT: one engine, and execution contexts from a pool, a context for each thread that runs and profile it uses.

Contexts of one profile run at once: since TensorRT 10 they may share it (PreviewFeature PROFILE_SHARING_0806, on for
good). Every thread works in the GPU's primary context, which TensorRT, torch and CuPy share.
"""

import math
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.base import Backend
from reid_runtime.backends.cuda import Cuda, open_cuda
from reid_runtime.backends.cuda.arrays import device_array
from reid_runtime.backends.cuda.crops import check_frame, compile_crops, launch_crops
from reid_runtime.backends.tensorrt.engine import Engine
from reid_runtime.backends.tensorrt.module import import_tensorrt, version_string
from reid_runtime.backends.tensorrt.pool import Pool
from reid_runtime.backends.tensorrt.profiles import Profile, Shape
from reid_runtime.backends.tensorrt.runner import ALIGNMENT, Fill, Lane, Runner
from reid_runtime.errors import BackendError
from reid_runtime.images.boxes import is_on_gpu
from reid_runtime.images.decode import ChannelOrder
from reid_runtime.images.model_input import InputFormat, ModelInput
from reid_runtime.model_file.contract import Contract
from reid_runtime.vectors import Vectors


class TensorRTBackend:
    """One engine on GPU 0. Threads may call `run` at once; each takes a context of the pool and gives it back."""

    def __init__(
        self,
        engine: Engine,
        *,
        cuda: Cuda | None = None,
        cuda_graphs: int = 0,
        fallback: Backend | None = None,
    ) -> None:
        """Deserialise `engine`, which must be one that this machine built or whose digest was checked: it is code.

        cuda: the provider of device memory, the first that works without it.
        cuda_graphs: how many, one a shape, each context keeps; worth it for small batches of few shapes.
        fallback: another Backend of the same model, ONNX Runtime CUDA say, for shapes outside every profile; without
        it they are a BackendError.

        Raises BackendError where there is no TensorRT, driver or GPU, and, with TensorRT's reason, for an engine that
        it will not load.
        """
        trt = import_tensorrt()
        self._cuda = open_cuda() if cuda is None else cuda  # before any Runtime: without a driver that may crash
        if cuda_graphs and not self._cuda.captures_graphs:
            raise BackendError(f"{self._cuda.name} cannot capture CUDA graphs: use cuda-bindings, or cuda_graphs=0")
        text = engine.contract_text
        self.contract = None if text is None else Contract.from_json(text, "the engine")
        self.artefact_id = engine.digest
        self.device = "tensorrt"
        self.name = f"{version_string(trt)} with {self._cuda.name}"
        self._fallback = fallback
        self._pool = Pool(trt, engine.blob, self._cuda, cuda_graphs)
        self._release = weakref.finalize(self, self._pool.close)
        self._kernel: int | None = None
        self._lock = threading.Lock()
        with ExitStack() as stack:
            stack.callback(self.close)
            self._planes, self._dtype = self._input_kind()
            self._profiles = self._built_profiles()
            stack.pop_all()
        self.max_batch_pixels = max(math.prod(profile.maximum) for profile in self._profiles)

    def close(self) -> None:
        """Give everything back: contexts, then the engine, then the runtime. Done by itself when the object goes."""
        self._release()

    def run(self, images: ModelInput | Any) -> Vectors:
        """One batch of one shape, in the contract's input format, to (N, D) float32.

        images: on the host, or an array on the GPU (`__dlpack__` or `__cuda_array_interface__`), which is read where
        it lies once its own stream has filled it. Raises BackendError for a shape that no profile takes.
        """
        shape = tuple(images.shape)
        batch, height, width = self._shape_of(shape)
        profile = self._profile(batch, height, width)
        if profile is None:
            if self._fallback is not None and not is_on_gpu(images):
                return self._fallback.run(images)
            raise BackendError(f"{self._outside(batch, height, width)}, or load it with fallback=FILE.onnx")
        if is_on_gpu(images):
            return self._run(profile, batch, lambda runner: self._from_device(runner, images))
        if images.dtype != self._dtype:
            raise BackendError(f"{self.name} takes {self._dtype}, found a batch {shape} of {images.dtype}")
        return self._run(profile, batch, lambda runner: self._from_host(runner, np.asarray(images)))

    def run_crops(
        self,
        frame: Any,
        channel_order: ChannelOrder,
        corners: npt.NDArray[np.int64],
        shape: tuple[int, int],
        form: InputFormat,
    ) -> Vectors:
        """The vectors, (N, D) float32, of crops of a frame on the GPU, cut and resized there.

        frame: (H, W, 3) uint8 in `channel_order`. corners: (N, 4) x1, y1, x2, y2 within it, N at least 1,
        all to be resized to `shape` (height, width); `form` is the contract's input format.
        """
        if (form.layout == "NCHW", np.dtype(form.dtype)) != (self._planes, self._dtype):
            raise BackendError(f"the contract's input is {form.layout} of {form.dtype}, the engine's another")
        profile = self._profile(len(corners), *shape)
        if profile is None:
            raise BackendError(self._outside(len(corners), *shape))
        with self._lock, self._cuda.current():
            if self._kernel is None:
                self._kernel = compile_crops(self._cuda)
        kernel, boxes = self._kernel, corners.astype(np.int32)
        return self._run(
            profile,
            len(corners),
            lambda runner: self._from_frame(runner, kernel, frame, channel_order, boxes, shape, form),
        )

    def _run(self, profile: int, batch: int, source: Callable[[Runner], Fill]) -> Vectors:
        smallest, _, _ = self._profiles[profile].minimum
        largest, _, _ = self._profiles[profile].maximum
        with self._cuda.current(), self._pool.runner(profile) as runner:
            return runner.run(_parts(batch, smallest, largest), source(runner))

    def _from_host(self, runner: Runner, images: npt.NDArray[Any]) -> Fill:
        def fill(lane: Lane, part: slice) -> tuple[tuple[int, ...], int]:
            rows = images[part]
            address = lane.input.reserve(rows.nbytes)
            self._upload(lane, rows, address, runner.copies)  # while the batch before is computed
            self._cuda.record(lane.ready, runner.copies)
            self._cuda.wait(runner.compute, lane.ready)
            return rows.shape, address

        return fill

    def _from_device(self, runner: Runner, images: Any) -> Fill:
        array = device_array(images, self._cuda, runner.compute)
        if array.dtype != self._dtype or not array.contiguous:
            raise BackendError(
                f"{self.name} takes contiguous {self._dtype} from the GPU, found {array.shape} of {array.dtype} "
                f"with strides {array.strides}"
            )
        image = array.strides[0]

        def fill(lane: Lane, part: slice) -> tuple[tuple[int, ...], int]:
            count = part.stop - part.start
            address = array.address + part.start * image
            if address % ALIGNMENT:  # TensorRT would read it wrongly, or slowly
                aligned = lane.input.reserve(count * image)
                self._cuda.copy(aligned, address, count * image, runner.compute)
                address = aligned
            return (count, *array.shape[1:]), address

        return fill

    def _from_frame(
        self,
        runner: Runner,
        kernel: int,
        frame: Any,
        channel_order: ChannelOrder,
        corners: npt.NDArray[np.int32],
        shape: tuple[int, int],
        form: InputFormat,
    ) -> Fill:
        array = device_array(frame, self._cuda, runner.compute)
        check_frame(array)
        image = (3, *shape) if self._planes else (*shape, 3)

        def fill(lane: Lane, part: slice) -> tuple[tuple[int, ...], int]:
            some = corners[part]
            boxes = lane.boxes.reserve(some.nbytes)
            self._upload(lane, some, boxes, runner.compute)
            rows = (len(some), *image)
            address = lane.input.reserve(math.prod(rows) * self._dtype.itemsize)
            launch_crops(self._cuda, kernel, runner.compute, array, channel_order, some, boxes, shape, form, address)
            return rows, address

        return fill

    def _upload(self, lane: Lane, values: npt.NDArray[Any], address: int, stream: int) -> None:
        """By way of the lane's pinned memory, which is free: its last batch was waited for."""
        staged = lane.staged.reserve(values.nbytes)
        np.copyto(staged.view(values.dtype).reshape(values.shape), values)
        self._cuda.upload(address, staged, stream)

    def _shape_of(self, shape: tuple[int, ...]) -> Shape:
        if len(shape) != 4 or shape[1 if self._planes else 3] != 3 or shape[0] < 1:
            layout = "(N, 3, H, W)" if self._planes else "(N, H, W, 3)"
            raise BackendError(f"{self.name} takes batches {layout} of at least one image, found {shape}")
        return (shape[0], shape[2], shape[3]) if self._planes else (shape[0], shape[1], shape[2])

    def _profile(self, batch: int, height: int, width: int) -> int | None:
        """The profile that takes the shape, the one tuned for the nearest area where several do; None where none."""
        fitting = [
            index
            for index, profile in enumerate(self._profiles)
            if profile.minimum[1] <= height <= profile.maximum[1]
            and profile.minimum[2] <= width <= profile.maximum[2]
            and _parts(batch, profile.minimum[0], profile.maximum[0])
        ]
        return min(fitting, key=lambda index: _log_ratio(self._profiles[index].optimum, height, width), default=None)

    def _outside(self, batch: int, height: int, width: int) -> str:
        def gap(profile: Profile) -> float:
            nearest = [min(max(side, low), high) for side, low, high in self._sides(profile, height, width)]
            return abs(math.log(height / nearest[0])) + abs(math.log(width / nearest[1]))

        nearest = min(self._profiles, key=gap)
        (_, low, high), (_, thin, wide) = self._sides(nearest, height, width)
        return (
            f"no profile of this engine takes {batch} images of {height}x{width}; the nearest takes batches of "
            f"{nearest.minimum[0]} to {nearest.maximum[0]}, heights of {low} to {high} and widths of {thin} to {wide}: "
            "build the engine with a profile for them"
        )

    @staticmethod
    def _sides(profile: Profile, height: int, width: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return (height, profile.minimum[1], profile.maximum[1]), (width, profile.minimum[2], profile.maximum[2])

    def _input_kind(self) -> tuple[bool, np.dtype[Any]]:
        """Whether the input is in planes, and its dtype; BackendError for an engine of another kind than ours."""
        loaded = self._pool.loaded
        trt, engine = loaded.trt, loaded.engine
        shape = tuple(engine.get_tensor_shape(loaded.input))
        kinds: dict[Any, np.dtype[Any]] = {
            trt.DataType.UINT8: np.dtype(np.uint8),
            trt.DataType.FLOAT: np.dtype(np.float32),
        }
        given, taken = engine.get_tensor_dtype(loaded.output), engine.get_tensor_dtype(loaded.input)
        if len(shape) != 4 or 3 not in (shape[1], shape[3]) or taken not in kinds or given != trt.DataType.FLOAT:
            raise BackendError(
                "expected an engine from (N, H, W, 3) or (N, 3, H, W) of uint8 or float32 to float32, "
                f"found one from {shape} of {taken} to {given}"
            )
        return shape[3] != 3, kinds[taken]

    def _built_profiles(self) -> tuple[Profile, ...]:
        """The profiles as the engine itself has them."""
        loaded = self._pool.loaded
        return tuple(
            Profile(
                *(self._shape_of(tuple(end)) for end in loaded.engine.get_tensor_profile_shape(loaded.input, index))
            )
            for index in range(loaded.engine.num_optimization_profiles)
        )


def _parts(batch: int, smallest: int, largest: int) -> list[slice]:
    """The rows of a batch in as few parts of nearly one size as a profile allows; none where it does not."""
    count = -(-batch // largest)
    if batch // count < smallest:
        return []
    edges = [batch * part // count for part in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _log_ratio(optimum: Shape, height: int, width: int) -> float:
    return abs(math.log(height * width / (optimum[1] * optimum[2])))
