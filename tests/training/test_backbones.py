import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from safetensors.torch import save_file

from training.backbones import BACKBONES, BackboneError, backbone, initialise


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BackboneError, match="did you mean 'resnet50'"):
        backbone("resnet-50")


def test_weights_load_by_name_and_the_head_is_left_out(tmp_path):
    source, target = (BACKBONES["resnet18"].build() for _ in range(2))
    tensors = {**source.state_dict(), "fc.weight": torch.zeros(3, 512)}
    # Published files hold convolutions in float16: the trunk's own dtype must survive.
    half = {key: value.half() if value.ndim == 4 else value for key, value in tensors.items()}
    save_file(half, tmp_path / "weights.safetensors")
    initialise(target, "resnet18", tmp_path / "weights.safetensors")
    for key, value in source.state_dict().items():
        assert target.state_dict()[key].dtype == value.dtype
        torch.testing.assert_close(target.state_dict()[key], value, rtol=1e-3, atol=1e-3)


def test_mobilenet_weights_with_flat_block_names_go_to_the_right_place(tmp_path):
    source, target = (BACKBONES["mobilenetv2"].build() for _ in range(2))
    flat = {}
    for module_name, module in source.named_modules():
        if module_name.count(".") == 1 and hasattr(module, "conv"):
            layers = [layer for child in module.conv for layer in (child if len(list(child.children())) else [child])]
            for index, layer in enumerate(layers):
                for key, value in layer.state_dict().items():
                    flat[f"{module_name}.conv.{index}.{key}"] = value
    rest = {key: value for key, value in source.state_dict().items() if ".conv." not in key}
    save_file({**rest, **flat}, tmp_path / "flat.safetensors")
    assert "features.2.conv.6.weight" in flat
    initialise(target, "mobilenetv2", tmp_path / "flat.safetensors")
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key


def test_the_original_stride_is_refused_where_it_would_shift_the_features(tmp_path):
    trunk = BACKBONES["resnet50"].build()
    note = {"stride": "exact with the stride in the first 1x1 convolution of layer2-4"}
    save_file(trunk.state_dict(), tmp_path / "original.safetensors", note)
    with pytest.raises(BackboneError, match="resnet50-original"):
        initialise(trunk, "resnet50", tmp_path / "original.safetensors")
    initialise(BACKBONES["resnet50-original"].build(), "resnet50-original", tmp_path / "original.safetensors")


def test_the_two_strides_give_maps_of_one_size_and_other_features():
    torch.manual_seed(0)
    ours, original = BACKBONES["resnet50"].build().eval(), BACKBONES["resnet50-original"].build().eval()
    original.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        first, second = ours(images), original(images)
    assert first.shape == second.shape == (1, 2048, 2, 1)
    assert not torch.allclose(first, second, rtol=1e-2)


@pytest.mark.parametrize("damage", ["lacks", "shape", "text"])
def test_weights_that_do_not_belong_are_told(damage, tmp_path):
    trunk = BACKBONES["resnet18"].build()
    tensors = dict(trunk.state_dict())
    path = tmp_path / "weights.safetensors"
    if damage == "lacks":
        del tensors["layer3.0.conv1.weight"]
    if damage == "shape":
        tensors["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    save_file(tensors, path)
    if damage == "text":
        path.write_text("not tensors")
    said = {"lacks": "layer3.0.conv1.weight", "shape": "conv1.weight", "text": "safetensors"}[damage]
    with pytest.raises(BackboneError, match=said):
        initialise(trunk, "resnet18", path)
