"""On an NVIDIA GPU: ONNX Runtime CUDA and torch CUDA give the CPU's vectors, and nothing falls back in silence."""

from importlib.util import find_spec

import numpy as np
import pytest

from reid_runtime import BackendError, Embedder
from reid_runtime.agreement import compare

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cuda():
    """The default model on CUDA; skipped, with ONNX Runtime's reason, where that is not to be had."""
    try:
        return Embedder.load(device="cuda")
    except BackendError as error:
        pytest.skip(f"no ONNX Runtime CUDA here: {error}")


@pytest.fixture(scope="module")
def crops():
    random = np.random.default_rng(0)
    shapes = [(128, 64), (200, 77), (64, 128), (33, 33), (300, 100)] * 4
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def test_cuda_gives_the_cpus_vectors_at_every_size(cuda, crops):
    agreement = compare(Embedder.load().embed(crops, colour="rgb"), cuda.embed(crops, colour="rgb"))
    assert agreement.worst_cosine >= 0.9999
    assert agreement.rank_agreement == 1.0


def test_cuda_is_what_runs(cuda):
    assert cuda.backend.name == "onnxruntime cuda"


def test_torch_on_cuda_gives_torchs_vectors_on_the_cpu():
    if find_spec("torch") is None:
        pytest.skip("needs the extra train")
    import torch

    from benchmarks.gpu import missing_gpu, torch_candidates
    from export.to_onnx import torch_embed
    from training.checkpoint import untrained

    reason = missing_gpu()
    if reason is not None:
        pytest.skip(f"no GPU for torch here: {reason}")
    torch.manual_seed(0)
    checkpoint = untrained("resnet18", dimension=64)
    images = np.random.default_rng(0).integers(0, 256, (4, 256, 128, 3), dtype=np.uint8)
    expected = torch_embed(checkpoint.network())(images)
    bounds = {"torch cuda float32": 0.99999, "torch cuda bfloat16": 0.99}
    for candidate in torch_candidates(checkpoint.network()):
        assert compare(expected, candidate.embed(images)).worst_cosine >= bounds[candidate.name]
