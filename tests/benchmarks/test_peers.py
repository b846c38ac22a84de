"""What other ways give and what is said of it: the bare engines on a tiny graph, torch on a checkpoint."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from benchmarks.measurements import Parity, Part
from benchmarks.peers import compete
from benchmarks.peers.compete import PeerOptions, measure_peers
from benchmarks.peers.ways import OnnxSession, OnnxSessionACore, OpenVinoQueue, TorchExtractor
from reid_runtime.evaluation import evaluate

from ..models import CONTRACT, FOREIGN, stated_for, write_model
from ..sample_images import encode, sample_image
from .conftest import SHORT, setup_of

CHANGES = ("map_finite_sum_change", "map_trapezoid_change")
LOOP, BATCHES, FASTEMBED = (
    ("onnxruntime", "a loop of one"),
    ("onnxruntime", "batches of 32"),
    ("fastembed", "batches of 16"),
)


def write_images(folder, shapes):
    files = [folder / f"{number:02}.png" for number in range(len(shapes))]
    for seed, (path, shape) in enumerate(zip(files, shapes, strict=True)):
        path.write_bytes(encode(sample_image(*shape, seed), "PNG"))
    return files


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A folder with a third-party model, and its contract where the benchmarks look for it."""
    folder = tmp_path / "others"
    folder.mkdir()
    model = write_model(folder / "foreign.onnx", None, like=FOREIGN, output="raw")
    (tmp_path / "foreign.json").write_text(stated_for(model, FOREIGN).to_json())
    for module in ("cases", "peers.compete"):
        monkeypatch.setattr(f"benchmarks.{module}.CONTRACTS", tmp_path)
    return folder


def measured(setup, options=None):
    peers = measure_peers(setup, setup.cases()[0], options or PeerOptions())
    return {(row.peer, row.name) if row.model == "tiny" else row.model: row for row in peers.rows}, peers.notes


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("output", ["unit", "raw"])
def test_onnx_session_gives_row_i_of_file_i(batch_size, output, tmp_path, tiny):
    model = write_model(tmp_path / "m.onnx", CONTRACT if output == "unit" else None, output=output)
    files = write_images(tmp_path, [(16, (8, 10, 12)[seed % 3]) for seed in range(70)])  # three batches and more, mixed
    for peer in (OnnxSession(model, CONTRACT, 1, batch_size), OnnxSessionACore(model, tiny.contract, 3)):
        vectors = peer.embed(files)
        assert vectors / np.linalg.norm(vectors, axis=1, keepdims=True) == pytest.approx(tiny.embed(files), abs=1e-5)


def test_batch_is_of_one_shape_and_of_at_most_32(tmp_path, tiny_model, monkeypatch):
    files = write_images(tmp_path, [(16, 8 if seed % 5 else 12) for seed in range(50)])
    sizes = []
    run = OnnxSession._run
    monkeypatch.setattr(OnnxSession, "_run", lambda self, batch: sizes.append(len(batch)) or run(self, batch))
    OnnxSession(tiny_model, CONTRACT, 1, 32).embed(files)
    assert sorted(sizes) == [8, 10, 32]


def test_fastembed_stretches_and_says_at_what_shape(tmp_path, tiny_model):
    peer = OnnxSession(tiny_model, CONTRACT, 1, 16, stretched=True)
    assert (peer.peer, peer.name) == FASTEMBED
    assert peer.embed(write_images(tmp_path, [(30, 12)])).shape == (1, 8)
    assert peer.shape(30, 12) == (256, 128)
    assert OnnxSession(tiny_model, CONTRACT, 1).shape(32, 16) == (16, 8)


def test_openvino_takes_the_size_that_it_is_compiled_for_and_all_others(tmp_path, tiny_model, tiny):
    pytest.importorskip("openvino")
    files = write_images(tmp_path, [(16, (8, 12)[seed % 2]) for seed in range(12)])
    queue = OpenVinoQueue(tiny_model, CONTRACT, 1, "f32", size=(16, 8))
    assert queue.precision == "float32"
    assert queue._queue(True)[0].get_compiled_model().input(0).partial_shape.is_static
    vectors = queue.embed(files)
    assert vectors == pytest.approx(tiny.embed(files), abs=1e-5)
    assert queue.embed(files[::2]) == pytest.approx(vectors[::2], abs=1e-6)


def test_openvino_computes_in_the_asked_precision(tiny_model):
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not compute in bfloat16, and OpenVINO ignores the hint")
    assert OpenVinoQueue(tiny_model, CONTRACT, 1, "bf16").precision == "bfloat16"


@pytest.mark.parametrize("compiled", [False, True])
def test_torch_stretches_and_gives_the_checkpoints_vectors(tmp_path, compiled, monkeypatch):
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
    files = write_images(tmp_path, [(40 + seed, 24) for seed in range(35)])
    vectors = TorchExtractor(weights, 1, compiled=compiled).embed(files)

    network = read_checkpoint(weights).network()
    mean, deviation = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    assert len(vectors) == 35
    for row, path in list(zip(vectors, files, strict=True))[::17]:
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB").resize((128, 256), Image.Resampling.BILINEAR)) / 255
        with torch.no_grad():
            planes = torch.from_numpy(((pixels - mean) / deviation).astype(np.float32)).permute(2, 0, 1)[None]
            expected = network.projection(network.pooling(network.trunk(planes)))[0]
        assert row == pytest.approx((expected / expected.norm()).numpy(), abs=1e-5)


def test_peers_of_our_weights_have_parity_and_other_networks_their_own_map(tiny_model, crops, market, others):
    pytest.importorskip("openvino")
    setup = setup_of([tiny_model], crops, data=market)
    rows, notes = measured(setup, PeerOptions(models=others))
    same = [rows[LOOP], rows[BATCHES], rows[FASTEMBED], rows["openvino", "asynchronous queue"]]
    for row in same:
        assert row.parity.cosine is not None
        assert all(getattr(row.parity, name) is not None for name in CHANGES)
    exact = rows[BATCHES].parity
    assert exact.cosine == pytest.approx(1)
    assert exact.map_finite_sum_change.value == pytest.approx(0, abs=1e-9)
    scores = evaluate(setup.references.of(CONTRACT.contract_id).embedder, setup.evidence.task).scores.summary()
    assert exact.map_finite_sum == pytest.approx(scores.map_finite_sum)
    for row in same:
        change = row.parity.map_finite_sum - scores.map_finite_sum
        assert row.parity.map_finite_sum_change.value == pytest.approx(change)
    assert rows[FASTEMBED].parity.map_finite_sum_change.value != 0
    # As many dimensions and another contract: no cosine that would say nothing.
    parity = rows["foreign"].parity
    assert 0 < parity.map_finite_sum <= 1
    assert (parity.cosine, *(getattr(parity, name) for name in CHANGES)) == (None, None, None)
    assert not [note for note in notes if not note.startswith("peer torch")]


def test_earlier_parity_leaves_the_data_set_alone(tiny_model, crops, market, monkeypatch):
    owner = ("onnxruntime", "a loop of one", "tiny", "", "float32")
    setup = dataclasses.replace(setup_of([tiny_model], crops, data=market), earlier={owner: Parity(0.25)})
    scored = []
    score = compete.score_files
    monkeypatch.setattr(compete, "score_files", lambda embed, data: scored.append(embed) or score(embed, data))
    rows, _ = measured(setup)
    assert rows[LOOP].parity == Parity(0.25)
    names = {(embed.__self__.peer, embed.__self__.name) for embed in scored}
    assert LOOP not in names
    assert BATCHES in names


def test_operations_are_those_of_all_files(crops, tiny_model):
    rows, _ = measured(setup_of([tiny_model], crops))
    # One product of 6 x 8, two operations a multiply-add, 32 files.
    assert rows[LOOP].operations == rows["", ""].operations == 2 * 6 * 8 * 32
    assert rows["", ""].part == Part.PEERS


def test_peer_that_fails_midway_leaves_the_others(tiny_model, crops, monkeypatch):
    embed, asked = OnnxSession.embed, []

    def third(self, files):
        if self.name == "batches of 32":
            asked.append(files)
            if len(asked) > 3:
                raise MemoryError("no more\nat all")
        return embed(self, files)

    monkeypatch.setattr(OnnxSession, "embed", third)
    rows, notes = measured(setup_of([tiny_model], crops))
    assert BATCHES not in rows
    assert "peer onnxruntime, batches of 32, tiny, float32: MemoryError: no more" in notes
    assert len(rows[LOOP].seconds) == SHORT.rounds
    assert rows[LOOP].speed.value == 1


def test_torch_runs_three_ways_and_speeds_are_multiples_of_the_first(tiny_model, crops, tmp_path, monkeypatch):
    asked = []

    class Recorded:
        contract = CONTRACT

        def __init__(self, checkpoint, threads, compiled=False, bfloat16=False):
            asked.append((checkpoint.name, threads, compiled, bfloat16))
            self.peer, self.name = f"torch {'compiled' if compiled else 'eager'}", ""
            self.precision = "bfloat16" if bfloat16 else "float32"

        def embed(self, files):
            return np.ones((len(files), 8), np.float32)

        def shape(self, height, width):
            return height, width

    monkeypatch.setattr(compete, "TorchExtractor", Recorded)
    setup = setup_of([tiny_model], crops)
    actual = measure_peers(setup, setup.cases()[0], PeerOptions(checkpoint=tmp_path / "weights.safetensors"))
    ways = [(False, False), (True, False), (True, True)]
    assert asked == [("weights.safetensors", setup.threads, *way) for way in ways]
    speeds = {(row.peer, row.precision): row.speed for row in actual.rows if row.model in ("weights", "tiny")}
    assert speeds["torch eager", "float32"].high == 1
    ours = speeds["", "float32"]
    assert ours.low <= ours.value <= ours.high
    compiled = next(row for row in actual.rows if row.precision == "bfloat16")
    assert compiled.parity.cosine < 0.99
