"""On an NVIDIA GPU: device time can be measured on both engines."""

import numpy as np
import pytest

from benchmarks.device_time import DEVICE, HOST, host_and_device
from reid_runtime import Embedder

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_engine_on_a_stream(gpu, device):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    batch = np.zeros((4, 256, 128, 3), np.uint8)
    samples = host_and_device(Embedder.load(device=device), batch, rounds=10, warmup=3)
    assert {name: len(seconds) for name, seconds in samples.items()} == {HOST: 10, DEVICE: 10}
    assert min(samples[DEVICE]) > 0
