"""reid-runtime verify: a whole file passes, and every kind of damage and of wrong vector is told by its name."""

import dataclasses
import json
import os
import sys
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from reid_runtime import Embedder, preparation, verification
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images import resize
from reid_runtime.images.resize import LongestSide
from reid_runtime.install import install_line
from reid_runtime.model_file.onnx import read_onnx_file
from reid_runtime.model_file.precision import Precision

from ..models import CONTRACT, FOREIGN, stated_for, write_model
from ..recorded import record_of, tamper, write_recorded

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_recorded(tmp_path_factory.mktemp("whole") / "whole.onnx")


@pytest.fixture
def model(whole, tmp_path):
    """A copy that a test may damage."""
    path = tmp_path / "model.onnx"
    path.write_bytes(whole.read_bytes())
    return path


def test_a_whole_model_passes_and_is_named(command, whole):
    run = command("verify", whole)
    assert (run.code, run.err) == (0, "")
    embedder = Embedder.load(whole)
    assert f"artefact {embedder.artefact_id}\ncontract {embedder.contract.contract_id}, float32\n" in run.out
    assert "\nok      graph, contract and record are as they were written\n" in run.out
    assert "\nok      onnxruntime cpu" in run.out
    assert "worst cosine 1.0000000, at least 0.99999 expected" in run.out


def test_json_has_the_same_facts(command, whole):
    run = command("verify", whole, "--json", "--device", "cpu")
    assert run.code == 0
    actual = json.loads(run.out)
    (backend,) = actual.pop("backends")
    assert backend["worst_cosine"] >= backend["bound"] == 0.99999
    assert backend["largest_difference"] < 1e-5
    assert (backend["backend"], backend["ok"], backend["problem"]) == ("onnxruntime cpu", True, None)
    assert actual == {
        "model": str(whole),
        "ok": True,
        "artefact_id": Embedder.load(whole).artefact_id,
        "contract_id": CONTRACT.contract_id,
        "precision": "float32",
        "selftest": True,
        "damage": None,
        "absent": {},
    }


@pytest.mark.parametrize("model", [[], ["small"]])
def test_a_packaged_model_needs_no_file(command, model):
    run = command("verify", *model, "--device", "cpu")
    assert (run.code, run.err) == (0, "")
    assert f"models/{model[0] if model else 'base'}.onnx" in run.out


def not_installed(name):
    raise metadata.PackageNotFoundError(name)


def test_absent_backends_have_a_reason(command, whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = command("verify", whole)
    assert run.code == 0
    assert f"\nabsent  openvino: OpenVINO is needed and missing: {install_line('openvino')}\n" in run.out
    run = command("verify", whole, "--device", "openvino")
    assert (run.code, run.out) == (1, "")
    assert "OpenVINO is needed and missing" in run.err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(metadata, "version", not_installed)
    run = command("verify", whole)
    assert run.code == 1
    assert f"absent  cpu: ONNX Runtime is needed and missing: {install_line('cpu')}" in run.out
    assert "FAIL    no backend is here to run it on" in run.out


def test_openvino_is_held_to_the_vectors_of_onnx_runtime(command, whole):
    pytest.importorskip("openvino", reason="needs the extra openvino")
    run = command("verify", whole, "--device", "openvino")
    assert run.code == 0
    assert "\nok      openvino cpu, float32  worst cosine 1.0000000" in run.out


def test_any_flipped_bit_fails_before_anything_is_run(model, monkeypatch):
    """Every byte of what frames the parts, and a sample of the rest."""
    monkeypatch.setattr(verification, "Embedder", None)
    content = model.read_bytes()
    frames = {content.index(part) + step for part in (b"reid_runtime.c", b"reid_runtime.p") for step in range(-8, 40)}
    for offset in sorted({*range(60), *frames, *range(0, len(content), 17), *range(len(content) - 40, len(content))}):
        altered = bytearray(content)
        altered[offset] ^= 1 << (offset % 8)
        model.write_bytes(altered)
        try:
            actual = verification.verify(model)
        except ReidRuntimeError:
            continue
        assert not actual.ok, offset
        assert actual.damage, offset


def test_a_low_bit_of_a_weight_is_damage_though_the_vectors_stay(command, model):
    changed = onnx.load(str(model))
    weights = next(part for part in changed.graph.initializer if part.name == "weights")
    raw = bytearray(weights.raw_data)
    raw[0] ^= 1
    weights.raw_data = bytes(raw)
    expected = record_of(model).vectors
    tamper(model, model=changed)
    actual = Embedder.load(model).embed(record_of(model).images)
    assert np.abs(actual - expected).max() < 1e-5, "it loads, and its vectors pass any bound"
    run = command("verify", model)
    assert run.code == 1
    assert f"FAIL    {model} is damaged: its graph is sha256:" in run.out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("verb", ["verify", "describe"])
@pytest.mark.parametrize("name", ["pipe.onnx", "pipe.xml"])
def test_a_pipe_is_refused_without_waiting_for_what_comes_out_of_it(command, tmp_path, verb, name):
    os.mkfifo(tmp_path / name)
    run = command(verb, tmp_path / name)
    assert (run.code, run.out) == (1, "")
    assert f"{name} is a pipe, a device or a folder; expected a model file on a disk" in run.err


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_damage(command, model, share):
    content = model.read_bytes()
    model.write_bytes(content[: int(len(content) * share)])
    run = command("verify", model)
    assert run.code == 1
    assert "truncated" in run.out


def test_a_file_cut_between_its_parts_is_no_whole_one(command, model):
    cut = model.read_bytes()
    contract, record = onnx.load(str(model)).metadata_props
    for entry, said in (
        (record, "carries a contract and no self-test record"),
        (contract, "carries no self-test record"),
    ):
        cut = cut.removesuffix(onnx.ModelProto(metadata_props=[entry]).SerializeToString())
        model.write_bytes(cut)
        run = command("verify", model)
        assert (run.code, run.out) == (1, "")
        assert said in run.err


def test_foreign_metadata_are_damage(command, model):
    entry = onnx.ModelProto(metadata_props=[onnx.StringStringEntryProto(key="author", value="me")])
    model.write_bytes(model.read_bytes() + entry.SerializeToString())
    run = command("verify", model)
    assert run.code == 1
    assert "its metadata also hold ['author']" in run.out


def test_a_damaged_file_is_json_too(command, model):
    tamper(model, stated=dataclasses.replace(CONTRACT, name="other"))
    run = command("verify", model, "--json")
    actual = json.loads(run.out)
    assert (run.code, actual["ok"], actual["backends"], actual["contract_id"]) == (1, False, [], None)
    assert "its contract is sha256:" in actual["damage"]


EDITS = {
    "resize size": (CONTRACT, {"resize": LongestSide(19)}),
    "colour": (CONTRACT, {"input": dataclasses.replace(CONTRACT.input, colour="bgr")}),
    "mean": (FOREIGN, {"input": dataclasses.replace(FOREIGN.input, mean=(0.0, 0.0, 0.0))}),
    "deviation": (FOREIGN, {"input": dataclasses.replace(FOREIGN.input, deviation=(0.25, 0.224, 0.229))}),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("sealed", [False, True])
def test_an_edited_contract_fails(command, tmp_path, edit, sealed):
    """By its digest; and where that was made to fit, by the vectors."""
    stated, change = EDITS[edit]
    path = write_recorded(tmp_path / "model.onnx", stated, output="unit" if stated.unit_output else "raw")
    tamper(path, stated=dataclasses.replace(stated, **change), sealed=sealed)
    run = command("verify", path, "--device", "cpu")
    assert run.code == 1
    if sealed:
        assert "\nok      graph, contract and record" in run.out
        assert "\nFAIL    onnxruntime cpu  worst cosine 0." in run.out
    else:
        assert "its contract is sha256:" in run.out


def test_edited_vectors_fail(command, model):
    record = record_of(model)
    tamper(model, record=dataclasses.replace(record, vectors=record.vectors[::-1]))
    run = command("verify", model, "--device", "cpu")
    assert run.code == 1
    assert "\nFAIL    onnxruntime cpu  worst cosine" in run.out
    tamper(model, record=dataclasses.replace(record, vectors=record.vectors[:, :4]))
    run = command("verify", model, "--device", "cpu")
    assert run.code == 1
    assert "FAIL    onnxruntime cpu  expected vectors (4, 4), as recorded, found (4, 8)" in run.out


@pytest.mark.parametrize("sealed", [False, True])
def test_a_weight_that_is_not_a_number_fails(command, model, sealed):
    changed = onnx.load(str(model))
    weights = next(part for part in changed.graph.initializer if part.name == "weights")
    weights.raw_data = np.float32(np.nan).tobytes() + weights.raw_data[4:]
    tamper(model, model=changed, sealed=sealed)
    run = command("verify", model, "--device", "cpu")
    assert run.code == 1
    assert ("NaN, infinite or zero vectors" if sealed else "its graph is sha256:") in run.out


def test_another_resize_fails(command, whole, monkeypatch):
    """Not the file is broken here but the machine: its resize drops pixels where Pillow's averages them."""

    def nearest(image, shape):
        rows, columns = (np.arange(new) * old // new for new, old in zip(shape, image.shape, strict=False))
        return image[rows][:, columns]

    some = np.zeros((9, 4, 3), np.uint8)
    assert nearest(some, (5, 2)).shape == resize.resize(some, (5, 2)).shape
    monkeypatch.setattr(
        preparation, "resized", lambda image, rule, _=None: nearest(image, rule.shape(*image.shape[:2]))
    )
    run = command("verify", whole, "--device", "cpu")
    assert run.code == 1
    assert "FAIL    onnxruntime cpu" in run.out


def turned(vectors, cosine):
    """Unit vectors at this cosine to the given ones."""
    aside = np.roll(vectors, 1, axis=1)
    aside -= (aside * vectors).sum(axis=1, keepdims=True) * vectors
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return (cosine * vectors + np.sqrt(1 - cosine**2) * aside).astype(np.float32)


@pytest.mark.parametrize(
    ("precision", "cosine", "codes"),
    [
        ("float32", 0.999995, (0, 0)),
        ("float32", 0.99995, (1, 1)),
        ("float16", 0.99995, (0, 0)),
        ("float16", 0.9995, (1, 1)),
        ("int8", 0.995, (1, 0)),
        ("int8", 0.985, (1, 1)),
    ],
)
def test_the_bounds_follow_the_precision_and_int8_may_differ_on_another_engine(
    command, model, precision, cosine, codes
):
    record = record_of(model)
    stated = dataclasses.replace(CONTRACT, precision=Precision(precision))
    record = dataclasses.replace(record, vectors=turned(record.vectors, cosine))
    tamper(model, stated=stated, record=record, sealed=True)
    assert command("verify", model, "--device", "cpu").code == codes[0]
    pytest.importorskip("openvino", reason="needs the extra openvino")
    assert command("verify", model, "--device", "openvino").code == codes[1]


def test_a_precision_without_a_bound_is_refused(command, model):
    text = CONTRACT.to_json().replace('"kind": "float32"', '"kind": "int3"')
    tamper(model, stated=SimpleNamespace(to_json=lambda: text), sealed=True)
    run = command("verify", model)
    assert (run.code, run.out) == (1, "")
    assert "contract.precision.kind: expected " in run.err


@pytest.fixture
def stated(tmp_path):
    """Writes a contract for --contract."""

    def write(contract):
        (tmp_path / "contract.json").write_text(contract.to_json())
        return tmp_path / "contract.json"

    return write


def test_a_model_of_others_is_verified_as_far_as_it_can_be(command, tmp_path, stated):
    path = write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw")
    run = command("verify", path)
    assert (run.code, run.out) == (1, "")
    assert "carries no self-test record" in run.err
    assert "--contract FILE" in run.err
    run = command("verify", path, "--contract", stated(stated_for(path, FOREIGN)))
    assert run.code == 0, run.out + run.err
    assert "no record says which vectors are right" in run.out
    assert "\nok      onnxruntime cpu" in run.out


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("company", "FAIL    onnxruntime cpu  worst cosine 0."),
        ("blind", "it gives one vector for all crops"),
        ("nan", "NaN, infinite or zero vectors"),
        ("not unit", "promises unit vectors"),
    ],
)
def test_a_model_of_others_that_no_one_should_use_fails(command, tmp_path, stated, kind, said):
    helper = onnx.helper
    path = write_model(tmp_path / "foreign.onnx", None, output="nan" if kind == "nan" else "raw")
    model = onnx.load(str(path))
    last = model.graph.node[-1]
    if kind == "company":  # what else is in the batch goes into each vector
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "batch_axis"))
        last.input[0] = "social"
        extra = [
            helper.make_node("ReduceMax", ["raw", "batch_axis"], ["company"], keepdims=1),
            helper.make_node("Add", ["raw", "company"], ["social"]),
        ]
    elif kind == "blind":
        last.input[0] = "same"
        extra = [
            helper.make_node("Mul", ["raw", "nothing"], ["zero_again"]),
            helper.make_node("Add", ["zero_again", "bias"], ["same"]),
        ]
    else:
        extra = []
    nodes = [*model.graph.node[:-1], *extra, last]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    onnx.save(model, str(path))
    contract = stated(dataclasses.replace(stated_for(path), unit_output=kind == "not unit"))
    run = command("verify", path, "--contract", contract, "--device", "cpu")
    assert run.code == 1
    assert said in run.out


def test_a_contract_beside_the_models_own_is_refused(command, whole, stated):
    run = command("verify", whole, "--contract", stated(CONTRACT))
    assert run.code == 1
    assert "carries its own contract" in run.err


def test_the_record_fits_the_file_it_lies_in(whole):
    record = record_of(whole)
    assert record.graph == read_onnx_file(whole).graph
    assert record.vectors.shape == (len(record.images), CONTRACT.dimension)
