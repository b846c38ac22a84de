"""Frozen batch normalisation: the statistics stay, and a channel without variance gets no step of its own."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from training.models.frozen import (
    FixedPartError,
    freeze_batch_norm,
    freeze_parts,
    keep_frozen,
    rescale_to_unit_variance,
    trainable_parameters,
)
from training.models.network import EmbeddingNetwork


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = EmbeddingNetwork("mobilenetv2", 8).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def norms(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]


IMAGES = torch.randint(0, 256, (2, 70, 33, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_frozen_statistics_stay_as_they_are(network):
    before = [norm.running_mean.clone() for norm in norms(network)]
    network.train()
    freeze_batch_norm(network)
    network(IMAGES)
    assert all(torch.equal(was, norm.running_mean) for was, norm in zip(before, norms(network), strict=True))


def test_standardising_reaches_every_convolution_and_changes_no_vector(network):
    before = network(IMAGES)
    assert rescale_to_unit_variance(network) == len(norms(network))
    assert not network.training
    assert torch.allclose(network(IMAGES), before, atol=2e-6)
    for norm in norms(network):
        assert torch.allclose(norm.running_var + norm.eps, torch.ones_like(norm.running_var))


def test_channels_of_next_to_no_variance_no_longer_get_a_step_of_their_own(network):
    convolution, norm = network.trunk.features[0][0], norms(network)[0]
    with torch.no_grad():
        convolution.weight[:16] *= 1e-5
        norm.running_mean[:16] *= 1e-5
        norm.running_var[:16] = 1e-10

    def share():
        network.zero_grad()
        (network(IMAGES) * torch.arange(8)).sum().backward()
        steps = convolution.weight.grad.flatten(1).norm(dim=1) / convolution.weight.detach().flatten(1).norm(dim=1)
        return (steps[:16].max() / steps[16:].max()).item()

    before = share()
    rescale_to_unit_variance(network)
    assert before > 100 * share() > 0


def test_fixed_parts_have_no_gradients_and_keep_their_statistics(network):
    names = ["features.0", "features.1.conv.0"]
    freeze_parts(network.trunk, names)
    parts = (network.trunk.features[0], network.trunk.features[1].conv[0])
    out = {id(parameter) for part in parts for parameter in part.parameters()}
    assert {id(parameter) for parameter in network.parameters()} - {
        id(one) for one in trainable_parameters(network)
    } == out
    before = [norm.running_mean.clone() for norm in norms(network)]
    network.train()
    keep_frozen(network.trunk, names)
    network(IMAGES)
    same = [torch.equal(was, norm.running_mean) for was, norm in zip(before, norms(network), strict=True)]
    assert same == [True, True] + [False] * (len(same) - 2)


def test_a_part_that_the_trunk_has_not_is_refused_with_the_nearest_name(network):
    with pytest.raises(FixedPartError, match=r"'features\.99', which the trunk has not; did you mean 'features\.9'"):
        freeze_parts(network.trunk, ["features.99"])
    with pytest.raises(FixedPartError, match=r"'stem', .*known: features"):
        freeze_parts(network.trunk, ["stem"])
