"""Which artefacts may be measured together, what vectors are compared with, and what is taken over from earlier."""

import dataclasses

import numpy as np
import pytest

from benchmarks.cases import Case, CaseError, load, pin
from benchmarks.environment import environment
from benchmarks.measurements import Parity, Part, Report, ResultError
from benchmarks.parity import earlier_parity
from reid_runtime.embedder import Embedder
from reid_runtime.model_file.precision import Precision

from ..models import CONTRACT, FOREIGN, stated_for, write_model
from .conftest import setup_of, write_crops

INT8 = dataclasses.replace(CONTRACT, precision=Precision("int8", "cpu"), parent="sha256:0f")
CHANGES = ("map_finite_sum_change", "map_trapezoid_change")


def test_checkpoint_is_the_reference_on_crops_and_data(crops, market, tmp_path, monkeypatch):
    """The file here carries the checkpoint's contract and is another network: beside itself it would look perfect."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from export.torch_reference import contract_for
    from training.models.backbones import BACKBONES
    from training.run.checkpoint import untrained, write_checkpoint

    from ..training.tiny import TINY

    monkeypatch.setitem(BACKBONES, TINY.name, TINY)
    weights = untrained("tiny", 8)
    write_checkpoint(tmp_path / "weights.safetensors", weights)
    model = write_model(tmp_path / "export.onnx", contract_for(weights, "export"))
    setup = setup_of([model], crops, reference=tmp_path / "weights.safetensors", data=market)
    (case,), notes = setup.cases()
    assert not notes
    assert not case.parity.is_reference
    assert case.parity.cosine < 0.99
    assert all(getattr(case.parity, name) is not None for name in CHANGES)
    torch = setup.references.of(case.embedder.contract.contract_id).embedder
    assert torch.backend.name == "torch"
    assert setup.about()["reference"] == {"weights.safetensors": torch.artefact_id}
    assert setup_of([model], crops).cases()[0][0].parity.is_reference


def test_reference_says_so_and_claims_no_change(tiny_model, crops, market):
    (case,), notes = setup_of([tiny_model], crops, data=market).cases()
    assert not notes
    assert case.parity.is_reference
    assert 0 < case.parity.map_finite_sum <= 1
    assert [getattr(case.parity, name) for name in CHANGES] == [None, None]
    (named,), _ = setup_of([tiny_model], crops, reference=tiny_model).cases()
    assert named.parity.is_reference


def test_change_in_map_and_its_interval(tiny_model, crops, market):
    pytest.importorskip("openvino")
    (case,), _ = setup_of([tiny_model], crops, ["openvino"], data=market).cases()
    for name in ("map_finite_sum", "map_trapezoid"):
        change = getattr(case.parity, f"{name}_change")
        assert change.low <= change.value <= change.high
        assert change.value == pytest.approx(0, abs=0.01)  # another engine, the same vectors
        assert 0 < getattr(case.parity, name) <= 1


def test_another_artefact_of_the_contract(tiny_model, crops, tmp_path):
    other = write_model(tmp_path / "other.onnx", INT8)
    cases, notes = setup_of([tiny_model, other], crops).cases()
    assert [case.parity.is_reference for case in cases] == [True, False]
    assert cases[1].parity.cosine == pytest.approx(1)
    assert cases[1].row(Part.EIGHT).precision == "int8"
    assert not notes


def test_nothing_to_compare_with_is_said_with_the_way_out(crops, tmp_path):
    alone = write_model(tmp_path / "alone.onnx", INT8)
    (case,), (note,) = setup_of([alone], crops).cases()
    assert case.parity.cosine is None
    assert "parity of alone.onnx" in note
    assert "nothing to compare it with" in note
    assert "--reference" in note
    assert "sha256:0f" in note


def test_reference_of_another_contract_is_said(tiny_model, crops, tmp_path):
    other = write_model(tmp_path / "other.onnx", dataclasses.replace(CONTRACT, weights="sha256:01"))
    (case,), (note,) = setup_of([tiny_model], crops, reference=other).cases()
    assert case.parity.cosine is None
    assert f"contract {CONTRACT.contract_id}, and there is only other.onnx of " in note


def test_two_artefacts_of_one_name_are_refused(tiny_model, crops, tmp_path):
    other = write_model(tmp_path / tiny_model.name, dataclasses.replace(CONTRACT, weights="sha256:01"))
    with pytest.raises(CaseError, match="two artefacts that rows would both call 'tiny, onnxruntime cpu, float32'"):
        setup_of([tiny_model, other], crops).cases()


def test_one_artefact_on_one_engine_is_measured_once(tiny_model, crops):
    cases, notes = setup_of([tiny_model, tiny_model], crops, ["cpu", "auto"]).cases()
    assert len(cases) == len({case.row(Part.EIGHT).key for case in cases})
    assert len(cases) + len(notes) == 4
    assert "tiny.onnx on cpu: it is measured already" in notes


def test_unusable_devices_are_named(tiny_model, crops, tmp_path):
    (case,), (note,) = setup_of([tiny_model], crops, ["cpu", "cuda"]).cases()
    assert case.embedder.backend.device == "cpu"
    assert "on cuda: device 'cuda' was asked for" in note
    with pytest.raises(CaseError, match="nothing to measure"):
        setup_of([tiny_model], crops, ["cuda"]).cases()
    with pytest.raises(CaseError, match="may use"):
        pin(10_000)


def test_run_records_its_options(tiny_model, crops, market, tmp_path):
    setup = setup_of([tiny_model], crops, data=market)
    about = setup.about()
    digest = Embedder.load(tiny_model).artefact_id
    assert about["artefacts"] == about["reference"] == {"tiny.onnx": digest}
    assert about["threads"] == setup.threads
    eval_set = setup.evidence.task
    assert about["data"] == {"name": "Drawn", "queries": len(eval_set.query), "gallery": len(eval_set.gallery)}
    assert "data" not in setup_of([tiny_model], crops).about()
    assert setup_of([tiny_model], crops).about()["evidence"] == about["evidence"]
    others = write_crops(tmp_path / "others", first=1)
    assert setup_of([tiny_model], others).about()["evidence"] != about["evidence"]


def test_third_party_model_is_loaded_by_the_contract_of_its_name(tmp_path, monkeypatch):
    stated = stated_for(write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw"), FOREIGN)
    (tmp_path / "foreign.json").write_text(stated.to_json())
    monkeypatch.setattr("benchmarks.cases.CONTRACTS", tmp_path)
    assert load(tmp_path / "foreign.onnx", "cpu").contract == stated


def earlier_report(setup, **changed):
    (case,), _ = setup.cases()
    rows = (
        dataclasses.replace(case.row(Part.EIGHT), parity=Parity(0.5)),
        dataclasses.replace(case.row(Part.PEERS, "a loop of one"), peer="onnxruntime", engine="", parity=Parity(0.9)),
        dataclasses.replace(case.row(Part.STAGES, "decode"), model="elsewhere", parity=Parity()),
    )
    return Report("report", environment() | setup.about() | changed, rows)


def test_earlier_parity_is_taken_over(tiny_model, crops):
    setup = setup_of([tiny_model], crops)
    earlier = earlier_parity(earlier_report(setup), environment() | setup.about())
    (again,), _ = dataclasses.replace(setup, earlier=earlier).cases()
    assert again.parity == Parity(0.5)
    assert earlier["onnxruntime", "a loop of one", "tiny", "", "float32"] == Parity(0.9)
    assert len(earlier) == 2
    (anew,), _ = dataclasses.replace(setup, earlier={("another",): Parity(0.5)}).cases()
    assert anew.parity.cosine == pytest.approx(1)


@pytest.mark.parametrize("key", ["processor", "packages", "evidence", "data", "reference", "tiny.onnx"])
def test_earlier_parity_of_another_run_is_refused(tiny_model, crops, key):
    setup = setup_of([tiny_model], crops)
    changed = {"artefacts": {key: "sha256:00"}} if key == "tiny.onnx" else {key: "another"}
    with pytest.raises(ResultError, match=f"found another {key}: measure it again"):
        earlier_parity(earlier_report(setup, **changed), environment() | setup.about())


class Engine:
    max_batch_pixels = 1 << 20

    def __init__(self, device):
        self.device, self.name = device, f"{device} cpu"

    def run(self, images):
        return np.ones((len(images), CONTRACT.dimension), np.float32)


@pytest.mark.parametrize(
    ("device", "contract", "precision", "engine"),
    [
        ("cpu", CONTRACT, "float32", "cpu cpu"),
        ("cpu", INT8, "int8", "cpu cpu"),
        ("cpu", dataclasses.replace(CONTRACT, precision=Precision("float16")), "float32", "cpu cpu"),
        ("openvino", INT8, "int8", "openvino"),
        ("openvino-bf16", CONTRACT, "bfloat16", "openvino"),
        ("cuda", CONTRACT, "", "cuda cpu"),
        ("tensorrt", INT8, "", "tensorrt cpu"),
    ],
)
def test_precision_is_the_cpus_and_none_for_a_gpu(tmp_path, device, contract, precision, engine):
    case = Case(Embedder(Engine(device), contract, tmp_path / "cuda-tensorrt.onnx", artefact_id="sha256:00"))
    row = case.row(Part.EIGHT)
    assert (row.precision, row.engine) == (precision, engine)
