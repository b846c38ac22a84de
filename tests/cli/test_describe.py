"""reid-runtime describe: our contracts as they are, and drafts that claim no more than is known."""

import dataclasses
import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from reid_runtime import Contract, ContractError, Embedder, contract_template
from reid_runtime.images.resize import FixedSize, LongestSide
from reid_runtime.model_file.contract import TODO
from reid_runtime.model_file.known import KNOWN
from reid_runtime.model_file.packaged import default_model

from ..model_file.test_contract import FULL
from ..models import CONTRACT, DIMENSION, FOREIGN, stated_for, write_model
from ..recorded import tamper, write_recorded
from ..sample_images import sample_image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


def test_the_default_model(command):
    run = command("describe")
    assert (run.code, run.err) == (0, "")
    embedder = Embedder.load()
    rows = dict(line.split("  ", 1) for line in run.out.splitlines())
    rows = {title.strip(): words.strip() for title, words in rows.items()}
    assert rows["contract"] == embedder.contract.contract_id
    assert rows["artefact"] == embedder.artefact_id
    assert rows["weights"] == embedder.contract.weights
    assert rows["terms"] == embedder.contract.trained_on[-1].terms
    market = embedder.contract.scores[0]
    assert rows["scores"].startswith(f"Market-1501: rank-1 {market.rank_1:.1%}, mAP {market.map_finite_sum:.1%} (fin")
    assert rows["resize"] == "longest side 256, aspect ratio kept; bilinear"
    assert rows["self-test"].startswith("4 crops")
    assert rows["trained on"].endswith("unpublished: how many crops is not stated")
    assert str(default_model()) in rows["file"]


def test_a_derived_model_says_what_it_came_from(command, tmp_path):
    model = write_model(tmp_path / "m.onnx", FULL)
    run = command("describe", model)
    assert "parent      sha256:11\ndrift       cosine 0.999\n            map -0.001\n" in run.out
    assert "resize      stretched to 256×128; bilinear" in run.out
    assert "trained on  one: 12,936 crops of 751 people\nterms       research\ntrained on  zwei, größer:" in run.out
    assert run.out.endswith("self-test   none\n")


def test_json_is_the_contract(command, tiny_model, tmp_path):
    run = command("describe", tiny_model, "--json")
    assert run.code == 0
    assert Contract.from_json(run.out, "describe") == CONTRACT
    run = command("describe", tiny_model, "-o", tmp_path / "c.json")
    assert "precision   float32" in run.out
    assert Contract.from_json((tmp_path / "c.json").read_text(encoding="utf-8"), "file") == CONTRACT
    run = command("describe", tiny_model, "-o", tmp_path / "c.json")
    assert run.code == 1
    assert "exists and is not overwritten" in run.err
    assert command("describe", tiny_model, "-o", tmp_path / "c.json", "--force").code == 0


def test_a_full_disk_is_said_in_one_line(command, tiny_model, tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    run = command("describe", tiny_model, "-o", tmp_path / "c.json")
    assert (run.code, run.err) == (1, "error: [Errno 28] No space left on device\n")
    assert not (tmp_path / "c.json").exists()


def test_a_damaged_model_is_not_described(command, tmp_path):
    model = write_recorded(tmp_path / "m.onnx")
    tamper(model, stated=dataclasses.replace(CONTRACT, name="better"))
    run = command("describe", model)
    assert (run.code, run.out) == (1, "")
    assert "is damaged: its contract is" in run.err
    model.write_bytes(b"<html>")
    run = command("describe", model)
    assert run.code == 1
    assert "damaged or no ONNX file" in run.err


def fill(draft, **values):
    """The draft with its blanks filled as `Contract` fields say."""
    return (
        draft
        | {
            "precision": dataclasses.asdict(CONTRACT.precision),
            "trained_on": [dataclasses.asdict(CONTRACT.trained_on[0])],
        }
        | values
    )


def stated_input(contract):
    return json.loads(contract.to_json())["input"]


def test_a_draft_leaves_open_what_nobody_can_read_and_is_refused_so(command, tmp_path):
    model = write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw")
    file = tmp_path / "c.json"
    run = command("describe", model, "-o", file)
    assert (run.code, run.out) == (0, "")
    draft = json.loads(file.read_text(encoding="utf-8"))
    assert {draft["input"][name] for name in ("layout", "dtype")} == {"NCHW", "float32"}
    assert (draft["dimension"], draft["unit_output"], draft["name"]) == (DIMENSION, False, "foreign")
    left_open = ["resize", "input.colour", "input.scale", "input.mean", "input.deviation"]
    assert [line.split()[0] for line in run.err.splitlines()[1:]] == left_open
    with pytest.raises(ContractError, match="still to be filled in: resize ") as refused:
        Embedder.load(model, contract=file)
    assert all(f"{field} (" in str(refused.value) for field in left_open)
    for field in ("colour", "scale"):  # each of them alone is refused too
        values = fill(draft, resize={"rule": "longest-side", "size": 16, "filter": "bilinear"})
        values["input"] = stated_input(FOREIGN) | {field: draft["input"][field]}
        file.write_text(json.dumps(values))
        with pytest.raises(ContractError, match=rf"still to be filled in: input\.{field} \("):
            Embedder.load(model, contract=file)


def test_a_draft_that_is_filled_in_works(command, tmp_path):
    model = write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw")
    draft = json.loads(command("describe", model).out)
    assert draft["resize"].startswith(TODO)
    values = fill(draft, resize={"rule": "longest-side", "size": 16, "filter": "bilinear"}, input=stated_input(FOREIGN))
    (tmp_path / "filled.json").write_text(json.dumps(values))
    (tmp_path / "known.json").write_text(stated_for(model, FOREIGN).to_json())
    images = [sample_image(40, 20), sample_image(20, 33)]
    actual, expected = (
        Embedder.load(model, contract=tmp_path / f"{name}.json").embed(images, "rgb") for name in ("filled", "known")
    )
    assert np.array_equal(actual, expected)
    assert Embedder.load(model, contract=tmp_path / "filled.json").contract.resize == LongestSide(16)


def test_a_draft_of_pixels_last_in_whole_numbers_that_is_unit(command, tmp_path):
    model = write_model(tmp_path / "m.onnx", None)
    draft = json.loads(command("describe", model).out)
    assert draft["input"] == stated_input(CONTRACT) | {"colour": f"{TODO}rgb or bgr"}
    assert draft["unit_output"] is True
    assert draft["weights"].startswith("sha256:")


def with_shape(path, shape, kind=None):
    model = onnx.load(str(path))
    kind = onnx.TensorProto.FLOAT if kind is None else kind
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("images", kind, shape))
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(("preset", "colour"), [("imagenet-rgb", "rgb"), ("raw-bgr", "bgr")])
def test_a_preset_and_a_size_leave_nothing_open(command, tmp_path, preset, colour):
    model, file = write_model(tmp_path / "m.onnx", None, like=FOREIGN, output="raw"), tmp_path / "c.json"
    run = command("describe", model, "--preset", preset, "--size", "24x12", "--filter", "bicubic", "-o", file)
    assert (run.code, run.out) == (0, "")
    assert "m.onnx carries no contract; nothing is left to fill in\n" in run.err
    contract = Contract.from_json(file.read_text(), "c.json")
    assert (contract.resize, contract.input.colour) == (FixedSize(24, 12, "bicubic"), colour)
    assert Embedder.load(model, contract=file).embed([sample_image()], "rgb").shape == (1, DIMENSION)
    assert command("describe", model, "--size", "24").code == 2


def test_known_files_are_recognised(command, tmp_path, monkeypatch):
    """By the digest of their weights; the table is that of the peers."""
    peers = [Contract.from_json(path.read_text(), path.name) for path in sorted(PEERS.glob("*.json"))]
    assert peers == sorted(KNOWN.values(), key=lambda contract: contract.name)
    model = write_model(tmp_path / "m.onnx", None)
    known = stated_for(model)
    monkeypatch.setitem(KNOWN, known.weights, known)
    assert Embedder.load(model).contract == known
    run = command("describe", model)
    assert Contract.from_json(run.out, "describe") == known
    assert "m.onnx is known by its weights, this is its contract; nothing is left to fill in" in run.err


def test_a_fixed_size_is_read(command, tmp_path):
    model = with_shape(write_model(tmp_path / "m.onnx", None, like=FOREIGN), [1, 3, 24, 12])
    draft = json.loads(command("describe", model).out)
    values = fill(draft, input=stated_input(FOREIGN))
    assert Contract.from_json(json.dumps(values), "here").resize == FixedSize(24, 12)


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        (["n", 3, 24, 3], None, "expected an input with 3 channels"),
        (["n", "c", 24, 12], None, "models for one channel, .* are not run; export it with a first layer"),
        (["n", 3, "h", "w"], 11, r"expected an input of uint8, float32 or float16 .*tensor\(double\)"),
    ],
)
def test_an_input_that_no_contract_can_state_is_refused(command, tmp_path, shape, kind, said):
    model = with_shape(write_model(tmp_path / "m.onnx", None, like=FOREIGN), shape, kind)
    run = command("describe", model)
    assert (run.code, run.out) == (1, "")
    assert re.search(said, run.err)


@pytest.mark.realdata
def test_a_draft_of_an_openvino_model_gives_its_vectors(command, reid_data, tmp_path):
    pytest.importorskip("openvino", reason="needs the extra openvino")
    name = "person-reidentification-retail-0288"
    model = reid_data / "reference" / "intel-reid-ir" / f"{name}.xml"
    peer = json.loads((PEERS / f"{name}.json").read_text())
    assert json.loads(command("describe", model, "--json").out) == peer
    values = json.loads(json.dumps(contract_template.draft(model, "raw-bgr")))
    assert {key for key in peer if values[key] != peer[key]} == {"graph", "trained_on"}
    filled = values | {"trained_on": peer["trained_on"]}
    (tmp_path / "filled.json").write_text(json.dumps(filled))
    images = [sample_image(90, 41), sample_image(33, 40)]
    actual, expected = (
        Embedder.load(model, device="openvino", contract=file).embed(images, "rgb")
        for file in (tmp_path / "filled.json", None)
    )
    assert np.array_equal(actual, expected)
