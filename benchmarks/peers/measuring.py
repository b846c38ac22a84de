"""Every artefact and every peer on one folder of crops, in turn."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.inputs import write_files
from benchmarks.peers.candidates import FastembedWay, LoopOfOne, OpenVinoQueue, Peer, TorchExtractor
from benchmarks.peers.external import ExternalPeer, parse
from benchmarks.results import Found, in_turn
from benchmarks.subjects import CONTRACTS, Setup, Subject, load
from benchmarks.timing import QUICK
from reid_runtime.agreement import compare
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError

PART = "peers"
OURS = "reid-runtime: "
"""How the cases of this runtime begin."""
_FILES = 32


@dataclass(frozen=True)
class PeerChoice:
    """Which peers run beside those that are always there."""

    checkpoint: Path | None = None
    """Whose weights torch runs; the artefacts should be made of it."""
    models: Path | None = None
    """A folder of models of others, with or without a contract in benchmarks/peers."""
    external: tuple[str, ...] = ()
    """NAME=COMMAND each."""


def measure_peers(setup: Setup, subjects: Sequence[Subject], choice: PeerChoice) -> Found:
    """Files to vectors: our artefacts, the bare engines on the same graphs, torch on the same weights, others' models.

    Everything is compared with torch eager where there is a checkpoint, else with the loop around a session. A peer's
    cosine is that of its vectors for the given crops, prepared as the peer prepares them.
    """
    found = Found()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        files = write_files(folder, setup.evidence.crops, _FILES * setup.budget.scale)
        peers = _peers(setup, subjects, choice, found)
        for option in choice.external:
            try:
                outside = ExternalPeer(*parse(option), folder, setup.threads)
            except ReidRuntimeError as error:
                found.notes.append(f"peer {option.partition('=')[0]}: {error}")
                continue
            running.callback(outside.close)
            peers.append((None, outside))
        reference = _reference(setup, subjects, choice)
        crops = list(setup.files)
        expected = None if reference is None else reference.embed(crops)
        calls: dict[str, Callable[[], object]] = {}
        facts: dict[str, dict[str, float]] = {}
        for subject in [*subjects, *_others(setup, choice, found)]:
            case = f"{OURS}{subject.case}"
            calls[case] = partial(subject.embedder.embed, files)
            facts[case] = subject.facts
        for model, peer in peers:
            case = peer.name if model is None else f"{peer.name}: {model}"
            try:
                vectors = peer.embed(crops)
            except Exception as error:  # whatever an engine or a compiler stumbles over, the others still run
                found.notes.append(f"peer {case}: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
                continue
            calls[case] = partial(peer.embed, files)
            if vectors is not None and expected is not None and vectors.shape == expected.shape:
                facts[case] = {"cosine": compare(expected, _unit(vectors)).worst_cosine}
        against = next((case for case in calls if case.startswith("torch eager")), None)
        against = against or next((case for case in calls if case.startswith("onnxruntime")), next(iter(calls)))
        setting = {"files": len(files), "threads": setup.threads}
        found.rows += in_turn(PART, calls, setting, len(files), setup.budget, against=against, facts=facts)
    return found


def _peers(
    setup: Setup, subjects: Sequence[Subject], choice: PeerChoice, found: Found
) -> list[tuple[str | None, Peer]]:
    """(the model's name or None, peer), those that load."""
    makers: list[tuple[str | None, str, Callable[[], Peer]]] = []
    if choice.checkpoint is None:
        found.notes.append("peer torch: name the checkpoint of the artefacts with --checkpoint")
    else:
        weights = choice.checkpoint
        makers.append((weights.stem, "torch eager", lambda: TorchExtractor(weights, setup.threads)))
        if setup.budget == QUICK:
            found.notes.append("peer torch compiled: left out of a trial, for compiling alone takes half a minute")
        else:
            makers.append((weights.stem, "torch compiled", lambda: TorchExtractor(weights, setup.threads, True)))
    graphs = {s.embedder.path: s.embedder.contract for s in subjects if s.embedder.path.suffix == ".onnx"}
    for path, contract in graphs.items():
        for kind in (LoopOfOne, FastembedWay, OpenVinoQueue):
            makers.append((path.stem, kind.__name__, partial(kind, path, contract, setup.threads)))
    peers: list[tuple[str | None, Peer]] = []
    for model, kind_name, make in makers:
        try:
            peers.append((model, make()))
        except Exception as error:  # as above
            found.notes.append(f"peer {kind_name}: {model}: {str(error).strip().splitlines()[0]}")
    return peers


def _others(setup: Setup, choice: PeerChoice, found: Found) -> list[Subject]:
    """Models of others, on the engine that their format is for."""
    if choice.models is None:
        return []
    subjects = []
    for path in sorted(path for path in choice.models.rglob("*") if path.suffix in (".onnx", ".xml")):
        if path.suffix == ".xml" and not (CONTRACTS / f"{path.stem}.json").is_file():
            continue  # a detector, say
        device = "openvino" if path.suffix == ".xml" else "cpu"
        try:
            subjects.append(Subject(load(path, device, setup.threads), device))
        except ReidRuntimeError as error:
            found.notes.append(f"peer {path.stem}: {error}")
    return subjects


def _reference(setup: Setup, subjects: Sequence[Subject], choice: PeerChoice) -> Embedder | None:
    path = setup.reference or choice.checkpoint
    if path is not None:
        return load(path, "cpu", setup.threads)
    exact = [subject.embedder for subject in subjects if subject.embedder.contract.precision == "float32"]
    return exact[0] if exact else None


def _unit(
    vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = vectors / lengths
    return unit
