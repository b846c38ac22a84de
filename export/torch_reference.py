"""A checkpoint as an Embedder: torch in float32, eager, on the CPU, which exports and benchmarks are held to."""

from pathlib import Path

import numpy as np
import torch

from export.inner_tensors import FEATURES
from reid_runtime.backends.base import CPU_BATCH_PIXELS
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import InputFormat, ModelInput
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.precision import Precision
from reid_runtime.vectors import Vectors
from training.models.network import EmbeddingNetwork, graph_recipe
from training.run.checkpoint import Checkpoint, read_checkpoint


class TorchBackend:
    """The network itself as the runtime calls a backend."""

    name = device = "torch"
    max_batch_pixels = CPU_BATCH_PIXELS

    def __init__(self, network: EmbeddingNetwork) -> None:
        """Run `network`, which is in evaluation mode."""
        self._network = network

    def run(self, images: ModelInput) -> Vectors:
        """(N, H, W, 3) uint8 RGB to (N, D) float32; BackendError where torch fails."""
        with torch.inference_mode():
            try:
                vectors: Vectors = self._network(torch.from_numpy(images.astype(np.uint8, copy=False))).numpy()
            except (RuntimeError, IndexError) as error:
                raise BackendError(f"torch failed on a batch of shape {images.shape}: {error}") from error
        return vectors


def contract_for(checkpoint: Checkpoint, name: str) -> Contract:
    """The contract of a checkpoint's float32 graph, before it has scores."""
    architecture = checkpoint.architecture
    return Contract(
        name=name,
        resize=architecture.rule,
        input=InputFormat(),
        unit_output=True,
        dimension=architecture.dimension,
        metric="cosine",
        weights=checkpoint.weights_digest,
        graph=graph_recipe(architecture.backbone, architecture.pooling, architecture.activation),
        precision=Precision("float32"),
        trained_on=checkpoint.trained_on,
        inner=FEATURES,
    )


def load_checkpoint(path: Path, threads: int | None = None) -> Embedder:
    """A checkpoint (.safetensors); raises CheckpointError for another file. `threads` are torch's, of the process."""
    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = read_checkpoint(path)
    return Embedder(TorchBackend(checkpoint.network()), contract_for(checkpoint, path.stem), path)
