"""An NVIDIA GPU's memory and streams, behind one small Protocol with two providers."""

import functools
from typing import Literal, get_args

from reid_runtime.backends.cuda.base import Bytes, Cuda
from reid_runtime.errors import BackendError, MissingBackendError

Provider = Literal["cuda-bindings", "pycuda"]
PROVIDERS: tuple[str, ...] = get_args(Provider)

__all__ = ["PROVIDERS", "Bytes", "Cuda", "Provider", "open_cuda"]


def open_cuda(provider: str | None = None) -> Cuda:
    """GPU 0 (CUDA_VISIBLE_DEVICES chooses which that is), through `provider`; None takes the first that works.

    Raises MissingBackendError, with the reason of each provider that was tried, where there is no package, driver or
    GPU.
    """
    if provider is not None and provider not in PROVIDERS:
        raise BackendError(f"no provider of device memory is called {provider!r}; known: {', '.join(PROVIDERS)}")
    reasons = []
    for name in PROVIDERS if provider is None else (provider,):
        try:
            return _opened(name)
        except MissingBackendError as error:
            reasons.append(str(error))
    raise MissingBackendError("; ".join(reasons))


@functools.cache
def _opened(provider: str) -> Cuda:
    """One for the process: it retains the primary context and keeps the kernels that it compiled."""
    if provider == "pycuda":
        from reid_runtime.backends.cuda.pycuda import PyCuda

        return PyCuda()
    from reid_runtime.backends.cuda.bindings import CudaBindings

    return CudaBindings()
