"""Host and device time of the same calls, apart, on an NVIDIA GPU: CUDA events around what is queued.

ONNX Runtime is given torch's stream, on which torch's events are recorded; without a torch that sees a GPU there is
nothing to record them with, and why is said. Written against the documentation of both; not yet run on hardware.
"""

import time
from pathlib import Path
from typing import Any

from benchmarks.gpu import missing_torch_gpu
from reid_runtime.backends.base import Array
from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.errors import MissingBackendError

HOST, DEVICE = "inference, until the vectors are on the host", "inference, on the device alone"


def host_and_device(path: Path, batch: Array, rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of `rounds` calls by HOST and by DEVICE, sample i of both from one call.

    The device's time is from before the batch's copy to after the vectors' copy back, on the one stream. Raises
    MissingBackendError with the reason where there is no GPU that torch can use.
    """
    reason = missing_torch_gpu()
    if reason is not None:
        raise MissingBackendError(f"device time is measured with torch's CUDA events: {reason}")
    import torch

    onnxruntime = import_onnxruntime("gpu")
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it so
    options = {
        "user_compute_stream": str(stream.cuda_stream),
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
    }
    session = onnxruntime.InferenceSession(str(path), providers=[("CUDAExecutionProvider", options)])
    name = session.get_inputs()[0].name
    samples: dict[str, list[float]] = {HOST: [], DEVICE: []}
    for number in range(-warmup, rounds):
        first: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it so
        last: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it so
        torch.cuda.synchronize()
        started = time.perf_counter()
        first.record(stream)
        session.run(None, {name: batch})
        last.record(stream)
        last.synchronize()
        elapsed = time.perf_counter() - started
        if number >= 0:
            samples[HOST].append(elapsed)
            samples[DEVICE].append(first.elapsed_time(last) / 1e3)
    return samples
