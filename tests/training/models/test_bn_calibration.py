"""Batch normalisation's statistics, taken anew: they are those of the images, and of nothing before."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from reid_runtime.images.resize import LongestSide
from training.models.bn_calibration import BatchNormError, calibrate_batch_norm
from training.models.network import EmbeddingNetwork

from ..tiny import TINY

pytestmark = pytest.mark.usefixtures("tiny_backbone")
CPU = torch.device("cpu")


def pictures(count, shape=(32, 16)):
    random = np.random.default_rng(0)
    return [random.integers(0, random.integers(2, 256), (*shape, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def network():
    torch.manual_seed(2)
    network = EmbeddingNetwork(TINY.name, 8)
    with torch.no_grad():
        for norm in (network.trunk[1], network.trunk[4]):
            norm.running_mean.fill_(7)
            norm.running_var.fill_(9)
    return network


def test_they_are_the_first_layers_mean_and_variance_over_the_images(network):
    images = pictures(40)
    assert calibrate_batch_norm(network, images, LongestSide(32), CPU, "float32") == 1
    pixels = torch.from_numpy(np.stack(images)).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        values = network.trunk[0]((pixels - network.mean) * network.scale)
    torch.testing.assert_close(network.trunk[1].running_mean, values.mean((0, 2, 3)))
    torch.testing.assert_close(network.trunk[1].running_var, values.var((0, 2, 3)))
    assert not network.training
    assert network.trunk[1].momentum == 0.1, "what trains on goes on as before"


def test_batches_count_alike_and_a_few_odd_images_do_not_count(network, monkeypatch):
    monkeypatch.setattr("training.models.bn_calibration.MAX_PIXELS", 20 * 32 * 16)
    images = pictures(40)
    odd = pictures(3, (16, 32))
    assert calibrate_batch_norm(network, [*odd, *images], LongestSide(32), CPU, "float32") == 2
    halves = []
    for half in (images[:20], images[20:]):
        other = EmbeddingNetwork(TINY.name, 8)
        other.load_state_dict(network.state_dict())
        calibrate_batch_norm(other, half, LongestSide(32), CPU, "float32")
        halves.append(other.trunk[4].running_mean)
    torch.testing.assert_close(network.trunk[4].running_mean, (halves[0] + halves[1]) / 2)


def test_fixed_parts_keep_theirs_and_without_enough_images_all_do(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(BatchNormError, match=r"8 images or more of one shape.* 7: take more"):
        calibrate_batch_norm(network, pictures(7), LongestSide(32), CPU, "float32")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    calibrate_batch_norm(network, pictures(8), LongestSide(32), CPU, "float32", fixed=("1",))
    assert (network.trunk[1].running_mean == 7).all()
    assert not (network.trunk[4].running_mean == 7).any()
