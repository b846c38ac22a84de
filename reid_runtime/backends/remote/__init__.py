"""Models on a server: Triton, OpenVINO Model Server, KServe or MLServer, over the Open Inference Protocol."""

from reid_runtime.backends.remote.open import ServedModel, open_served

__all__ = ["ServedModel", "open_served"]
