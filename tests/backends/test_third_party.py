"""Graphs as others export them: they give the right rows, or are refused with the edit that helps, before any image."""

import dataclasses
import json

import numpy as np
import pytest

from reid_runtime import Embedder
from reid_runtime.contract_template import draft
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import FixedSize, LongestSide
from reid_runtime.model_file.contract import Contract

from ..models import CONTRACT, stated_for
from ..sample_images import sample_image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
h, T = onnx.helper, onnx.TensorProto

SIDE, NUMBERS = 32, 16
STATED = dataclasses.replace(
    CONTRACT,
    resize=FixedSize(SIDE, SIDE),
    input=InputFormat("NCHW", "float32", "rgb", 1 / 255),
    dimension=NUMBERS,
    unit_output=False,
)
IMAGES = [sample_image(60, 30, seed) for seed in range(19)]
"""A batch of 16, and three that are left over."""


def graph(path, *nodes, outputs=("y",), batch="n", sides=(SIDE, SIDE), kind=T.FLOAT, inside=(1, -1), tokens=None):
    """A convolution over patches into `a` and its means into `b`, (N, D, 1, 1), with these nodes behind."""
    rng = np.random.default_rng(0)
    half = kind == T.FLOAT16
    constants = {
        "w": (rng.normal(size=(NUMBERS, 3, 8, 8)) / 8).astype("f2" if half else "f4"),
        "p": rng.normal(size=(1, NUMBERS, *(tokens or (1, 1)))).astype("f4"),
        "s": np.array(inside, "i8"),
        "axes": np.array([0], "i8"),
    }
    before = [h.make_node("Conv", ["x", "w"], ["a"], strides=[8, 8])]
    before += [h.make_node("Add", ["a", "p"], ["t"])] if tokens else []
    before += [h.make_node("GlobalAveragePool", ["t" if tokens else "a"], ["b"])]
    model = h.make_model(
        h.make_graph(
            before + [h.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
            "g",
            [h.make_tensor_value_info("x", kind, [batch, 3, *sides])],
            [h.make_tensor_value_info(name, kind, None) for name in outputs],
            [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[h.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, path)
    return path


FLAT = ("Flatten", ["b"], ["y"])
KINDS = {
    "two outputs": ({"nodes": [FLAT, ("Neg", ["y"], ["z"])], "outputs": ("z", "y")}, {"output": "y"}),
    "(N, D, 1, 1)": ({"nodes": [("Identity", ["b"], ["y"])]}, {}),
    "view(1, -1)": ({"nodes": [("Reshape", ["b", "s"], ["y"])]}, {}),
    "squeezed": ({"nodes": [("Reshape", ["b", "s"], ["y"])], "inside": [-1], "batch": 1}, {}),
    "traced batch of one": ({"nodes": [("Reshape", ["b", "s"], ["y"])], "batch": 1}, {}),
    "batch of 16": ({"nodes": [("Reshape", ["b", "s"], ["y"])], "batch": 16, "inside": [16, NUMBERS]}, {}),
    "half": ({"nodes": [FLAT], "kind": T.FLOAT16}, {"input": dataclasses.replace(STATED.input, dtype="float16")}),
    "half, stated as float32": ({"nodes": [FLAT], "kind": T.FLOAT16}, {}),
    "one size": ({"nodes": [FLAT], "sides": ("h", "w"), "tokens": (SIDE // 8, SIDE // 8)}, {}),
    "images of a batch mixed": (
        {"nodes": [("ReduceMean", ["b"], ["m"], {"axes": [0]}), ("Sub", ["b", "m"], ["d"]),
                   ("Mul", ["d", "p"], ["e"]), ("Add", ["e", "b"], ["f"]), ("Flatten", ["f"], ["y"])]},
        {},
    ),
}  # fmt: skip


ONE_BY_ONE = ("view(1, -1)", "squeezed", "traced batch of one", "batch of 16", "images of a batch mixed")


def expected(path):
    """Each image alone through the plain graph, in float32."""
    plain = graph(path, FLAT)
    return Embedder.load(plain, contract=stated_file(plain, STATED)).embed(IMAGES, "rgb")


def stated_file(path, contract):
    file = path.with_suffix(".json")
    file.write_text(stated_for(path, contract).to_json())
    return file


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_right(tmp_path, caplog, kind, device):
    """Said once is, where images run one by one."""
    if device == "openvino":
        pytest.importorskip("openvino", reason="needs the extra openvino")
    options, changes = KINDS[kind]
    options = dict(options)
    path = graph(tmp_path / "m.onnx", *options.pop("nodes"), **options)
    embedder = Embedder.load(path, device=device, contract=stated_file(path, dataclasses.replace(STATED, **changes)))
    actual = embedder.embed(IMAGES, "rgb")
    if kind == "one size":
        alone = np.concatenate([embedder.embed([image], "rgb") for image in IMAGES])
        np.testing.assert_allclose(actual, alone, atol=1e-5)
    else:
        np.testing.assert_allclose(actual, expected(tmp_path / "plain.onnx"), atol=2e-3 if "half" in kind else 1e-5)
    if device == "cpu":  # OpenVINO frees some batches itself
        said = [each for each in caplog.records if "takes batches of" in each.message]
        assert len(said) == (kind in ONE_BY_ONE)


SPLIT = ("SequenceConstruct", ["b"], ["y"])
REFUSED = {
    "a fixed size under a rule of many": (
        {"nodes": [FLAT], "sides": ("h", "w"), "tokens": (32, 16)}, {"resize": LongestSide(256)},
        r'its size is fixed, .* state the rule "fixed" with its height and width',
    ),
    "another size": (
        {"nodes": [FLAT], "sides": ("h", "w"), "tokens": (8, 8)}, {},
        "does not run as its contract says, on float32 NCHW",
    ),
    "tokens": ({"nodes": [("Identity", ["a"], ["y"])]}, {}, r"gives \(16, 4, 4\) for an image, .* 16 numbers"),
    "a sequence": ({"nodes": [SPLIT]}, {}, r"of floats as output, found list: cut the graph where that is"),
    "whole numbers": (
        {"nodes": [("Cast", ["b"], ["c"], {"to": T.INT32}), ("Flatten", ["c"], ["y"])]}, {},
        "of floats as output, found int",
    ),
    "no such output": ({"nodes": [FLAT]}, {"output": "feat"}, "has no output 'feat', as its contract says, but y"),
    "outputs without a name": (
        {"nodes": [FLAT, ("Neg", ["y"], ["z"])], "outputs": ("y", "z")}, {},
        'has the outputs y, z: name that of the vectors in its contract, "output": "y"',
    ),
    "another dimension": ({"nodes": [FLAT]}, {"dimension": 17}, r"gives \(16,\) for an image, its contract says 17"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_name_the_edit(tmp_path, kind):
    options, changes, said = REFUSED[kind]
    options = dict(options)
    path = graph(tmp_path / "m.onnx", *options.pop("nodes"), **options)
    if kind in ("a sequence", "whole numbers"):
        model = onnx.load(path)
        make = h.make_tensor_sequence_value_info if kind == "a sequence" else h.make_tensor_value_info
        model.graph.output[0].CopyFrom(make("y", T.FLOAT if kind == "a sequence" else T.INT32, None))
        onnx.save(model, path)
    with pytest.raises(BackendError, match=said):
        Embedder.load(path, contract=stated_file(path, dataclasses.replace(STATED, **changes)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "images of a batch mixed"])
def test_a_draft_with_a_preset_runs(tmp_path, kind):
    """With nothing left to fill in, but which of several outputs is the vector."""
    options = dict(KINDS[kind][0])
    path = graph(tmp_path / "m.onnx", *options.pop("nodes"), **options)
    size = None if kind != "one size" else (SIDE, SIDE)
    values = draft(path, "unit-rgb", size)
    if kind == "two outputs":
        assert values["output"] == "FILL IN: that of the vectors, z (16 numbers) or y (16 numbers)"
        values["output"] = "y"
    file = tmp_path / "c.json"
    file.write_text(json.dumps(values))
    assert values["precision"]["kind"] == ("float16" if "half" in kind else "float32")
    contract = Contract.from_json(file.read_text(), "c.json")
    assert (contract.resize, contract.dimension) == (FixedSize(SIDE, SIDE), NUMBERS)
    actual = Embedder.load(path, contract=file).embed(IMAGES[:3], "rgb")
    if kind != "one size":
        np.testing.assert_allclose(actual, expected(tmp_path / "p.onnx")[:3], atol=2e-3 if "half" in kind else 1e-5)


def test_a_draft_finds_the_one_size(tmp_path):
    path = graph(tmp_path / "m.onnx", FLAT, sides=("h", "w"), tokens=(28, 28))
    assert draft(path, "half-rgb")["resize"] == {"rule": "fixed", "height": 224, "width": 224, "filter": "bilinear"}
    assert draft(path, "half-rgb", None, "bicubic")["resize"]["filter"] == "bicubic"
    with pytest.raises(BackendError, match="failed on a batch of shape"):
        draft(graph(tmp_path / "m.onnx", FLAT, sides=("h", "w"), tokens=(3, 3)))
    with pytest.raises(ContractError, match="expected an output"):
        draft(graph(tmp_path / "m.onnx", ("Identity", ["a"], ["y"])))


def test_bicubic_is_pillows(tmp_path):
    from PIL import Image

    path = graph(tmp_path / "m.onnx", FLAT)
    actual = [
        Embedder.load(path, contract=stated_file(path, dataclasses.replace(STATED, resize=rule))).embed(images, "rgb")
        for rule, images in (
            (FixedSize(SIDE, SIDE, "bicubic"), IMAGES[:1]),
            (FixedSize(SIDE, SIDE), IMAGES[:1]),
            (
                FixedSize(SIDE, SIDE),
                [np.asarray(Image.fromarray(IMAGES[0]).resize((SIDE, SIDE), Image.Resampling.BICUBIC))],
            ),
        )
    ]
    np.testing.assert_allclose(actual[0], actual[2], atol=1e-3)
    assert abs(actual[0] - actual[1]).max() > 1e-3
