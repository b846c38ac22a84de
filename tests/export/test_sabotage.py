"""The gates are real: the real commands on artefacts that were sabotaged, each exit 1 and no file."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper

from export import derive, to_fp16, to_int8
from export.gate import ParityResult
from reid_runtime.agreement import Agreement
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import LongestSide
from reid_runtime.model_file.precision import Precision

from ..recorded import tamper
from ..sample_images import encode
from .small import SMALL, replace_constant, small_model, write_small


def wrong_mean(model):
    replace_constant(model, "mean", lambda values: values + 20)


def blue_first(model):
    replace_constant(model, "first.weight", lambda values: values[:, ::-1])


def not_a_number(model):
    def poison(values):
        values = values.copy()
        values.flat[7] = np.nan
        return values

    replace_constant(model, "wide.weight", poison)


def frozen_width(model):
    """The pooling sees the left upper corner alone, whatever the size."""
    (pooling,) = [node for node in model.graph.node if node.op_type == "ReduceMax"]
    ends = {"start": [0, 0], "end": [6, 6]}
    for name, values in ends.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    at = list(model.graph.node).index(pooling)
    model.graph.node.insert(at, helper.make_node("Slice", ["f+", "start", "end", "axes"], ["corner"]))
    pooling.input[0] = "corner"


def blind(model):
    replace_constant(model, "projection.weight", lambda values: values * 0)


GRAPHS = {
    "wrong mean": wrong_mean,
    "BGR": blue_first,
    "a NaN weight": not_a_number,
    "a frozen axis": frozen_width,
    "an ignored input": blind,
}
CONTRACTS = {
    "BGR": {"input": InputFormat(colour="bgr")},
    "another size": {"resize": LongestSide(40)},
    "another precision": {"precision": Precision("float16")},
    "another dimension": {"dimension": 15},
}


def steps(training):
    return {
        "to_fp16": (),
        "to_int8": ("--for", "cpu", "--calibrate", training, "--samples", 40),
    }


@pytest.fixture(params=["to_fp16", "to_int8"])
def refuses(request, export, training, tmp_path):
    """Run the step on a sabotaged parent; expects exit 1 and nothing new in the folder."""

    def check(path, said):
        before = sorted(tmp_path.rglob("*"))
        run = export(request.param, path, "-o", tmp_path / "derived.onnx", *steps(training)[request.param])
        assert run.code == 1, run.out
        assert said in run.err
        assert sorted(tmp_path.rglob("*")) == before

    return check


@pytest.fixture
def copied(parent, tmp_path):
    path = tmp_path / "sabotaged.onnx"
    path.write_bytes(parent.read_bytes())
    return path


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize("sabotage", GRAPHS.values(), ids=GRAPHS)
def test_nothing_is_derived_from_a_graph_that_was_changed(sabotage, sealed, copied, refuses):
    """Also where the record's digests were made to fit: its vectors tell."""
    model = onnx.load(str(copied))
    sabotage(model)
    tamper(copied, model=model, sealed=sealed)
    refuses(copied, "is not the model that was written")


@pytest.mark.parametrize("sabotage", CONTRACTS.values(), ids=CONTRACTS)
def test_nothing_is_derived_from_a_contract_that_was_changed(sabotage, copied, refuses):
    tamper(copied, stated=dataclasses.replace(SMALL, **sabotage))
    refuses(copied, "is not the model that was written")


def test_nothing_is_derived_from_a_file_with_one_flipped_bit_in_a_weight(copied, refuses):
    content = bytearray(copied.read_bytes())
    weights = numpy_helper.to_array(
        next(t for t in onnx.load(str(copied)).graph.initializer if t.name == "wide.weight")
    ).tobytes()
    offset = bytes(content).index(weights)
    content[offset + 40] ^= 1  # the lowest bit of a mantissa: no vector moves by more than a rounding
    copied.write_bytes(content)
    refuses(copied, "is not the model that was written")


def test_nothing_is_derived_from_a_file_without_its_record(copied, refuses):
    model = onnx.load(str(copied))
    del model.metadata_props[1:]
    onnx.save(model, str(copied))
    refuses(copied, "no self-test record")


@pytest.mark.parametrize("sabotage", [wrong_mean, blue_first, not_a_number, frozen_width], ids=lambda f: f.__name__)
@pytest.mark.parametrize("step", ["to_fp16", "to_int8"])
def test_a_step_that_would_break_the_graph_is_caught(step, sabotage, parent, training, tmp_path, export, monkeypatch):
    """The parent is whole; what the step makes of it is not."""
    module, name = (to_fp16, "half_graph") if step == "to_fp16" else (to_int8, "quantise")
    right = getattr(module, name)

    def broken(model, *arguments):
        spoilt = onnx.ModelProto()
        spoilt.CopyFrom(model)
        sabotage(spoilt)
        return right(spoilt, *arguments)

    monkeypatch.setattr(module, name, broken)
    path = tmp_path / "derived.onnx"
    path.write_bytes(b"an earlier one")
    run = export(step, parent, "-o", path, "--force", *steps(training)[step])
    assert run.code == 1
    assert [(left.name, left.read_bytes()) for left in tmp_path.iterdir()] == [("derived.onnx", b"an earlier one")]


def test_vectors_that_depend_on_their_company_are_no_artefact(parent, tmp_path, export, monkeypatch):
    """The parent's do not, so that the gate sees it; here the gate is blind, and `verify` is not."""

    def social(model, *arguments):
        spoilt = onnx.ModelProto()
        spoilt.CopyFrom(model)
        (norm,) = [node for node in spoilt.graph.node if node.op_type == "ReduceL2"]
        spoilt.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "batch_axis"))
        at = list(spoilt.graph.node).index(norm)
        spoilt.graph.node.insert(at, helper.make_node("ReduceMean", ["raw", "batch_axis"], ["company"], keepdims=1))
        spoilt.graph.node.insert(at + 1, helper.make_node("Sum", ["raw", "company"], ["social"]))
        for node in list(spoilt.graph.node)[at + 2 :]:
            node.input[0] = "social" if node.input[0] == "raw" else node.input[0]
        return spoilt

    monkeypatch.setattr(to_fp16, "half_graph", social)
    passed = ParityResult(Agreement(1, 1.0, 0.0, 1.0), 1.0, Agreement(1, 1.0, 0.0, 1.0))
    monkeypatch.setattr(derive, "check_parity", lambda *arguments: passed)
    run = export("to_fp16", parent, "-o", tmp_path / "derived.onnx")
    assert run.code == 1
    assert "does not pass `reid-runtime verify`: its vectors; worst cosine" in run.err
    assert list(tmp_path.iterdir()) == []


def test_rounded_graph_is_no_float32_parent(tmp_path, refuses):
    refuses(write_small(tmp_path / "half.onnx", to_fp16.half_graph(small_model())), "but 'first.weight/half' is of")


def test_five_grey_images_calibrate_nothing(parent, tmp_path):
    """In a process of its own, as a user starts it."""
    crops = tmp_path / "train"
    crops.mkdir()
    for grey in range(5):
        (crops / f"{grey}.png").write_bytes(encode(np.full((128, 64, 3), 100 + grey, np.uint8), "PNG"))
    arguments = ["--for", "cpu", "--calibrate", crops, "-o", tmp_path / "int8.onnx"]
    done = subprocess.run(
        [sys.executable, "-m", "export.to_int8", parent, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "expected at least 32 training crops, found 5" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_an_existing_file_is_not_overwritten(parent, tmp_path, export):
    path = tmp_path / "there.onnx"
    path.write_bytes(b"mine")
    assert export("to_fp16", parent, "-o", path).code == 1
    assert path.read_bytes() == b"mine"


def test_a_whole_model_without_a_contract_of_ours_is_refused(tmp_path, refuses):
    path = write_small(tmp_path / "other.onnx", small_model(), dataclasses.replace(SMALL, parent="sha256:0"))
    refuses(path, "expected a float32 export of ours")
