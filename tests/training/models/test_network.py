import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from training.models.network import EmbeddingNetwork, add_neck, fold_neck, graph_recipe
from training.models.pooling import POOLINGS, GeneralisedMean, PoolingError, global_pooling


def features(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("shape", [(1, 3, 5, 2), (4, 3, 1, 7), (2, 3, 1, 1)])
def test_each_pooling_is_its_formula_at_any_map(shape):
    maps = features(*shape)
    values = maps.numpy().astype(np.float64).reshape(*shape[:2], -1)
    formulas = {
        "max": values.max(2),
        "average": values.mean(2),
        "gem": (np.maximum(values, 1e-6) ** 3).mean(2) ** (1 / 3),
        "spatial": values.mean(2),  # until it has learnt
    }
    assert set(formulas) == set(POOLINGS)
    for name, expected in formulas.items():
        pooled = global_pooling(name, shape[1])(maps)
        assert pooled.shape == shape[:2]
        np.testing.assert_allclose(pooled.detach().numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_generalised_mean_learns_its_power():
    pool, maps = GeneralisedMean(), features(2, 3, 4, 2).abs()
    pool(maps).sum().backward()
    values = maps.numpy().astype(np.float64).reshape(6, -1)
    higher, lower = (((values**p).mean(1) ** (1 / p)).sum() for p in (3 + 1e-4, 3 - 1e-4))
    assert pool.p.grad.item() == pytest.approx((higher - lower) / 2e-4, rel=1e-4)
    with torch.no_grad():
        pool.p.fill_(40.0)
        assert torch.allclose(pool(maps), maps.amax((2, 3)), rtol=0.06), "a large power is nearly the maximum"


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_the_generalised_mean_is_float32_under_autocast(precision):
    pool = GeneralisedMean()
    # 1000 cubed is far above float16's largest number, 65504.
    maps = (torch.arange(12.0).reshape(1, 1, 4, 3) + 1000).to(precision)
    expected = (maps.double() ** 3).mean() ** (1 / 3)
    with torch.autocast("cpu", precision):
        pooled = pool(maps)
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_map_without_a_positive_value_has_a_generalised_mean_and_finite_gradients():
    pool, maps = GeneralisedMean(), -features(1, 2, 3, 2).abs()
    maps.requires_grad_()
    pooled = pool(maps)
    assert pooled.detach().numpy() == pytest.approx(1e-6, rel=1e-3)
    pooled.sum().backward()
    assert torch.isfinite(maps.grad).all()
    assert torch.isfinite(pool.p.grad)


def test_an_unknown_pooling_is_answered_with_the_nearest():
    with pytest.raises(PoolingError, match="no pooling is called 'avarage'; did you mean 'average'"):
        EmbeddingNetwork("resnet18", 8, "avarage")
    with pytest.raises(PoolingError, match="known: max, average, gem, spatial"):
        EmbeddingNetwork("resnet18", 8, "42")


def test_the_poolings_give_other_vectors_and_only_gem_has_a_weight_of_its_own():
    images = torch.randint(0, 256, (2, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    vectors = {}
    for pooling in POOLINGS:
        torch.manual_seed(0)
        network = EmbeddingNetwork("resnet18", 8, pooling).eval()
        own = {"gem": ["pooling.p"], "spatial": ["pooling.weight", "pooling.bias"]}.get(pooling, [])
        assert [key for key in network.state_dict() if "pool" in key] == own
        with torch.inference_mode():
            vectors[pooling] = network(images)
    for first, second in (("max", "average"), ("average", "gem"), ("gem", "max")):
        assert torch.cosine_similarity(vectors[first], vectors[second]).max() < 0.999


def test_the_graph_recipe_is_the_one_that_the_shipped_models_contract_id_was_made_from(default):
    form = "uint8 NHWC RGB, ImageNet mean and deviation, global"
    recipe = f"osnet-1.0: {form} spatial pooling, fully connected, PReLU, L2"
    assert graph_recipe("osnet-1.0", "spatial", "prelu") == default.contract.graph == recipe
    assert graph_recipe("mobilenetv2", "max") == f"mobilenetv2: {form} max pooling, fully connected, L2"
    assert "global gem pooling" in graph_recipe("mobilenetv2", "gem")


def test_another_normalisation_is_in_the_network_and_in_the_recipe():
    pytest.importorskip("timm", reason="needs the extra timm")
    network = EmbeddingNetwork("timm/tf_efficientnet_lite0", 8)
    pixels = torch.tensor([0.0, 255.0]).reshape(1, 1, 2, 1)
    normalised = (pixels - network.mean) * network.scale
    assert torch.allclose(normalised, torch.tensor([-1.0, 1.0]).reshape(1, 1, 2, 1))
    assert "mean 0.5 0.5 0.5 and deviation 0.5 0.5 0.5" in graph_recipe("timm/tf_efficientnet_lite0", "max")
    assert "ImageNet mean and deviation" in graph_recipe("timm/efficientnet_lite0", "max")


def test_batch_normalisation_behind_the_last_layer_can_be_taken_into_it():
    torch.manual_seed(0)
    network = EmbeddingNetwork("resnet18", 12)
    bare = network.eval()(features(2, 64, 32, 3).byte())
    add_neck(network)
    with torch.no_grad():
        network.neck.weight.uniform_(0.2, 3)
        network.neck.running_mean.normal_()
        network.neck.running_var.uniform_(0.01, 3)
        normalised = network.eval()(features(2, 64, 32, 3).byte())
        assert (normalised - bare).abs().max() > 0.1
        plain = EmbeddingNetwork("resnet18", 12).eval()
        plain.load_state_dict(fold_neck(network.state_dict()))
        torch.testing.assert_close(plain(features(2, 64, 32, 3).byte()), normalised, rtol=0, atol=1e-6)
    assert not network.neck.bias.requires_grad


def test_a_network_without_it_is_left_as_it_is():
    tensors = EmbeddingNetwork("resnet18", 12).state_dict()
    left = fold_neck(tensors)
    assert left.keys() == tensors.keys()
    assert all(left[name] is tensors[name] for name in tensors)
