"""What a batch takes until its vectors are on the host, and on an NVIDIA GPU alone, by CUDA events around its kernels.

The events are torch's, recorded on a stream that the engine is given; without a torch that sees a GPU there is nothing
to record them with, and why is said. Written against the documentation of torch, ONNX Runtime and TensorRT; not yet run
on hardware.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.gpu import missing_torch_gpu
from benchmarks.timing import paired
from reid_runtime.backends.onnx import OnnxBackend, import_onnxruntime
from reid_runtime.backends.tensorrt.backend import TensorRTBackend
from reid_runtime.backends.tensorrt.runner import Execution, Lane
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, MissingBackendError
from reid_runtime.images.model_input import ModelInput

HOST, DEVICE = "inference, until the vectors are on the host", "inference, on the device alone"
_DELAY = 4096
"""The side of the matrices whose product keeps the device busy for some milliseconds."""
_MOST_DELAYS = 256


def host_and_device(embedder: Embedder, batch: ModelInput, rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds by HOST, of calls as the embedder makes them, and by DEVICE, of the same work queued on one stream.

    The device's time is from its first kernel to its last: the batch is on the device before and the vectors stay
    there, and all of it is queued while the device is still busy with something else, so that it never waits for the
    host in between. Raises BackendError with the reason where that cannot be measured: without a GPU that torch can
    use, on other engines, and where an engine itself waits for the device.
    """
    reason = missing_torch_gpu()
    if reason is not None:
        raise MissingBackendError(f"device time is measured with torch's CUDA events: {reason}")
    import torch

    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it so
    samples = paired({HOST: lambda: embedder.backend.run(batch)}, rounds, warmup)
    with ExitStack() as stack:
        if isinstance(embedder.backend, TensorRTBackend):
            queue = _tensorrt(embedder.backend, batch, stream.cuda_stream, stack)
        elif isinstance(embedder.backend, OnnxBackend):
            queue = _onnxruntime(embedder, batch, stream.cuda_stream)
        else:
            raise BackendError(f"{embedder.backend.name} takes no stream to record events on")
        return samples | {DEVICE: on_device_alone(queue, stream, rounds, warmup)}


def _onnxruntime(embedder: Embedder, batch: ModelInput, stream: int) -> Callable[[], object]:
    """A call that queues the batch on the stream and does not wait: a session of its own, bound to device memory."""
    onnxruntime = import_onnxruntime("gpu")
    provider = {"user_compute_stream": str(stream), "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    session = onnxruntime.InferenceSession(str(embedder.path), providers=[("CUDAExecutionProvider", provider)])
    binding = session.io_binding()
    given = onnxruntime.OrtValue.ortvalue_from_numpy(batch, "cuda", 0)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, given)
    binding.bind_output(session.get_outputs()[0].name, "cuda")
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return lambda: session.run_with_iobinding(binding, options)


def _tensorrt(backend: TensorRTBackend, batch: ModelInput, stream: int, stack: ExitStack) -> Callable[[], object]:
    """The same on an execution context of its own over the backend's engine; `stack` releases it."""
    profile = backend._profile(*backend._measured(batch.shape))
    if profile is None:
        raise BackendError(f"no profile of the engine takes a batch {batch.shape}")
    cuda = backend._cuda
    stack.enter_context(cuda.current())
    lane = Lane(cuda, stack)
    execution = Execution(backend._pool.loaded, cuda, profile, stream)
    stack.callback(execution.release)
    stack.callback(cuda.synchronize, stream)
    staged, address = lane.staged.reserve(batch.nbytes), lane.input.reserve(batch.nbytes)
    staged[:] = np.ascontiguousarray(batch).reshape(-1).view(np.uint8)
    cuda.upload(address, staged, stream)
    execution.prepare(lane, batch.shape, address)
    return execution.enqueue


def on_device_alone(queue: Callable[[], object], stream: Any, rounds: int, warmup: int) -> list[float]:
    """Seconds that the device takes for what `queue` puts on torch's stream, without waiting for the host in between.

    A delay is queued ahead of it. Where that was over before all was queued, the sample is dropped and the delay
    doubled; raises BackendError where no delay is long enough.
    """
    import torch

    square = torch.ones((_DELAY, _DELAY), device="cuda")
    product = torch.empty_like(square)
    torch.cuda.synchronize()
    delays, seconds = 1, list[float]()
    while len(seconds) < warmup + rounds:
        first: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it so
        last: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it so
        with torch.cuda.stream(stream):
            for _ in range(delays):
                torch.mm(square, square, out=product)
        first.record(stream)
        queue()
        last.record(stream)
        too_short = first.query()
        last.synchronize()
        if not too_short:
            seconds.append(first.elapsed_time(last) / 1e3)
        elif delays < _MOST_DELAYS:
            delays *= 2
        else:
            raise BackendError(f"the engine waits for the device: {delays} products were done before all was queued")
    return seconds[warmup:]
