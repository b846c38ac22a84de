"""What vectors are held to, which artefacts may be measured together, and what is taken over from earlier reports."""

import dataclasses

import numpy as np
import pytest

from benchmarks.cases import Subject, SubjectError, identity, known_parity, precision_of, setup_from
from benchmarks.measurements import YARDSTICK, Report, Row, environment
from reid_runtime.embedder import Embedder
from reid_runtime.model_file.precision import Precision
from tests.miniature import write_market

from ..models import CONTRACT, FOREIGN, write_model
from ..sample_images import encode, sample_image

MAPS = ("map_finite_sum", "map_trapezoid")
INT8 = dataclasses.replace(CONTRACT, precision=Precision("int8", "cpu"), parent="sha256:0f")


def write_crops(folder, first=0):
    folder.mkdir()
    for seed in range(first, first + 4):
        (folder / f"{seed}.png").write_bytes(encode(sample_image(40 + 8 * seed, 24, seed), "PNG"))
    return folder


@pytest.fixture
def crops(tmp_path):
    return write_crops(tmp_path / "crops")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "market"
    write_market(folder, identities=3, cameras=2, views=1)
    return folder


def setup_of(models, crops, devices=("cpu",), reference=None, data=None):
    return setup_from(models, devices, reference, crops, data, None if data is None else "Drawn", None, True)


def test_a_checkpoint_is_what_a_float32_file_is_held_to_on_crops_and_data(crops, market, tmp_path, monkeypatch):
    """The file here carries the checkpoint's contract and is another network: beside itself it would look perfect."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from export.to_onnx import contract_for
    from training.models.backbones import BACKBONES
    from training.run.checkpoint import untrained, write_checkpoint

    from ..training.tiny import TINY

    monkeypatch.setitem(BACKBONES, TINY.name, TINY)
    weights = untrained("tiny", 8)
    write_checkpoint(tmp_path / "weights.safetensors", weights)
    model = write_model(tmp_path / "export.onnx", contract_for(weights, "export"))
    setup = setup_of([model], crops, reference=tmp_path / "weights.safetensors", data=market)
    (subject,), notes = setup.subjects()
    assert not notes
    assert "own_reference" not in subject.parity
    assert subject.parity["cosine"] < 0.99
    assert all(f"{name}_change_low" in subject.parity for name in MAPS)
    torch = setup.references.of(subject.embedder.contract.contract_id).embedder
    assert torch.backend.name == "torch cpu, float32"
    assert setup.about()["reference"] == {"name": "weights.safetensors", "artefact_id": torch.artefact_id}
    assert setup_of([model], crops).subjects()[0][0].parity["own_reference"] == 1


def test_an_artefact_that_is_the_reference_says_so_and_claims_no_change(tiny_model, crops, market):
    (subject,), notes = setup_of([tiny_model], crops, data=market).subjects()
    assert not notes
    assert subject.facts["own_reference"] == 1
    assert set(MAPS) <= set(subject.parity)
    assert not [name for name in subject.parity if "change" in name]
    (named,), _ = setup_of([tiny_model], crops, reference=tiny_model).subjects()
    assert named.parity["own_reference"] == 1


def test_another_artefact_of_the_contract_is_not_its_own_reference(tiny_model, crops, tmp_path):
    other = write_model(tmp_path / "other.onnx", INT8)
    subjects, notes = setup_of([tiny_model, other], crops).subjects()
    assert ["own_reference" in subject.parity for subject in subjects] == [True, False]
    assert subjects[1].parity["cosine"] == pytest.approx(1)
    assert subjects[1].facts["integers"] == 1
    assert not notes


def test_what_there_is_nothing_to_hold_to_is_told_with_the_way_out(crops, tmp_path):
    alone = write_model(tmp_path / "alone.onnx", INT8)
    (subject,), (note,) = setup_of([alone], crops).subjects()
    assert "cosine" not in subject.parity
    assert "parity of alone.onnx: nothing here to hold it to" in note
    assert "--reference" in note
    assert "sha256:0f" in note


def test_a_reference_of_another_contract_is_told_and_not_dropped(tiny_model, crops, tmp_path):
    other = write_model(tmp_path / "other.onnx", dataclasses.replace(CONTRACT, weights="sha256:01"))
    (subject,), (note,) = setup_of([tiny_model], crops, reference=other).subjects()
    assert "cosine" not in subject.parity
    assert f"contract {CONTRACT.contract_id}, and the reference other.onnx of " in note


def test_two_artefacts_of_one_name_are_refused(tiny_model, crops, tmp_path):
    other = write_model(tmp_path / tiny_model.name, dataclasses.replace(CONTRACT, weights="sha256:01"))
    with pytest.raises(SubjectError, match="two artefacts that rows would both call 'tiny, onnxruntime cpu': rename"):
        setup_of([tiny_model, other], crops).subjects()


def test_one_artefact_twice_on_one_engine_is_measured_once(tiny_model, crops):
    subjects, notes = setup_of([tiny_model, tiny_model], crops, ["cpu", "auto"]).subjects()
    assert len(subjects) == len({subject.case for subject in subjects})
    assert len(subjects) + len(notes) == 4
    assert "tiny.onnx on cpu: the same as on cpu, onnxruntime cpu" in notes


def test_a_run_says_what_it_was_asked_for(tiny_model, crops, market, tmp_path):
    setup = setup_of([tiny_model], crops, data=market)
    about = setup.about()
    digest = Embedder.load(tiny_model).artefact_id
    assert about["artefacts"] == {"tiny.onnx": digest}
    assert about["reference"] == {"name": "tiny.onnx", "artefact_id": digest}
    assert about["threads"] == setup.threads
    assert about["budget"].startswith("trial")
    task = setup.evidence.task
    assert about["data"] == {"name": "Drawn", "queries": len(task.query), "gallery": len(task.gallery)}
    assert "data" not in setup_of([tiny_model], crops).about()
    assert setup_of([tiny_model], crops).about()["evidence"] == about["evidence"]
    others = write_crops(tmp_path / "others", first=1)
    assert setup_of([tiny_model], others).about()["evidence"] != about["evidence"]


def earlier_report(setup, **changed):
    (subject,), _ = setup.subjects()
    parity = {identity(subject.embedder): {"cosine": 0.5}}
    return Report("report", environment() | setup.about() | {"parity": parity} | changed, ())


def test_parity_is_taken_over_for_the_same_artefact_on_the_same_engine(tiny_model, crops):
    setup = setup_of([tiny_model], crops)
    earlier = earlier_report(setup)
    (again,), _ = dataclasses.replace(setup, known=known_parity(earlier, setup)).subjects()
    assert again.parity == {"cosine": 0.5}
    (anew,), _ = dataclasses.replace(setup, known={"another": {"cosine": 0.5}}).subjects()
    assert anew.parity["cosine"] == pytest.approx(1)


@pytest.mark.parametrize("key", ["processor", "packages", "evidence", "data", "reference"])
def test_parity_of_other_evidence_is_not_taken_over(tiny_model, crops, key):
    setup = setup_of([tiny_model], crops)
    with pytest.raises(SubjectError, match=f"{key}: there another, here "):
        known_parity(earlier_report(setup, **{key: "another"}), setup)


def test_the_parity_of_peers_is_taken_over_by_their_case(tiny_model, crops):
    setup = setup_of([tiny_model], crops)
    facts = {"cosine": 0.9, "map_trapezoid_change_low": -0.1, "times": 2.0, "operations": 1e9, "integers": 0.0}
    rows = tuple(
        Row(case, {}, (1.0,), 1, facts, part)
        for case, part in (("torch eager: w", "peers"), (YARDSTICK, "peers"), ("elsewhere", "stages"))
    )
    known = known_parity(dataclasses.replace(earlier_report(setup), rows=rows), setup)
    assert known["peers: torch eager: w"] == {"cosine": 0.9, "map_trapezoid_change_low": -0.1}
    assert len(known) == 2


class Engine:
    device, max_batch_pixels = "cpu", 1 << 20

    def __init__(self, name):
        self.name = name

    def run(self, images):
        return np.ones((len(images), CONTRACT.dimension), np.float32)


@pytest.mark.parametrize(
    ("engine", "contract", "precision"),
    [
        ("onnxruntime cpu", CONTRACT, "float32"), ("onnxruntime cpu", INT8, "int8"),
        ("openvino cpu, bfloat16", CONTRACT, "bfloat16"), ("torch cpu, float32", FOREIGN, "float32"),
        ("onnxruntime cuda", CONTRACT, None), ("TensorRT 11.0 with cuda-bindings", INT8, None),
    ],
)  # fmt: skip
def test_the_precision_of_a_row_is_the_cpus_and_none_for_a_gpu(tmp_path, engine, contract, precision):
    subject = Subject(
        Embedder(Engine(engine), contract, tmp_path / "cuda-tensorrt.onnx", artefact_id="sha256:00"), "cpu"
    )
    assert precision_of(Row(subject.case, {}, (1.0,), 1, subject.facts)) == precision
