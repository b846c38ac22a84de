"""ONNX to engine: one path for TensorRT 10, 11 and TensorRT-RTX.

The network is strongly typed: every precision is the ONNX file's own (float32, float16, or INT8 by its quantise and
dequantise nodes), which is the only way that TensorRT 11 knows
(https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html#strongly-typed-networks).
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from reid_runtime.backends.cuda.driver import current_context, find_gpu, use_context
from reid_runtime.backends.tensorrt.engine import BuildOptions
from reid_runtime.backends.tensorrt.module import capture_errors, format_errors, is_rtx, tensorrt_log, version_string
from reid_runtime.backends.tensorrt.onnx_check import check_graph
from reid_runtime.backends.tensorrt.profiles import Profile, Shape
from reid_runtime.backends.tensorrt.progress import BuildProgress, Progress, no_progress, progress_monitor
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import InputFormat

if TYPE_CHECKING:
    import tensorrt
    import tensorrt_rtx

_DYNAMIC = -1
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class BuildRequest:
    """What is to be built."""

    source: str
    """The ONNX file's path, for messages."""
    content: bytes = field(repr=False)
    """Its bytes, read once: what is built is what was digested."""
    input: InputFormat
    """The contract's: which axis of the graph's input is which, and of which type it is."""
    profiles: tuple[Profile, ...]
    options: BuildOptions


@dataclass(frozen=True)
class BuildResult:
    """What TensorRT built."""

    blob: bytes = field(repr=False)
    profiles: tuple[Profile, ...]
    """Those that were asked for, as far as the graph's fixed axes leave room."""
    timings: bytes = field(repr=False)
    """The timing cache after the build; TensorRT-RTX keeps none."""


def build(
    trt: ModuleType, request: BuildRequest, progress: Progress = no_progress, timings: bytes = b""
) -> BuildResult:
    """Build an engine, in minutes; BackendError with TensorRT's own errors where it cannot.

    timings: the timing cache of an earlier build, with the same TensorRT on the same kind of GPU; another is ignored.
    A KeyboardInterrupt stops the build at its next step, and so does whatever else is raised in the calling thread.
    """
    check_graph(request.content, request.source)
    if not is_rtx(trt):
        find_gpu()  # TensorRT measures kernels on the GPU that it builds for; without one its builder can crash
        if request.options.compute_capabilities:
            raise BackendError(
                f"{version_string(trt)} builds for the GPU that it runs on and no other: only TensorRT-RTX takes "
                "compute capabilities"
            )
    state = BuildProgress(progress)
    return _interruptible(lambda: _build(trt, request, state, timings), state)


def _build(trt: ModuleType, request: BuildRequest, state: BuildProgress, timings: bytes) -> BuildResult:
    who = f"{request.source}: {version_string(trt)}"
    with capture_errors(trt) as errors:
        try:
            builder = trt.Builder(tensorrt_log(trt))
            flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            network = builder.create_network(flags)
            _parse(trt, network, request)
            profiles = _fit_profiles(network, request, trt)
            config = builder.create_builder_config()
            _set_options(trt, config, request.options)
            for profile in profiles:
                _add_profile(builder, config, network.get_input(0), profile, request)
            if not is_rtx(trt):
                _set_timings(config, timings)
            progress = progress_monitor(trt, state)
            config.progress_monitor = progress
            plan = builder.build_serialized_network(network, config)
            measured = b"" if is_rtx(trt) else bytes(config.get_timing_cache().serialize())
        except BackendError:
            raise
        except Exception as error:  # the bindings raise TypeError and RuntimeError, with little in them
            raise BackendError(f"{who} failed: {error}; {format_errors(errors)}") from error
        if state.failure is not None:
            raise state.failure
        if plan is None:
            raise BackendError(f"{who} cannot build an engine: {format_errors(errors)}")
        return BuildResult(bytes(plan), profiles, measured)


def _parse(trt: ModuleType, network: "tensorrt.INetworkDefinition", request: BuildRequest) -> None:
    parser = trt.OnnxParser(network, tensorrt_log(trt))
    if parser.parse(request.content):
        return
    problems = [_error_text(parser.get_error(index)) for index in range(parser.num_errors)]
    reason = "; ".join(problems) or "it does not say why"
    raise BackendError(f"{request.source}: {version_string(trt)} cannot take this graph: {reason}")


def _error_text(error: "tensorrt.ParserError") -> str:
    where = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_operator() else ""
    return where + format_errors([error.desc()])


def _fit_profiles(
    network: "tensorrt.INetworkDefinition", request: BuildRequest, trt: ModuleType
) -> tuple[Profile, ...]:
    """The profiles within what the graph leaves free; BackendError where the graph is not the contract's."""
    path, form = request.source, request.input
    if network.num_inputs != 1 or network.num_outputs != 1:
        raise BackendError(
            f"{path}: expected one input and one output, found {network.num_inputs} and {network.num_outputs}"
        )
    images, vectors = network.get_input(0), network.get_output(0)
    shape = tuple(images.shape)
    kind = {"uint8": trt.DataType.UINT8, "float32": trt.DataType.FLOAT}[form.dtype]
    channels = 3 if form.layout == "NHWC" else 1
    if len(shape) != 4 or shape[channels] != 3 or images.dtype != kind:
        raise BackendError(
            f"{path}: its contract says {form.dtype} {form.layout}, its graph takes {images.dtype} {shape}"
        )
    if vectors.dtype != trt.DataType.FLOAT:
        raise BackendError(f"{path}: expected vectors of float32, its graph gives {vectors.dtype}")
    batch, height, width = (size for axis, size in enumerate(shape) if axis != channels)
    fitted = []
    for profile in request.profiles:
        if batch != _DYNAMIC:
            profile = _with_batch(profile, batch)
        ends = (profile.minimum, profile.maximum)
        for axis, size, name in ((1, height, "height"), (2, width, "width")):
            if size != _DYNAMIC and {end[axis] for end in ends} != {size}:
                raise BackendError(
                    f"{path}: its graph takes {name} {size} and no other, the profile {profile} asks for more: the "
                    "contract's resize rule must be that fixed size"
                )
        fitted.append(profile)
    return tuple(dict.fromkeys(fitted))


def _with_batch(profile: Profile, batch: int) -> Profile:
    def fixed(shape: Shape) -> Shape:
        return batch, shape[1], shape[2]

    return replace(
        profile, minimum=fixed(profile.minimum), optimum=fixed(profile.optimum), maximum=fixed(profile.maximum)
    )


def _set_options(trt: ModuleType, config: "tensorrt.IBuilderConfig", options: BuildOptions) -> None:
    if not options.tf32:  # TensorRT's default is on
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.level is not None:
        config.builder_optimization_level = options.level
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.compute_capabilities:
        _set_targets(trt, config, options.compute_capabilities)


def _set_targets(rtx: ModuleType, config: "tensorrt_rtx.IBuilderConfig", targets: Sequence[str]) -> None:
    """https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/cpu-engines.html."""
    supported = {
        f"{name[2:-1]}.{name[-1]}": capability
        for name, capability in rtx.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    unknown = [target for target in targets if target not in supported]
    if unknown:
        raise BackendError(
            f"{version_string(rtx)} does not build for compute capability {', '.join(unknown)}: it does for "
            f"{', '.join(supported)}"
        )
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if not config.set_compute_capability(supported[target], index):
            raise BackendError(f"{version_string(rtx)} refuses compute capability {target} beside {', '.join(targets)}")


def _add_profile(
    builder: "tensorrt.Builder",
    config: "tensorrt.IBuilderConfig",
    images: "tensorrt.ITensor",
    profile: Profile,
    request: BuildRequest,
) -> None:
    def axes(shape: Shape) -> tuple[int, ...]:
        return (*shape, 3) if request.input.layout == "NHWC" else (shape[0], 3, *shape[1:])

    ranges = builder.create_optimization_profile()
    ranges.set_shape(images.name, axes(profile.minimum), axes(profile.optimum), axes(profile.maximum))
    if config.add_optimization_profile(ranges) < 0:
        raise BackendError(f"{request.source}: TensorRT refuses the profile {profile}")


def _set_timings(config: "tensorrt.IBuilderConfig", timings: bytes) -> None:
    """What earlier builds measured, unless that is damaged or of another TensorRT or GPU: then nothing.

    TensorRT-RTX has no use for it, and would look for a GPU
    (https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/getting-started/release-notes-1/1.1.html).
    """
    earlier = config.create_timing_cache(timings)
    if earlier is None or not config.set_timing_cache(earlier, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _interruptible(work: Callable[[], _Result], state: BuildProgress) -> _Result:
    """The result of `work`, done in a thread of its own; what interrupts the caller cancels it.

    Python delivers Ctrl-C to the main thread between two instructions of Python. Inside TensorRT that would be one
    of its callbacks, where the bindings print an exception and go on.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []
    working, ended = threading.Lock(), threading.Event()
    context = current_context()

    def run() -> None:
        try:
            with working:
                if not state.cancelled.is_set():
                    use_context(context)
                    results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    try:
        threading.Thread(target=run, name="TensorRT build", daemon=True).start()
        ended.wait()  # not join: once interrupted, a second join would not wait
    except BaseException:
        state.cancelled.set()
        with working:  # whether the interrupt came before the thread's first step, or during its last
            raise
    if errors:
        raise errors[0]
    return results[0]
