"""What others' ways give and what is said of it: the bare engines on a tiny graph, and commands of other processes."""

import dataclasses
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cases import setup_from
from benchmarks.measurements import shown
from benchmarks.peers import measuring
from benchmarks.peers.candidates import BatchedSession, FastembedWay, LoopOfOne, OpenVinoQueue, TorchExtractor
from benchmarks.peers.external import ExternalError, ExternalPeer, VectorsError, parse
from benchmarks.peers.measuring import OTHERS, OURS, UNSEEN, PeerChoice, measure_peers
from benchmarks.timing import Budget
from reid_runtime.evaluation import evaluate
from tests.miniature import write_market

from ..models import CONTRACT, FOREIGN, write_model
from ..sample_images import encode, sample_image

SHORT = Budget(rounds=2, queries=1, warmup=1, windows=1, server_seconds=0.1, scale=1)
CHANGES = {f"{name}_change{end}" for name in ("map_finite_sum", "map_trapezoid") for end in ("", "_low", "_high")}


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(encode(sample_image(40 + 8 * seed, 24, seed), "PNG"))
    return folder


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "market"
    write_market(folder, identities=3, cameras=2, views=1)
    return folder


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A folder with a model of others, and its contract where the benchmarks look for it."""
    folder = tmp_path / "others"
    folder.mkdir()
    foreign = dataclasses.replace(FOREIGN, weights="sha256:11")
    write_model(folder / "foreign.onnx", None, like=FOREIGN, output="raw")
    (tmp_path / "foreign.json").write_text(foreign.to_json())
    for module in ("cases", "peers.measuring"):
        monkeypatch.setattr(f"benchmarks.{module}.CONTRACTS", tmp_path)
    return folder


def short(model, crops, data=None):
    setup = setup_from([model], ["cpu"], None, crops, data, None if data is None else "drawn", None, True)
    return dataclasses.replace(setup, budget=SHORT)


def measured(setup, choice=None):
    found = measure_peers(setup, setup.subjects()[0], choice or PeerChoice())
    return {row.case: row for row in shown(found.rows)}, found.notes


@pytest.mark.parametrize("kind", [LoopOfOne, BatchedSession, OpenVinoQueue])
@pytest.mark.parametrize("output", ["unit", "raw"])
def test_a_bare_engine_gives_row_i_of_file_i_whatever_the_sizes(kind, output, tmp_path, tiny):
    if kind is OpenVinoQueue:
        pytest.importorskip("openvino")
    model = write_model(tmp_path / "m.onnx", CONTRACT if output == "unit" else None, output=output)
    files = []
    for seed in range(70):  # more than two batches, of three shapes, mixed
        files.append(tmp_path / f"{seed:02}.png")
        files[-1].write_bytes(encode(sample_image(16, (8, 10, 12)[seed % 3], seed), "PNG"))
    found = kind(model, CONTRACT, 1).embed(files)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert found == pytest.approx(tiny.embed(files), abs=1e-2 if kind is OpenVinoQueue else 1e-5)


def test_a_batch_is_of_one_shape_and_of_at_most_32(tmp_path, tiny_model, monkeypatch):
    files = []
    for seed in range(50):
        files.append(tmp_path / f"{seed:02}.png")
        files[-1].write_bytes(encode(sample_image(16, 8 if seed % 5 else 12, seed), "PNG"))
    seen = []
    plain = BatchedSession._embedded
    monkeypatch.setattr(
        BatchedSession, "_embedded", lambda self, pictures: seen.append(len(pictures)) or plain(self, pictures)
    )
    BatchedSession(tiny_model, CONTRACT, 1).embed(files)
    assert sorted(seen) == [8, 10, 32]


def test_fastembeds_way_stretches_and_says_at_what_shape(tmp_path, tiny_model):
    (tmp_path / "a.png").write_bytes(encode(sample_image(30, 12, 1), "PNG"))
    peer = FastembedWay(tiny_model, CONTRACT, 1)
    assert peer.embed([tmp_path / "a.png"]).shape == (1, 8)
    assert peer.shape(30, 12) == (256, 128)
    assert LoopOfOne(tiny_model, CONTRACT, 1).shape(32, 16) == (16, 8)


def test_openvinos_queue_takes_the_size_that_it_is_compiled_for_and_all_others(tmp_path, tiny_model, tiny):
    pytest.importorskip("openvino")
    files = []
    for seed in range(12):
        files.append(tmp_path / f"{seed:02}.png")
        files[-1].write_bytes(encode(sample_image(16, (8, 12)[seed % 2], seed), "PNG"))
    queue = OpenVinoQueue(tiny_model, CONTRACT, 1, "f32", size=(16, 8))
    assert queue._queue[0].get_compiled_model().input(0).partial_shape.is_static
    found = queue.embed(files)
    assert found == pytest.approx(tiny.embed(files), abs=1e-5)
    assert queue.embed(files[::2]) == pytest.approx(found[::2], abs=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_torchs_extractor_stretches_and_gives_the_checkpoints_vectors(tmp_path, compiled, monkeypatch):
    """Every speed is a multiple of its: row i of file i, the last batch filled up where it must be."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from training.models.backbones import BACKBONES
    from training.run.checkpoint import read_checkpoint, untrained, write_checkpoint

    from ..training.tiny import TINY

    monkeypatch.setitem(BACKBONES, TINY.name, TINY)
    # Compiling takes half a minute, and changes no batch.
    monkeypatch.setattr(torch, "compile", lambda run, **_: run)
    weights = tmp_path / "tiny.safetensors"
    write_checkpoint(weights, untrained("tiny", 8))
    files = []
    for seed in range(35):
        files.append(tmp_path / f"{seed:02}.png")
        files[-1].write_bytes(encode(sample_image(40 + seed, 24, seed), "PNG"))
    found = TorchExtractor(weights, 1, compiled=compiled).embed(files)

    network = read_checkpoint(weights).network()
    mean, deviation = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    for row, path in list(zip(found, files, strict=True))[::17]:
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB").resize((128, 256), Image.Resampling.BILINEAR)) / 255
        with torch.no_grad():
            planes = torch.from_numpy(((pixels - mean) / deviation).astype(np.float32)).permute(2, 0, 1)[None]
            expected = network.projection(network.pooling(network.trunk(planes)))[0]
        assert row == pytest.approx((expected / expected.norm()).numpy(), abs=1e-5)


def test_openvino_computes_in_what_it_was_asked_for(tiny_model):
    pytest.importorskip("openvino")
    assert OpenVinoQueue(tiny_model, CONTRACT, 1, "f32").precision == "float32"
    assert OpenVinoQueue(tiny_model, CONTRACT, 1, "bf16").name.endswith("bfloat16")


def test_every_peer_of_our_weights_has_its_parity_and_other_networks_have_their_own_map(
    tiny_model, crops, market, others
):
    pytest.importorskip("openvino")
    setup = short(tiny_model, crops, market)
    rows, notes = measured(setup, PeerChoice(models=others))
    same = [case for case in rows if case.endswith(": tiny") and "bfloat16" not in case]
    assert {case.split(":")[0] for case in same} >= {
        "onnxruntime, a loop of one", "onnxruntime, batches of 32", "as fastembed does, batches of 16",
        "openvino, asynchronous queue, float32",
    }  # fmt: skip
    for case in same:
        assert set(rows[case].facts) >= {"cosine", "map_finite_sum", "map_trapezoid", "integers"} | CHANGES
    exact = rows["onnxruntime, batches of 32: tiny"].facts
    assert exact["cosine"] == pytest.approx(1)
    assert exact["map_finite_sum_change"] == pytest.approx(0, abs=1e-9)
    expected = evaluate(setup.references.of(CONTRACT.contract_id).embedder, setup.evidence.task).scores.summary()
    assert exact["map_finite_sum"] == pytest.approx(expected.map_finite_sum)
    changes = {case: rows[case].facts["map_finite_sum_change"] for case in same}
    for case, change in changes.items():
        assert change == pytest.approx(rows[case].facts["map_finite_sum"] - expected.map_finite_sum)
    assert changes["as fastembed does, batches of 16: tiny"] != 0
    # As many dimensions and another contract: no cosine that would say nothing.
    for case in (f"{OTHERS}foreign, onnxruntime cpu", "onnxruntime, batches of 32: foreign"):
        assert 0 < rows[case].facts["map_finite_sum"] <= 1
        assert "cosine" not in rows[case].facts
        assert not CHANGES & set(rows[case].facts)
    assert any(case.startswith("openvino, asynchronous queue") and case.endswith(": foreign") for case in rows)
    assert not [note for note in notes if not note.startswith("peer torch")]


def test_known_parity_of_peers_is_taken_over_and_the_data_set_is_left_alone(tiny_model, crops, market, monkeypatch):
    case = "onnxruntime, a loop of one: tiny"
    known = {f"peers: {case}": {"cosine": 0.25}}
    setup = dataclasses.replace(short(tiny_model, crops, market), known=known)
    asked = []
    plain = LoopOfOne.embed
    monkeypatch.setattr(
        LoopOfOne, "embed", lambda self, files: asked.append(files[0].parent.name) or plain(self, files)
    )
    rows, _ = measured(setup)
    assert rows[case].facts["cosine"] == 0.25
    assert "map_finite_sum" not in rows[case].facts
    assert set(asked) == {"crops"}


def test_the_operations_of_a_row_are_those_of_all_its_files(crops, tiny_model):
    rows, _ = measured(short(tiny_model, crops))
    # One product of 6 x 8, two operations a multiply-add, 32 files.
    assert rows["onnxruntime, a loop of one: tiny"].facts["operations"] == 2 * 6 * 8 * 32
    assert rows[f"{OURS}tiny, onnxruntime cpu"].facts["operations"] == 2 * 6 * 8 * 32


def test_a_peer_that_fails_midway_leaves_the_others_their_rows(tiny_model, crops, monkeypatch):
    plain, asked = BatchedSession.embed, []

    def third(self, files):
        asked.append(files)
        if len(asked) > 3:
            raise MemoryError("no more\nat all")
        return plain(self, files)

    monkeypatch.setattr(BatchedSession, "embed", third)
    rows, notes = measured(short(tiny_model, crops))
    assert "onnxruntime, batches of 32: tiny" not in rows
    assert "peer onnxruntime, batches of 32: tiny: it failed while it was timed: MemoryError: no more" in notes
    assert len(rows["onnxruntime, a loop of one: tiny"].seconds) == SHORT.rounds


def test_torch_runs_the_checkpoint_three_ways_and_speeds_are_multiples_of_the_first(
    tiny_model, crops, tmp_path, monkeypatch
):
    asked = []

    class Recorded:
        contract = CONTRACT

        def __init__(self, checkpoint, threads, compiled=False, bfloat16=False):
            asked.append((checkpoint.name, threads, compiled, bfloat16))
            self.name = f"torch {'compiled' if compiled else 'eager'} {bfloat16}"

        def embed(self, files):
            return np.ones((len(files), 8), np.float32)

    monkeypatch.setattr(measuring, "TorchExtractor", Recorded)
    setup = short(tiny_model, crops)
    rows, _ = measured(setup, PeerChoice(checkpoint=tmp_path / "weights.safetensors"))
    ways = [(False, False), (True, False), (True, True)]
    assert asked == [("weights.safetensors", setup.threads, *way) for way in ways]
    assert {row.setting["against"] for row in rows.values()} == {"torch eager False, weights weights"}
    assert rows["torch compiled True, weights weights"].facts["cosine"] < 0.99
    ours = rows[f"{OURS}tiny, onnxruntime cpu"]
    assert ours.facts["times_low"] <= ours.facts["times"] <= ours.facts["times_high"]


# An external command, whose turns and vectors a test chooses.
SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
from reid_runtime import Embedder
files = sorted(Path(sys.argv[-1]).iterdir())
embedder = Embedder.load(sys.argv[1], threads=1) if sys.argv[1] != "-" else None
print("ready", flush=True)
for line in sys.stdin:
    word, _, path = line.strip().partition(" ")
    {body}
    print("done", flush=True)
"""
GOOD = "rows = embedder.embed(files); path and np.save(path, rows)"
SILENT = "pass"
CHATTY = "print('loading weights', flush=True)"
HANGING = "time.sleep(60)"
SLOW = "time.sleep(0.9 if path else 0.01); path and np.save(path, embedder.embed(files))"
WRONG = "path and np.save(path, np.ones((len(files) - 1, 8), 'f'))"
TEXT = "path and Path(path).write_text('no vectors')"
EMPTY = "path and np.save(path, np.full((len(files), 8), np.nan, 'f'))"
WIDE = "path and np.save(path, np.ones((len(files), 5), 'f'))"


def written(tmp_path, body, model="-"):
    (tmp_path / "peer.py").write_text(SCRIPT.replace("{body}", body))
    return shlex.join(["env", f"PYTHONPATH={Path.cwd()}", sys.executable, str(tmp_path / "peer.py"), str(model)])


@pytest.fixture
def started(tmp_path, crops):
    """Starts such a command, and ends it."""
    peers = []

    def start(body, patience=20.0):
        peers.append(ExternalPeer("it", written(tmp_path, body), crops, 1, patience))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


def test_an_external_peer_is_driven_line_by_line_until_it_is_closed(started):
    peer = started(SILENT)
    assert [peer.embed([]) for _ in range(3)] == [None] * 3
    peer.close()
    with pytest.raises(ExternalError, match="has ended"):
        peer.embed([])


def test_a_log_line_is_no_end_of_a_turn(started):
    peer = started(CHATTY)
    with pytest.raises(ExternalError, match=r"expected the line 'done', found 'loading weights'; .* standard error"):
        peer.embed([])


def test_a_command_that_hangs_is_given_up(started):
    peer = started(HANGING, patience=0.5)
    peer._limit = 0.5  # as after a first turn of no time
    began = time.monotonic()
    with pytest.raises(ExternalError, match="found nothing within"):
        peer.embed([])
    assert time.monotonic() - began < 10


def test_a_command_that_ends_in_a_turn_is_said_so(started):
    with pytest.raises(ExternalError, match="found the end of its output"):
        started("sys.exit(3)").embed([])


@pytest.mark.parametrize(
    ("body", "match"),
    [(SILENT, "wrote no .npy file"), (TEXT, "wrote no .npy file"), (WRONG, r"expected \(4, D\)"), (EMPTY, "finite")],
)
def test_vectors_that_are_none_are_told(started, tmp_path, body, match):
    with pytest.raises(VectorsError, match=match):
        started(body).vectors(tmp_path / "v.npy", 4)


@pytest.mark.parametrize("said", ["raise SystemExit(3)", "print('hello')"])
def test_an_external_peer_that_does_not_become_ready_is_refused(tmp_path, said):
    (tmp_path / "peer.py").write_text(said)
    with pytest.raises(ExternalError, match="expected the line 'ready'"):
        ExternalPeer("it", f"{sys.executable} {tmp_path / 'peer.py'}", tmp_path, 1)


@pytest.mark.parametrize("command", ["no-such-command-anywhere", "python 'quotes that do not close"])
def test_an_external_command_that_cannot_be_started_is_said_so(tmp_path, command):
    with pytest.raises(ExternalError, match="cannot be started"):
        ExternalPeer("it", command, tmp_path, 1)
    with pytest.raises(ExternalError, match="NAME=COMMAND"):
        parse("python")


def test_external_threads_do_not_spin(tmp_path, crops):
    body = "import os; Path(path).write_text(os.environ['OMP_WAIT_POLICY'] + os.environ['OMP_NUM_THREADS'])"
    peer = ExternalPeer("it", written(tmp_path, body), crops, 3)
    with pytest.raises(VectorsError):
        peer.vectors(tmp_path / "seen", 4)
    peer.close()
    assert (tmp_path / "seen").read_text() == "PASSIVE3"


def test_external_rows_have_a_cosine_or_say_that_nobody_saw_vectors(tiny_model, crops, tmp_path):
    folder = {name: tmp_path / name for name in ("good", "liar", "cache", "wide", "chatty")}
    bodies = {"good": GOOD, "liar": SILENT, "cache": SLOW, "wide": WIDE, "chatty": CHATTY}
    for path in folder.values():
        path.mkdir()
    external = [f"{name}={written(folder[name], bodies[name], tiny_model)}" for name in bodies]
    rows, notes = measured(short(tiny_model, crops), PeerChoice(external=(*external, "torn=python 'x")))
    assert rows["good"].facts["cosine"] == pytest.approx(1)
    assert f"liar{UNSEEN}" in rows
    assert "liar" not in rows
    assert "cosine" not in rows[f"liar{UNSEEN}"].facts
    assert "cosine" not in rows["wide"].facts
    said = "\n".join(notes)
    assert "cosine of liar: external command 'liar' was asked for `vectors vectors.npy` and wrote no" in said
    assert "peer cache: its turns take" in said
    assert "peer good: its turns" not in said
    assert "cosine of wide: its vectors have 5 dimensions, the reference's 8" in said
    assert "peer chatty: external command 'chatty': expected the line 'done', found 'loading weights'" in said
    assert "peer torn: external command 'torn' cannot be started" in said
    assert not {"chatty", "torn"} & set(rows)
