"""The report's files, the README's figures, and that an artefact which is not its reference fails."""

import dataclasses
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from benchmarks.accuracy import gate_for
from benchmarks.accuracy import main as accuracy
from benchmarks.growth import PART as GROWTH
from benchmarks.latency import MULTI, SERVER, SINGLE
from benchmarks.page import markdown, page
from benchmarks.peers import measuring
from benchmarks.peers.external import ExternalError, ExternalPeer
from benchmarks.peers.measuring import PART as PEERS
from benchmarks.peers.measuring import PeerChoice, measure_peers
from benchmarks.readme import BEGIN, END, with_figures
from benchmarks.results import YARDSTICK, Report, ResultError, Row, environment, read_report
from benchmarks.stages import PART, STAGES
from benchmarks.subjects import SubjectError, identity, known_parity, load, pin, setup_from
from benchmarks.timing import Budget
from examples.draw_crops import write_market
from reid_runtime.errors import ReidRuntimeError

from ..models import FOREIGN, write_model
from ..pictures import encode, picture

PARITY = {
    "cosine": 0.999871, "map_finite_sum": 0.7, "map_finite_sum_change": -0.002, "map_finite_sum_change_low": -0.004,
    "map_finite_sum_change_high": 0.001, "map_trapezoid_change": -0.003, "map_trapezoid_change_low": -0.005,
    "map_trapezoid_change_high": 0.002, "map_trapezoid": 0.69,
}  # fmt: skip
TIMES = {"times": 0.8, "times_low": 0.7, "times_high": 0.9}


def whole(budget="full"):
    """A report with a row of most parts; one peer is faster than we are."""
    seconds = tuple(0.01 + 0.0001 * place for place in range(9))
    rows = [
        Row("<ours>", {"crops": 3}, seconds, 1, PARITY, SINGLE),
        Row("<ours>", {"boxes": 8}, seconds, 8, PARITY, MULTI),
        Row("<ours>", {"bound_ms": 100.0}, seconds, 1, PARITY | {"rate": 61.5}, SERVER),
        Row("<ours>", {"against": "torch"}, seconds, 4, PARITY | TIMES, PEERS),
        Row("torch", {"against": "torch"}, tuple(value / 2 for value in seconds), 4, {}, PEERS),
        Row(YARDSTICK, {"against": "torch"}, seconds, 4, {}, PEERS),
    ]
    rows += [Row(stage, {"model": "m", "device": "cpu"}, seconds, 4, {}, PART) for stage in STAGES]
    rows += [
        Row(str(n), {"axis": "batch", "model": "m"}, tuple(np.multiply(seconds, n)), n, {}, GROWTH) for n in (1, 4)
    ]
    about = environment() | {"threads": 2, "budget": budget, "crops": "3"}
    return Report("report", about, tuple(rows), ("peer x: it is <absent>",))


class Page(HTMLParser):
    """Checks that tags close, and keeps what would be fetched."""

    VOID = frozenset({"meta", "link", "circle", "line", "polyline"})

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href") and value != "data:,"]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_outside_it():
    made = whole()
    text = page(made)
    read = Page(text)
    assert not read.open
    assert not read.fetched
    assert "<script" not in text
    assert "&lt;ours&gt;" in text
    assert "<ours>" not in text
    assert "it is &lt;absent&gt;" in text
    assert text == page(made)


@pytest.mark.parametrize("made", [page, markdown])
def test_parity_stands_beside_every_speed_and_peers_that_win_stay(made):
    text = made(whole())
    assert text.count("0.999871") >= 4
    assert text.count("-0.20 (-0.40 to +0.10)") == 4
    assert text.count("-0.30 (-0.50 to +0.20)") == 4
    assert "0.80 (0.70 to 0.90)" in text
    assert "61.5" in text
    tables = text[text.index("what people use") :]
    assert tables.index("torch</th>" if made is page else "| torch |") < tables.index("ours")
    assert YARDSTICK not in text


def test_the_numbers_on_the_page_are_the_rows():
    cells = re.search(r"\| <ours> \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", markdown(whole())).groups()
    assert cells == ("10.40", "10.80", "10.80")  # nearest ranks: the 5th, 9th and 9th of nine


def test_reports_come_back_as_they_were_written(tmp_path):
    made = whole()
    made.write(tmp_path / "x.json")
    assert read_report(tmp_path / "x.json") == made
    (tmp_path / "y.json").write_text("{}")
    with pytest.raises(ResultError, match="expected the JSON of a report"):
        read_report(tmp_path / "y.json")


def test_the_readmes_figures_are_replaced_between_their_markers():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = with_figures(text, whole())
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"{END}\nafter\n")
    assert "old" not in once
    assert "0.999871" in once
    assert once.count("<details>") == once.count("</details>") == 1
    assert with_figures(text, whole(), whole()).count("0.999871") == 2 * once.count("0.999871")
    with pytest.raises(ResultError, match="once each"):
        with_figures("nothing here", whole())


def test_a_trial_does_not_go_into_the_readme(tmp_path):
    from benchmarks.readme import main

    whole("trial").write(tmp_path / "x.json")
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    with pytest.raises(ResultError, match="expected a full run"):
        main.main([str(tmp_path / "x.json"), "--readme", str(tmp_path / "README.md")], standalone_mode=False)
    assert (tmp_path / "README.md").read_text() == f"{BEGIN}\n{END}\n"


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(encode(picture(40 + 8 * seed, 24, seed), "PNG"))
    return folder


def run_accuracy(model, reference, crops, *more):
    accuracy.main([str(model), "--reference", str(reference), "--crops", str(crops), *more], standalone_mode=False)


def test_an_artefact_that_is_its_reference_passes(tiny_model, crops, tmp_path, capsys):
    run_accuracy(tiny_model, tiny_model, crops, "-o", str(tmp_path / "x.json"))
    assert "passed: 4 crops: worst cosine 1.0000000" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert row["facts"]["worst_cosine"] == 1


def test_an_artefact_that_is_another_model_fails(tiny_model, crops, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(tiny_model))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 30, "bias"))
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ReidRuntimeError, match="differs from the reference"):
        run_accuracy(tmp_path / "other.onnx", tiny_model, crops)


@pytest.mark.parametrize(
    ("precision", "device", "gate"),
    [
        ("float32", "cpu", "float32"), ("float32", "openvino-bf16", "int8"), ("float16", "cpu", "float16"),
        ("int8 (cpu: u8s8)", "cpu", "int8"),
    ],
)  # fmt: skip
def test_the_gate_follows_from_what_is_computed_in(precision, device, gate):
    assert gate_for(precision, device)[0] == gate


def test_speeds_have_the_cosine_to_the_root_and_unusable_devices_are_named(tiny_model, crops):
    setup = setup_from([tiny_model], ["cpu", "cuda"], None, crops, None, None, None, True)
    (subject,), notes = setup.subjects()
    assert subject.parity["cosine"] == pytest.approx(1)
    assert len(notes) == 1
    assert "on cuda: device 'cuda' was asked for" in notes[0]
    with pytest.raises(SubjectError, match="nothing to measure"):
        setup_from([tiny_model], ["cuda"], None, crops, None, None, None, True).subjects()


def test_parity_is_taken_over_for_the_same_artefact_on_the_same_engine_and_machine(tiny_model, crops):
    setup = setup_from([tiny_model], ["cpu"], None, crops, None, None, None, True)
    (subject,), _ = setup.subjects()
    earlier = Report("report", environment() | {"parity": {identity(subject.embedder): {"cosine": 0.5}}}, ())
    (again,), _ = dataclasses.replace(setup, known=known_parity(earlier)).subjects()
    assert again.parity == {"cosine": 0.5}
    other = {"another": {"cosine": 0.5}}
    (anew,), _ = dataclasses.replace(setup, known=other).subjects()
    assert anew.parity["cosine"] == pytest.approx(1)
    elsewhere = dataclasses.replace(earlier, environment=dict(earlier.environment) | {"processor": "another"})
    with pytest.raises(SubjectError, match="processor: there another"):
        known_parity(elsewhere)


def test_with_a_data_set_the_change_in_map_and_its_interval_stand_beside_the_speed(tiny_model, crops, tmp_path):
    pytest.importorskip("openvino")
    write_market(tmp_path / "market", identities=3, cameras=2, views=1)
    setup = setup_from([tiny_model], ["openvino"], None, crops, tmp_path / "market", "drawn", None, True)
    (subject,), _ = setup.subjects()
    for name in ("map_finite_sum", "map_trapezoid"):
        change = [subject.parity[f"{name}_change{end}"] for end in ("_low", "", "_high")]
        assert change == sorted(change)
        assert change[1] == pytest.approx(0, abs=0.01)  # another engine, the same vectors
        assert 0 < subject.parity[name] <= 1


def test_a_peers_model_is_loaded_by_the_contract_of_its_name(tmp_path, monkeypatch):
    write_model(tmp_path / "foreign.onnx", None, like=FOREIGN, output="raw")
    (tmp_path / "foreign.json").write_text(FOREIGN.to_json())
    monkeypatch.setattr("benchmarks.subjects.CONTRACTS", tmp_path)
    assert load(tmp_path / "foreign.onnx", "cpu").contract == FOREIGN


def test_more_cores_than_there_are_cannot_be_asked_for():
    with pytest.raises(SubjectError, match="may use"):
        pin(10_000)


def test_torch_runs_the_checkpoint_whatever_the_artefacts_are(tiny_model, crops, tmp_path, monkeypatch):
    asked = []

    class Recorded:
        def __init__(self, checkpoint, threads, compiled=False):
            asked.append((checkpoint.name, threads, compiled))
            self.name = f"torch eager {compiled}"

        def embed(self, files):
            return np.ones((len(files), 8), np.float32)

    monkeypatch.setattr(measuring, "TorchExtractor", Recorded)
    monkeypatch.setattr(measuring, "_reference", lambda *_: None)
    full = setup_from([tiny_model], ["cpu"], None, crops, None, None, None, False)
    setup = dataclasses.replace(full, budget=Budget(2, 1, 1, 1, 0.1, 1))
    subjects, _ = setup.subjects()
    found = measure_peers(setup, subjects, PeerChoice(checkpoint=tmp_path / "weights.safetensors"))
    assert asked == [("weights.safetensors", setup.threads, compiled) for compiled in (False, True)]
    rows = {row.case: row for row in found.rows}
    assert {row.setting["against"] for row in found.rows} == {"torch eager False: weights"}
    ours = rows["reid-runtime: tiny, onnxruntime cpu"]
    assert ours.facts["times_low"] <= ours.facts["times"] <= ours.facts["times_high"]
    assert len({len(row.seconds) for row in found.rows}) == 1


ECHO = "import sys; print('ready', flush=True)\nfor line in sys.stdin: print('done', flush=True)"


def test_an_external_peer_is_driven_line_by_line(tmp_path):
    (tmp_path / "peer.py").write_text(ECHO)
    peer = ExternalPeer("it", f"{sys.executable} {tmp_path / 'peer.py'}", tmp_path, 1)
    assert [peer.embed([]) for _ in range(3)] == [None] * 3
    peer.close()
    with pytest.raises(ExternalError, match="has ended"):
        peer.embed([])


@pytest.mark.parametrize("said", ["raise SystemExit(3)", "print('hello')"])
def test_an_external_peer_that_does_not_become_ready_is_refused(tmp_path, said):
    (tmp_path / "peer.py").write_text(said)
    with pytest.raises(ExternalError, match="expected the line 'ready'"):
        ExternalPeer("it", f"{sys.executable} {tmp_path / 'peer.py'}", tmp_path, 1)


def test_an_external_command_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(ExternalError, match="cannot be started"):
        ExternalPeer("it", "no-such-command-anywhere", tmp_path, 1)
