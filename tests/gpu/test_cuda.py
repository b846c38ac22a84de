"""On an NVIDIA GPU: ONNX Runtime CUDA and torch CUDA give the CPU's vectors, and nothing falls back in silence."""

import shutil
from importlib import metadata

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.agreement import compare

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cuda():
    """The default model on CUDA; skipped where there is no GPU or no onnxruntime-gpu, failed where both are there."""
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no NVIDIA GPU here")
    try:
        metadata.version("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        pytest.skip("onnxruntime-gpu is not installed")
    return Embedder.load(device="cuda")


@pytest.fixture(scope="module")
def crops():
    random = np.random.default_rng(0)
    shapes = [(128, 64), (200, 77), (64, 128), (33, 33), (300, 100)] * 4
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def test_cuda_gives_the_cpus_vectors(cuda, crops):
    agreement = compare(Embedder.load().embed(crops, channel_order="rgb"), cuda.embed(crops, channel_order="rgb"))
    assert agreement.worst_cosine >= 0.9999
    assert agreement.rank_agreement == 1.0


def test_cuda_runs(cuda):
    assert cuda.backend.name == "onnxruntime cuda"


def test_torch_on_cuda(tmp_path):
    from benchmarks.gpu import missing_torch_gpu, reference_of, torch_candidates

    reason = missing_torch_gpu()
    if reason is not None:
        pytest.skip(reason)
    images = np.random.default_rng(0).integers(0, 256, (4, 256, 128, 3), dtype=np.uint8)
    expected = reference_of("resnet18", tmp_path / "model.onnx").embed(images)
    bounds = {"torch cuda float32": 0.99999, "torch cuda bfloat16": 0.99}
    for candidate in torch_candidates("resnet18"):
        assert compare(expected, candidate.embed(images)).worst_cosine >= bounds[candidate.name]
