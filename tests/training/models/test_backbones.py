import re

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

import sys
from types import ModuleType
from urllib.error import URLError

from safetensors.torch import save_file

from reid_runtime.install import install_line
from training.models.backbones import BACKBONES, backbone
from training.models.base import BackboneError
from training.models.network import EmbeddingNetwork
from training.models.osnet import WIDTHS
from training.models.weights import initialise, lite0_name, read_weights


def timm():
    return pytest.importorskip("timm", reason="needs the extra timm")


def randomised(trunk):
    """The trunk with random numbers in the norms too: untouched ones are equal everywhere and prove nothing."""
    random = torch.Generator().manual_seed(4)
    for value in trunk.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=random) + 0.5)
    return trunk


def same_weights(first, second):
    left, right = first.state_dict(), second.state_dict()
    return list(left) == list(right) and all(torch.equal(left[key], right[key]) for key in left)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BackboneError, match="did you mean 'resnet50'"):
        backbone("resnet-50")
    with pytest.raises(BackboneError, match=r"known: mobilenetv2, .* and timm/NAME"):
        backbone("!")


def test_an_unknown_timm_name_is_answered_with_the_nearest():
    timm()
    with pytest.raises(BackboneError, match="has no model 'efficientnet_lit0'; did you mean 'timm/efficientnet_lite0'"):
        backbone("timm/efficientnet_lit0")
    with pytest.raises(BackboneError, match=r"timm\.list_models"):
        backbone("timm/!")
    with pytest.raises(BackboneError, match=r"resnet18.*without its head.*Invalid pretrained tag"):
        backbone("timm/resnet18.of_nobody")


def test_without_timm_its_backbones_name_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match=re.escape(install_line("timm"))):
        backbone("timm/a_name_that_no_other_test_has_asked_for")


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("timm/efficientnet_lite0", 1280),
        ("timm/mobilenetv4_conv_small", 1280),  # the map after the last 1x1 convolution, not timm's num_features, 960
        ("timm/test_convnext", 64),  # cannot take less than 32 pixels by itself
    ],
)
def test_timms_convolutional_networks_are_trunks_at_any_size(name, channels):
    timm()
    entry = backbone(name)
    assert entry.channels == channels
    network = EmbeddingNetwork(name, 8).eval()
    for height, width in ((96, 64), (75, 31), (1, 96), (40, 1)):
        images = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
        with torch.inference_mode():
            vectors = network(images)
        assert vectors.shape == (2, 8)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm/vit_tiny_patch16_224", "does not take images of any size: 96x64 pixels"),
        ("timm/test_vit4", "cannot be a backbone"),
        ("timm/mambaout_femto", r"expected a map .* give \(1, 3, 2, 1152\) and \(1, 5, 7, 1152\)"),  # channels last
    ],
)
def test_networks_that_are_no_trunk_are_refused(name, said):
    timm()
    with pytest.raises(BackboneError, match=said):
        backbone(name)


def test_a_network_whose_map_does_not_grow_with_the_image_is_refused(monkeypatch):
    class Pooled(torch.nn.Module):
        def forward(self, images):
            return images.mean((2, 3), keepdim=True)

    library = ModuleType("timm")
    library.is_model = lambda name: True
    library.create_model = lambda name, **options: Pooled()
    monkeypatch.setitem(sys.modules, "timm", library)
    with pytest.raises(BackboneError, match=r"grows with the image; 96x64 and 131x197 pixels give \(1, 3, 1, 1\)"):
        backbone("timm/pooled")


def test_trying_a_timm_network_does_not_move_the_random_numbers():
    timm()
    weights = []
    for _ in range(2):  # the first time it may have to be tried, the second time it is known
        torch.manual_seed(7)
        weights.append(EmbeddingNetwork("timm/test_resnet", 8))
    assert same_weights(*weights)


def test_lite0_in_the_names_of_efficientnet_lite_pytorch_goes_to_the_right_place(tmp_path):
    timm()
    entry = backbone("timm/tf_efficientnet_lite0")
    source, target = randomised(entry.build()), entry.build()
    theirs = {lite0_name(key): value for key, value in source.state_dict().items()}
    # Read off that package's blocks: their numbers run through, norms count from 0, the first block does not expand.
    for name, ours in {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.bias": "bn1.bias",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._bn1.weight": "blocks.0.0.bn1.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.5._expand_conv.weight": "blocks.3.0.conv_pw.weight",
        "_blocks.8._bn0.running_mean": "blocks.4.0.bn1.running_mean",
        "_blocks.14._bn1.running_var": "blocks.5.3.bn2.running_var",
        "_blocks.15._bn2.bias": "blocks.6.0.bn3.bias",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.running_mean": "bn2.running_mean",
    }.items():
        assert torch.equal(theirs[name], source.state_dict()[ours]), name
    theirs |= {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    torch.save(theirs, tmp_path / "lite0.pth")
    initialise(target, entry.name, tmp_path / "lite0.pth")
    assert same_weights(source, target)
    symmetric = backbone("timm/efficientnet_lite0")
    with pytest.raises(BackboneError, match="use backbone 'timm/tf_efficientnet_lite0'"):
        initialise(symmetric.build(), symmetric.name, tmp_path / "lite0.pth")


@pytest.mark.realdata
def test_the_published_lite0_is_the_network_with_the_same_padding(reid_data):
    timm()
    weights = reid_data / "weights" / "efficientnet-lite0-57934424.pth"
    if not weights.is_file():
        pytest.skip(f"no {weights.name} among the development data")
    entry = backbone("timm/tf_efficientnet_lite0")
    trunk = entry.build().eval()
    initialise(trunk, entry.name, weights)
    actual, tensors = trunk.state_dict(), torch.load(weights, weights_only=True)
    # Every tensor but the classifier's is placed, in the order in which both networks are written down.
    assert len(tensors) == len(actual) + 2
    assert all(torch.equal(value, given) for value, given in zip(actual.values(), tensors.values(), strict=False))


def test_imagenet_is_torchvisions_first_published_file_in_its_usual_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = BACKBONES["resnet18"]
    source, target = randomised(entry.build()), entry.build()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    # As published: with a head, and from before norms counted batches.
    tensors = {key: value for key, value in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save({**tensors, "fc.weight": torch.zeros(1000, 512)}, folder / "resnet18-f37072fd.pth")
    initialise(target, "resnet18", "imagenet")
    assert same_weights(source, target)


UNPUBLISHED = ("resnet50-original", *WIDTHS)


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_unpublished_weights_have_a_remedy(name):
    called = "'resnet50-original'" if name == "resnet50-original" else "ImageNet weights of these OSNets"
    with pytest.raises(BackboneError, match=f"nobody publishes {called}.*--weights FILE"):
        initialise(torch.nn.Identity(), name, "imagenet")


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in UNPUBLISHED])
def test_a_failed_download_says_what_to_do(name, tmp_path, monkeypatch):
    asked = []

    def no_network(url, file, hash_prefix, progress):
        asked.append((url, hash_prefix))
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(BackboneError, match=f"weights of '{name}' .*no network.* --weights FILE"):
        initialise(torch.nn.Identity(), name, "imagenet")
    ((url, checked),) = asked
    assert checked is not None
    assert url.endswith(f"-{checked}.pth"), "the download is held to the digest in its name"


def test_imagenet_of_a_timm_backbone_is_timms_own_download(tmp_path, monkeypatch):
    timm()
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    entry = backbone("timm/test_resnet")
    source, target = randomised(entry.build()), entry.build()
    with pytest.raises(BackboneError, match=r"weights of 'timm/test_resnet' are not to be had here.*--weights FILE"):
        initialise(target, entry.name, "imagenet")
    repository = tmp_path / f"models--{target.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
    snapshot = repository / "snapshots" / "0123456789"
    (repository / "refs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123456789")
    head = {"fc.weight": torch.zeros(1000, entry.channels), "fc.bias": torch.zeros(1000)}
    save_file({**source.state_dict(), **head}, snapshot / "model.safetensors")
    initialise(target, entry.name, "imagenet")
    assert same_weights(source, target)


def test_a_state_dict_as_torch_saves_it_is_taken(tmp_path):
    entry = BACKBONES["resnet18"]
    source, target = randomised(entry.build()), entry.build()
    for zipped in (True, False):
        torch.save(source.state_dict(), tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
        initialise(target, "resnet18", tmp_path / "weights.pth")
        assert same_weights(source, target)


class Trap:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("found", [Trap(), {"conv1.weight": Trap()}, {"state_dict": {}}, [torch.zeros(1)]])
def test_a_pickle_of_anything_else_is_refused_and_nothing_in_it_runs(found, zipped, tmp_path, capsys):
    torch.save(found, tmp_path / "trap.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(BackboneError, match=r"trap\.pth: expected a (\.pth with a )?state dict"):
        initialise(BACKBONES["resnet18"].build(), "resnet18", tmp_path / "trap.pth")
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("length", [0x0280, 0x4B50])
def test_safetensors_whose_first_bytes_are_a_pickles_are_still_safetensors(length, tmp_path):
    # The file begins with its header's length, which the note in it can make any multiple of eight.
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(1)}, path, {"stride": ""})
    note = "x" * (length - int.from_bytes(path.read_bytes()[:8], "little"))
    save_file({"weight": torch.zeros(1)}, path, {"stride": note})
    assert path.read_bytes()[:2] in (b"PK", b"\x80\x02")
    assert read_weights(path)[1] == note, "read as what it is not: the warning in it is lost"


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
def test_weights_of_another_backbone_are_refused(damage, tmp_path):
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
