"""The contract: what is written is read, what is not understood is refused, and what an id depends on."""

import dataclasses
import json

import pytest

from reid_runtime.errors import ContractError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import FixedSize, LongestSide
from reid_runtime.model_file.contract import Contract, Score, TrainedOn
from reid_runtime.model_file.precision import Precision

from ..models import CONTRACT, FOREIGN

FULL = dataclasses.replace(
    CONTRACT,
    resize=FixedSize(256, 128),
    precision=Precision("int8", "cpu", "u8s8, 7-bit weights, per channel"),
    inner="features",
    last_layer=("weight", "bias"),
    trained_on=(TrainedOn("one", "research", 751, 12936), TrainedOn("zwei, größer", "free", 2, 3)),
    scores=(Score("market1501", "single query", 0.8, 0.6, 0.61),),
    parent="sha256:11",
    drift={"cosine": 0.999, "map": -0.001},
)


@pytest.mark.parametrize(
    "contract",
    [CONTRACT, FOREIGN, FULL, dataclasses.replace(FULL, output="y", resize=FixedSize(2, 3, "bicubic"))],
)
def test_round_trip(contract):
    actual = Contract.from_json(contract.to_json(), "here")
    assert actual == contract
    assert actual.to_json() == contract.to_json()
    assert actual.contract_id == contract.contract_id


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "sha256:01"},
        {"graph": "another"},
        {"resize": LongestSide(17)},
        {"resize": FixedSize(16, 16)},
        {"resize": LongestSide(16, "bicubic")},
        {"output": "vectors"},
        {"input": InputFormat(dtype="float16")},
        {"input": InputFormat(colour="bgr")},
        {"input": dataclasses.replace(FOREIGN.input, mean=(0.5, 0.5, 0.5))},
    ],
)
def test_id_changes_with_the_embedding_space(change):
    assert dataclasses.replace(CONTRACT, **change).contract_id != CONTRACT.contract_id


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},
        {"parent": "sha256:11"},
        {"scores": FULL.scores},
        {"precision": Precision("int8")},
        {"inner": "features", "last_layer": ("weight",)},
    ],
)
def test_id_keeps_through_scores_names_and_derivation(change):
    assert dataclasses.replace(CONTRACT, **change).contract_id == CONTRACT.contract_id


def test_id_is_the_same_for_1_and_1_point_0():
    complete = dataclasses.replace(CONTRACT, input=InputFormat(scale=1, mean=(0, 0, 0), deviation=(1, 1, 1)))
    assert complete.contract_id == CONTRACT.contract_id
    assert complete.to_json() == CONTRACT.to_json()
    stated = CONTRACT.to_json().replace('"scale": 1.0', '"scale": 1')
    assert Contract.from_json(stated, "here").contract_id == CONTRACT.contract_id


def altered(path, value):
    """The JSON of FULL with another value at a path, or without the field where the value is ..."""
    values = json.loads(FULL.to_json())
    parent = values
    for step in path[:-1]:
        parent = parent[step]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    "path", [("dimension",), ("input", "scale"), ("trained_on", 0, "terms"), ("scores", 0, "rank_1")]
)
def test_unknown_and_missing_fields_are_refused(path):
    with pytest.raises(ContractError, match=rf"model\.onnx: contract.* lacks \['{path[-1]}'\]"):
        Contract.from_json(altered(path, ...), "model.onnx")
    with pytest.raises(ContractError, match=r"model\.onnx: contract.* unknown fields \['surprise'\]"):
        Contract.from_json(altered((*path[:-1], "surprise"), 1), "model.onnx")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("dimension",), "512"),
        (("dimension",), 0),
        (("dimension",), True),
        (("dimension",), 8.0),
        (("metric",), "euclidean"),
        (("unit_output",), 1),
        (("name",), None),
        (("weights",), ["sha256:00"]),
        (("trained_on",), None),
        (("trained_on",), [3]),
        (("trained_on", 0, "crops"), "many"),
        (("scores", 0, "rank_1"), None),
        (("parent",), 3),
        (("drift",), {"cosine": "small"}),
        (("resize",), {"rule": "longest-side", "size": 16, "filter": "nearest"}),
        (("resize",), {"rule": "longest-side", "size": 20000, "filter": "bilinear"}),
        (("dimension",), 10**12),
        (("resize",), {"rule": "longest-side", "size": 0, "filter": "bilinear"}),
        (("resize",), {"rule": "longest-side", "size": 16, "filter": "bilinear", "pad": True}),
        (("resize",), {"rule": ["longest-side"], "size": 16, "filter": "bilinear"}),
        (("resize",), {"rule": "longest-side", "size": True, "filter": "bilinear"}),
        (("resize",), "longest-side"),
        (("precision",), "int8"),
        (("precision", "kind"), "int3"),
        (("precision", "engine"), "gpu"),
        (("last_layer",), "weight"),
        (("input",), None),
        (("input", "layout"), "CHW"),
        (("input", "colour"), "grey"),
        (("input", "dtype"), "float64"),
        (("input", "scale"), "1/255"),
        (("input", "scale"), float("nan")),
        (("input", "scale"), 10**400),
        (("input", "mean"), 5),
        (("input", "mean"), [0.0, 0.0]),
        (("input", "mean"), [0.0, 0.0, None]),
    ],
)
def test_values_of_another_kind_are_refused(path, value):
    with pytest.raises(ContractError, match=r"^model\.onnx: "):
        Contract.from_json(altered(path, value), "model.onnx")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("input", "mean"), 0, "input.mean: expected a list of 3, each a number, found 0"),
        (("input", "colour"), "grey", "input.colour: expected 'rgb' or 'bgr', found 'grey'"),
        (("name",), ["x" * 500], r"name: expected a text, found \['x{78}\.\.\.$"),
    ],
)
def test_refusals_are_in_the_words_of_json(path, value, words):
    with pytest.raises(ContractError, match=words):
        Contract.from_json(altered(path, value), "model.onnx")


def test_arithmetic_on_uint8_is_refused():
    """It would be passed over in silence: a uint8 model takes the pixels as they are."""
    stated = altered(("input", "scale"), 1 / 255)
    with pytest.raises(ContractError, match=r"model\.onnx: a uint8 input.*dtype float32"):
        Contract.from_json(stated, "model.onnx")


def test_division_by_zero_is_refused():
    stated = dataclasses.replace(FOREIGN, input=dataclasses.replace(FOREIGN.input, deviation=(0.2, 0.0, 0.2)))
    with pytest.raises(ContractError, match=r"model\.onnx: expected deviations other than 0"):
        Contract.from_json(stated.to_json(), "model.onnx")


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_other_versions_are_refused(version):
    with pytest.raises(
        ContractError, match=rf"model\.onnx: the contract's version is {version!r}, .* reads versions 1 and 2"
    ):
        Contract.from_json(altered(("version",), version), "model.onnx")


@pytest.mark.parametrize("text", ["", "{", FULL.to_json()[:-20], "\0\1\2", "[" * 100_000, "[]", "3", "null"])
def test_damaged_json_is_refused(text):
    with pytest.raises(ContractError, match=r"^model\.onnx: .*JSON"):
        Contract.from_json(text, "model.onnx")


def test_a_key_that_is_stated_twice_is_refused():
    text = CONTRACT.to_json().replace('"colour"', '"colour": "bgr", "colour"', 1)
    with pytest.raises(ContractError, match="'colour' is stated twice"):
        Contract.from_json(text, "x.json")


VERSION_1 = {
    "float32": Precision("float32"),
    "float16": Precision("float16"),
    "float16 (the first 4 convolutions in float32)": Precision("float16", None, "the first 4 convolutions in float32"),
    "int8 (cpu)": Precision("int8", "cpu"),
    "int8 (cpu: u8s8, 7-bit weights, per channel; percentile 95 of 512 crops of train, seed 3)": Precision(
        "int8", "cpu", "u8s8, 7-bit weights, per channel; percentile 95 of 512 crops of train, seed 3"
    ),
    "int8 (tensorrt: s8s8)": Precision("int8", "tensorrt", "s8s8"),
    "int8 (weights alone, 8 bits)": Precision("int8", None, "weights alone, 8 bits"),
}


def version_1(precision, **others):
    values = json.loads(FULL.to_json())
    del values["inner"], values["last_layer"]
    return json.dumps(values | {"version": 1, "precision": precision} | others)


@pytest.mark.parametrize("text", VERSION_1)
def test_version_1_is_read_and_written_as_version_2(text):
    actual = Contract.from_json(version_1(text), "model.onnx")
    assert actual == dataclasses.replace(FULL, precision=VERSION_1[text], inner=None, last_layer=None)
    assert str(actual.precision) == text
    assert actual.contract_id == FULL.contract_id
    assert Contract.from_json(actual.to_json(), "model.onnx") == actual


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (version_1("int3 (odd)"), "no precision is called 'int3'; known: float32, float16, bfloat16, int8"),
        (version_1(""), "no precision is called ''"),
        (version_1({"kind": "int8", "engine": None, "scheme": None}), "precision: expected a text, found {'kind'"),
        (version_1("int8", inner="features"), r"of version 1 has unknown fields \['inner'\]"),
        (version_1("int8", last_layer=None), r"of version 1 has unknown fields \['last_layer'\]"),
    ],
)
def test_version_1_without_a_known_precision_or_with_later_fields_is_refused(text, reason):
    with pytest.raises(ContractError, match=rf"^model\.onnx: .*{reason}"):
        Contract.from_json(text, "model.onnx")
