"""Every artefact and every peer on one folder of crops, in turn."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from benchmarks.cases import CONTRACTS, Case, CaseError, Setup, load, network_of
from benchmarks.flops import operations
from benchmarks.inputs import FILE_SIZE, write_files
from benchmarks.measurements import Call, Key, Measurements, Parity, Part, Row, in_turn, with_speeds
from benchmarks.parity import parity_of, score_files
from benchmarks.peers.ways import OnnxSession, OnnxSessionACore, OpenVinoQueue, Peer, TorchExtractor
from benchmarks.timing import QUICK
from reid_runtime.backends.registry import REGISTRY
from reid_runtime.errors import DatasetError, ReidRuntimeError
from reid_runtime.evaluation import evaluate

_FILES = 32


@dataclass(frozen=True)
class PeerOptions:
    """Which peers run beside those that are always there: the artefacts' weights in torch, third-party models."""

    checkpoint: Path | None = None
    models: Path | None = None  # a folder


Entry = tuple[Row, Call]  # what is timed: the template of its row, and the call
Loader = tuple[str, Path, Callable[[], Peer]]  # what notes call a peer, the file that it runs, and what loads it


def measure_peers(setup: Setup, cases: Sequence[Case], options: PeerOptions) -> Measurements:
    """Files to vectors: our artefacts, the bare engines on the same graphs, torch on the same weights, other models.

    Speeds are multiples of torch eager where there is a checkpoint, else of the loop around a session. A peer's
    parity is that of its vectors for the given crops, and for the data set where there is one, prepared as the peer
    prepares them, to the reference of its own contract; other networks than the references' have only their own mAP.
    """
    measured = Measurements()
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name), setup.evidence.crops, _FILES * setup.budget.scale)
        others = _third_party(setup, options, measured)
        loaders = [*_torch(setup, options, measured), *_engines(setup, cases, others)]
        # Two rows of one name, as where an engine's default is what was asked for too, are one.
        every = [*_runtime(setup, cases, others, files), *_peers(setup, loaders, files, measured)]
        _time(setup, list({row.key: (row, call) for row, call in reversed(every)}.values())[::-1], measured)
    return measured


def _time(setup: Setup, entries: Sequence[Entry], measured: Measurements) -> None:
    """Add the rows of all that run to the end."""
    failed: dict[Key, str] = {}

    def guarded(row: Row, call: Call) -> None:
        """One that fails midway is not called again, and does not take the others' rows with it."""
        try:
            if row.key not in failed:
                call()
        except Exception as error:  # whatever an engine or a compiler stumbles over
            failed[row.key] = _first_line(error)

    templates = [(row, partial(guarded, row, call)) for row, call in entries]
    rows = in_turn(templates, setup.budget.rounds, setup.budget.warmup, setup.threads)
    base = next(row for peer in ("torch eager", "onnxruntime", "") for row in rows if row.peer == peer)
    if base.key in failed:
        raise CaseError(f"{base.label}, which speeds are a multiple of, failed: {failed[base.key]}")
    measured.notes += [f"peer {row.label}: {failed[row.key]}" for row in rows if row.key in failed]
    measured.rows += with_speeds([row for row in rows if row.key not in failed], base)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"


def _runtime(setup: Setup, cases: Sequence[Case], others: Sequence[Case], files: Sequence[Path]) -> Iterator[Entry]:
    """This runtime with our artefacts, and with third-party models."""
    for case in [*cases, *_faster(cases, setup.threads), *others]:
        row = case.row(Part.PEERS, items=len(files), operations=case.operations([FILE_SIZE] * len(files)))
        if case in others:
            parity = setup.earlier.get(row.owner)
            if parity is None and setup.evidence.task is not None:
                parity = parity_of(None, evaluate(case.embedder, setup.evidence.task).scores, None)
            row = replace(row, parity=parity or Parity())
        yield row, partial(case.embedder.embed, files)


def _faster(cases: Sequence[Case], threads: int) -> list[Case]:
    """The cases again whose device has a faster mode, which does not keep the last bits."""
    devices = [(case, case.embedder.backend.device) for case in cases]
    return [
        replace(case, embedder=load(case.embedder.path, device, threads, fast=True), is_fast=True)
        for case, device in devices
        if device in REGISTRY and REGISTRY[device].has_fast
    ]


def _peers(setup: Setup, loaders: Sequence[Loader], files: Sequence[Path], measured: Measurements) -> Iterator[Entry]:
    """Those that load and embed."""
    for name, model, make in loaders:
        try:
            peer = make()
            row = Row(
                Part.PEERS, peer.name, len(files), model=model.stem, network=network_of(peer.contract),
                precision=peer.precision, peer=peer.peer,
                operations=operations(model, [peer.shape(*FILE_SIZE)] * len(files)),
            )  # fmt: skip
            row = replace(row, parity=setup.earlier.get(row.owner) or _parity(setup, peer, row.label, measured))
            peer.embed(files)
        except Exception as error:  # as there: the others still run
            measured.notes.append(f"peer {name}: {model.stem}: {_first_line(error)}")
            continue
        yield row, partial(peer.embed, files)


def _parity(setup: Setup, peer: Peer, label: str, measured: Measurements) -> Parity:
    vectors, reference = peer.embed(setup.files), setup.references.of(peer.contract.contract_id)
    scores = None
    if setup.evidence.task is not None:
        try:
            scores = score_files(peer.embed, setup.evidence.task)
        except DatasetError as error:
            measured.notes.append(f"mAP of {label}: {error}")
    return parity_of(vectors, scores, reference)


def _torch(setup: Setup, options: PeerOptions, measured: Measurements) -> list[Loader]:
    """The weights in torch, three ways; one in a trial."""
    weights = options.checkpoint
    if weights is None:
        measured.notes.append("peer torch: name the checkpoint of the artefacts with --checkpoint")
        return []
    ways = {"torch eager": (False, False), "torch compiled": (True, False), "torch compiled, bfloat16": (True, True)}
    if setup.budget == QUICK and setup.evidence.task is None:  # with a data set it scores for a full run
        measured.notes.append("peer torch compiled: left out of a trial, for compiling alone takes half a minute")
        del ways["torch compiled"], ways["torch compiled, bfloat16"]
    return [(name, weights, partial(TorchExtractor, weights, setup.threads, *how)) for name, how in ways.items()]


def _engines(setup: Setup, cases: Sequence[Case], others: Sequence[Case]) -> list[Loader]:
    """The bare engines: all ways on our graphs; on third-party ones their engine's best."""
    ours = {case.embedder.path: case.embedder.contract for case in cases}
    loaders: list[Loader] = []
    for path, contract in (ours | {case.embedder.path: case.embedder.contract for case in others}).items():
        kinds: dict[str, Callable[..., Peer]] = {}
        if path.suffix == ".onnx":
            if path in ours:
                kinds["loop of one"] = OnnxSession
                kinds["a session a core"] = OnnxSessionACore
                kinds["as fastembed does"] = partial(OnnxSession, batch_size=16, stretched=True)
            kinds["onnxruntime, batches"] = partial(OnnxSession, batch_size=32)
        if path.suffix in (".onnx", ".xml"):
            kinds["openvino, asynchronous queue"] = partial(OpenVinoQueue, size=FILE_SIZE)
            if path in ours and contract.precision.kind == "float32":
                kinds["openvino, asynchronous queue, float32"] = partial(OpenVinoQueue, size=FILE_SIZE, precision="f32")
        loaders += [(name, path, partial(kind, path, contract, setup.threads)) for name, kind in kinds.items()]
    return loaders


def _third_party(setup: Setup, options: PeerOptions, measured: Measurements) -> list[Case]:
    """Third-party models, on the engine that their format is for."""
    cases = []
    for path in sorted(() if options.models is None else options.models.rglob("*")):
        # Without a contract an .xml is a detector, say; an .onnx may carry its own.
        if path.suffix == ".onnx" or (path.suffix == ".xml" and (CONTRACTS / f"{path.stem}.json").is_file()):
            device = "openvino" if path.suffix == ".xml" else "cpu"
            try:
                cases.append(Case(load(path, device, setup.threads)))
            except ReidRuntimeError as error:
                measured.notes.append(f"peer {path.stem}: {error}")
    return cases


def peer_options(command: Callable[..., object]) -> Callable[..., object]:
    """--checkpoint and --peer-models; the command gets them as `peers`."""

    @wraps(command)
    def with_peers(*, checkpoint: Path | None, peer_models: Path | None, **others: Any) -> Any:
        return command(peers=PeerOptions(checkpoint, peer_models), **others)

    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    models = click.option("--peer-models", type=folder, help="Third-party models: OpenVINO's .xml, .onnx.")
    checkpoint = click.option("--checkpoint", type=file, help="The artefacts' checkpoint, which torch runs.")
    decorated: Callable[..., object] = checkpoint(models(with_peers))
    return decorated
