"""OSNet trunks and the pooling of spatial weights: any size, each image for itself, and the original at its size."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from torch.nn import functional

from training.models.network import EmbeddingNetwork, graph_recipe
from training.models.openvino_ir import OpenVINOWeightsError, read_operations, read_retail
from training.models.osnet import WIDTHS, ContextGate, ImageNorm, OSNet, SqueezeGate, context_groups
from training.models.spatial_pooling import KERNEL, SpatialWeights, hats
from training.postprocess.convert import converted
from training.run.checkpoint import read_checkpoint, write_checkpoint

RETAIL = {"0277": "osnet-1.0", "0286": "osnet-0.75", "0287": "osnet-0.5", "0288": "osnet-0.25"}
SMALLEST = "osnet-0.25"


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomised(module):
    """The module with random numbers where it begins with zeros and ones."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0, 0.5, generator=random)
    return module


def test_the_map_has_a_pixel_for_each_sixteen_of_the_image_or_part_of_them():
    trunk = OSNet(WIDTHS[SMALLEST]).eval()
    with torch.inference_mode():
        for height, width in ((256, 128), (16, 16), (1, 1), (1, 96), (33, 17), (250, 95)):
            shape = trunk(noise(1, 3, height, width)).shape
            assert shape == (1, 128, -(-height // 16), -(-width // 16)), (height, width)


@pytest.mark.parametrize("name", WIDTHS)
def test_each_width_has_its_channels(name):
    network = EmbeddingNetwork(name, 8, "spatial", "prelu").eval()
    with torch.inference_mode():
        vectors = network(torch.randint(0, 256, (2, 48, 32, 3), dtype=torch.uint8))
    assert vectors.shape == (2, 8)
    assert network.pooling.weight.shape == (WIDTHS[name].channels, *KERNEL)


def test_a_vector_does_not_depend_on_the_batch_in_training_neither():
    trunk = randomised(OSNet(WIDTHS[SMALLEST])).train()
    images = noise(3, 3, 64, 32)
    together = trunk(images)
    for row in range(3):
        torch.testing.assert_close(trunk(images[row : row + 1])[0], together[row], rtol=1e-4, atol=1e-5)


def test_the_image_norm_is_torchs_instance_norm_and_takes_one_pixel():
    norm, features = randomised(ImageNorm(5)), noise(2, 5, 7, 3)
    expected = functional.instance_norm(features, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(norm(features), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm(features[:, :, :1, :1])[0, :, 0, 0], norm.bias)


def test_the_gates_are_their_formulas():
    features = noise(2, 24, 5, 3)
    means = features.double().mean((2, 3)).numpy()
    squeeze = SqueezeGate(24)
    weights = [layer.weight.detach().double().numpy()[:, :, 0, 0] for layer in (squeeze.squeeze, squeeze.excite)]
    biases = [layer.bias.detach().double().numpy() for layer in (squeeze.squeeze, squeeze.excite)]
    excited = np.maximum(means @ weights[0].T + biases[0], 0) @ weights[1].T + biases[1]
    expected = features * torch.from_numpy(1 / (1 + np.exp(-excited)))[:, :, None, None].float()
    torch.testing.assert_close(squeeze(features), expected, rtol=1e-4, atol=1e-6)
    context = randomised(ContextGate(24, context_groups(24)))
    grouped = means.reshape(2, 8, 3)
    deviation = np.sqrt(grouped.var(2, keepdims=True) + 1e-5)
    normalised = ((grouped - grouped.mean(2, keepdims=True)) / deviation).reshape(2, 24)
    gate = 1 / (1 + np.exp(-(normalised * context.weight.detach().numpy() + context.bias.detach().numpy())))
    torch.testing.assert_close(
        context(features), features * torch.from_numpy(gate)[:, :, None, None].float(), rtol=1e-4, atol=1e-5
    )


def test_spatial_weights_at_the_kernels_own_size_are_the_depthwise_convolution():
    pool, features = SpatialWeights(6), noise(3, 6, *KERNEL)
    with torch.no_grad():
        pool.weight.copy_(noise(6, *KERNEL, seed=1))
        pool.bias.copy_(noise(6, seed=2))
        expected = functional.conv2d(features, pool.weight[:, None], pool.bias, groups=6)[:, :, 0, 0]
        torch.testing.assert_close(pool(features), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(20, 6), (11, 11), (8, 4), (1, 3), (1, 1), (40, 3)])
def test_spatial_weights_are_resized_bilinearly_at_any_other(shape):
    pool, features = SpatialWeights(4), noise(2, 4, *shape)
    with torch.no_grad():
        pool.weight.copy_(noise(4, *KERNEL, seed=1))
        kernel = functional.interpolate(pool.weight[None], shape, mode="bilinear", align_corners=False)[0]
        expected = (features * kernel).sum((2, 3)) * (128 / (shape[0] * shape[1]))
        torch.testing.assert_close(pool(features), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(hats(shape[0], 16, torch.device("cpu")).sum(1), 1, atol=1e-5)


def test_the_graph_recipe_names_what_the_vectors_depend_on():
    assert graph_recipe(SMALLEST, "spatial", "prelu").endswith("global spatial pooling, fully connected, PReLU, L2")


def test_foreign_network_is_refused(tmp_path):
    path = tmp_path / "network.xml"
    with pytest.raises(OpenVINOWeightsError, match=r"expected an \.xml that lies beside its \.bin"):
        read_operations(path)
    for text in ("", "<net>", "<!DOCTYPE net [<!ENTITY a 'b'>]><net><layers/><edges/></net>"):
        path.write_text(text)
        path.with_suffix(".bin").write_bytes(b"")
        with pytest.raises(OpenVINOWeightsError, match="cannot be read as a network of OpenVINO"):
            read_operations(path)
    constant = '<layer id="1" name="w" type="Const"><data element_type="f32" shape="2" offset="0" size="8"/></layer>'
    network = '<net><layers>{}<layer id="2" name="add" type="Add"/></layers><edges>{}</edges></net>'
    path.write_text(network.format(constant, '<edge from-layer="1" from-port="0" to-layer="2" to-port="0"/>'))
    with pytest.raises(OpenVINOWeightsError, match="8 bytes at 0 of 0"):
        read_operations(path)
    path.with_suffix(".bin").write_bytes(np.array([1, 2], "<f4").tobytes())
    (operation,) = read_operations(path)
    assert operation.kind == "Add"
    assert operation.weights[0].tolist() == [1, 2]
    with pytest.raises(OpenVINOWeightsError, match="operation 0 is Add, expected Subtract"):
        read_retail(path)


@pytest.mark.realdata
@pytest.mark.parametrize("number", RETAIL)
def test_a_converted_network_gives_the_originals_vectors(number, reid_data, tmp_path):
    openvino = pytest.importorskip("openvino", reason="needs the extra openvino")
    path = reid_data / "reference" / "intel-reid-ir" / f"person-reidentification-retail-{number}.xml"
    checkpoint = converted(path)
    assert checkpoint.architecture.backbone == RETAIL[number]
    write_checkpoint(tmp_path / "converted.safetensors", checkpoint)
    network = read_checkpoint(tmp_path / "converted.safetensors").network()
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 128, 3), dtype=np.uint8)
    images[1] = images[1].mean((0, 1)) // 2 + np.linspace(0, 120, 256)[:, None, None]
    original = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        vectors = network(torch.from_numpy(images)).numpy()
    # Of noise 3e-7 is left. The other image is nearly flat, which instance normalisation blows up: 2e-6 with
    # AVX2, 6.3e-6 with AVX-512.
    for image, vector, bound in zip(images, vectors, (1e-6, 1e-5), strict=True):
        expected = original(image[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32))[0][0]
        expected /= np.linalg.norm(expected)
        assert expected @ vector == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(vector, expected, atol=bound)
