"""A checkpoint as an Embedder: torch in float32 behind the runtime's own door, which exports are held to."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.base import CPU_BATCH_PIXELS
from reid_runtime.embedder import Embedder
from reid_runtime.errors import MissingBackendError
from reid_runtime.images.model_input import ModelInput


class TorchBackend:
    """A network on the CPU, eager, in float32."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Raises MissingBackendError without torch, and CheckpointError for another file."""
        try:
            import torch
        except ImportError as error:
            raise MissingBackendError(
                'a checkpoint is run by torch, which is missing: pip install "reid-runtime[train,export]"'
            ) from error
        from export.to_onnx import contract_for, torch_embed
        from training.run.checkpoint import read_checkpoint

        if threads is not None:
            torch.set_num_threads(threads)
        checkpoint = read_checkpoint(path)
        self.contract = contract_for(checkpoint, path.stem)
        self.name, self.device = "torch cpu, float32", "torch"
        self.max_batch_pixels = CPU_BATCH_PIXELS
        self._embed = torch_embed(checkpoint.network())

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """One batch (N, H, W, 3) uint8 RGB to (N, D) float32."""
        return self._embed(images.astype(np.uint8, copy=False))


def load_checkpoint(path: Path, threads: int | None = None) -> Embedder:
    """The reference, for everything that takes an Embedder."""
    backend = TorchBackend(path, threads)
    return Embedder(backend, backend.contract, path)
