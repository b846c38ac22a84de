import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from training.models.network import EmbeddingNetwork
from training.run.cpu import repair_bfloat16


@pytest.mark.parametrize("backbone", ["mobilenetv2", "resnet18"])
def test_the_remedies_change_neither_names_nor_results(backbone):
    torch.manual_seed(0)
    network = EmbeddingNetwork(backbone, 8).eval()
    names = list(network.state_dict())
    images = torch.randint(0, 256, (2, 64, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before = network(images)
        repair_bfloat16(network)
        assert list(network.state_dict()) == names
        assert torch.equal(network(images), before)


def test_narrow_maps_stay_finite_under_bfloat16():
    network = EmbeddingNetwork("resnet18", 8)
    repair_bfloat16(network)
    images = torch.randint(0, 256, (8, 32, 16, 3), dtype=torch.uint8)
    for _ in range(10):
        poison = [torch.full((size,), float("nan")) for size in (1 << 12, 1 << 14, 1 << 16, 1 << 18) for _ in range(8)]
        del poison
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.isfinite(network(images)).all()
