"""Every artefact and every peer on one folder of crops, in turn."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.cases import CONTRACTS, Setup, Subject, load
from benchmarks.flops import operations
from benchmarks.inputs import FILE_SIZE, write_files
from benchmarks.measurements import Found, in_turn
from benchmarks.peers.candidates import BatchedSession, FastembedWay, LoopOfOne, OpenVinoQueue, Peer, TorchExtractor
from benchmarks.peers.external import ExternalPeer, VectorsError, parse
from benchmarks.peers.parity import cosine, peer_parity, ranking
from benchmarks.timing import QUICK
from reid_runtime.errors import DatasetError, ReidRuntimeError
from reid_runtime.evaluation import evaluate
from reid_runtime.model_file.contract import Contract

PART = "peers"
OURS = "reid-runtime: "
"""How the cases of this runtime with its own artefacts begin."""
OTHERS = "reid-runtime runs "
"""How those of this runtime with models of others begin."""
TORCH = "torch eager"
"""How the case begins that speeds are a multiple of, where there is a checkpoint."""
UNSEEN = ", vectors not seen"
"""How the name of an external command ends that was asked for its vectors and gave none."""
_FILES = 32
_ANEW = 3
"""How many times as long the turn in which an external command wrote its vectors may have taken as its median turn."""
_WRITING = 0.5
"""Seconds that writing a file of vectors may take on a busy machine."""


@dataclass(frozen=True)
class PeerChoice:
    """Which peers run beside those that are always there."""

    checkpoint: Path | None = None
    """Whose weights torch runs; the artefacts should be made of it."""
    models: Path | None = None
    """A folder of models of others, with or without a contract in benchmarks/peers."""
    external: tuple[str, ...] = ()
    """NAME=COMMAND each."""


class PeerError(ReidRuntimeError):
    """A measurement of peers that cannot be finished."""


@dataclass(frozen=True)
class _Entry:
    """A peer with what it runs."""

    case: str
    peer: Peer
    contract: Contract
    """That of its vectors."""
    graph: Path | None = None
    """The file that it runs, whose work is counted."""


@dataclass(frozen=True)
class _Maker:
    """How a peer is loaded, and what notes call it where it is not."""

    says: str
    make: Callable[[], _Entry]


@dataclass(frozen=True)
class _Case:
    """What is timed, and what its row says beside the time."""

    name: str
    call: Callable[[], object]
    facts: dict[str, float]
    written: float = 0.0
    """Seconds of the turn in which an external command wrote its vectors."""


def measure_peers(setup: Setup, subjects: Sequence[Subject], choice: PeerChoice) -> Found:
    """Files to vectors: our artefacts, the bare engines on the same graphs, torch on the same weights, others' models.

    Speeds are multiples of torch eager where there is a checkpoint, else of the loop around a session. A peer's
    parity is that of its vectors for the given crops, and for the data set where there is one, prepared as the peer
    prepares them, to the reference of its own contract; other networks than the references' have only their own mAP.
    """
    found = Found()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name) / "crops"
        folder.mkdir()
        files = write_files(folder, setup.evidence.crops, _FILES * setup.budget.scale)
        others = _others(setup, choice, found)
        makers = [*_torch(setup, choice, found), *_engines(setup, subjects, others)]
        cases: dict[str, _Case] = {}
        for case in [
            *_runtime(setup, subjects, others, files),
            *_peers(setup, makers, files, found),
            *_outside(setup, subjects, choice, files, running, found),
        ]:
            # Two rows of one name, as where an engine's default is what was asked for beside it, are one.
            if cases.setdefault(case.name, case) is not case:
                found.notes.append(f"peer {case.name}: there is a row of this name already")
        _time(setup, cases, len(files), found)
    return found


def _time(setup: Setup, cases: dict[str, _Case], count: int, found: Found) -> None:
    """Add the rows of all that run to the end."""
    against = next((name for name in cases if name.startswith(TORCH)), None)
    against = against or next((name for name in cases if name.startswith("onnxruntime")), next(iter(cases)))
    failed: dict[str, str] = {}
    calls = {name: partial(_call, case, failed) for name, case in cases.items()}
    facts = {name: case.facts for name, case in cases.items()}
    setting = {"files": count, "threads": setup.threads}
    rows = in_turn(PART, calls, setting, count, setup.budget, against=against, facts=facts, threads=setup.threads)
    if against in failed:
        raise PeerError(f"{against}, which speeds are a multiple of, failed while it was timed: {failed[against]}")
    found.notes += [f"peer {name}: it failed while it was timed: {why}" for name, why in failed.items()]
    for row in rows:
        if row.case in failed:
            continue
        found.rows.append(row)
        written = cases[row.case].written if row.case in cases else 0
        if written > _ANEW * row.middle + _WRITING:
            found.notes.append(
                f"peer {row.case}: its turns take {row.middle:.3f} s, that in which it wrote its vectors "
                f"{written:.3f} s: it may not embed every file anew"
            )


def _runtime(
    setup: Setup, subjects: Sequence[Subject], others: Sequence[Subject], files: Sequence[Path]
) -> Iterator[_Case]:
    """This runtime with our artefacts, and with models of others."""
    work = _Work(files)
    for subject in [*subjects, *others]:
        embedder, ours = subject.embedder, subject not in others
        name = f"{OURS if ours else OTHERS}{subject.case}"
        facts = subject.facts | work.of(embedder.path, embedder.contract.resize.shape)
        if not ours:
            known = _known(setup, name)
            if known is None and setup.evidence.task is not None:
                known = ranking(evaluate(embedder, setup.evidence.task).scores)
            facts |= known or {}
        yield _Case(name, partial(embedder.embed, files), facts)


def _peers(setup: Setup, makers: Sequence[_Maker], files: Sequence[Path], found: Found) -> Iterator[_Case]:
    """Those that load and embed."""
    work = _Work(files)
    for maker in makers:
        try:
            entry = maker.make()
            facts = _parity(setup, entry, found)
            entry.peer.embed(files)
            if entry.graph is not None:
                facts |= {"integers": float(entry.contract.precision.kind == "int8")}
                facts |= work.of(entry.graph, entry.peer.shape)
        except Exception as error:  # whatever an engine or a compiler stumbles over, the others still run
            found.notes.append(f"peer {maker.says}: {_said(error)}")
            continue
        yield _Case(entry.case, partial(entry.peer.embed, files), facts)


def _outside(
    setup: Setup,
    subjects: Sequence[Subject],
    choice: PeerChoice,
    files: Sequence[Path],
    running: ExitStack,
    found: Found,
) -> Iterator[_Case]:
    """The external commands that keep to what was agreed."""
    for option in choice.external:
        try:
            peer = ExternalPeer(*parse(option), files[0].parent, setup.threads)
            running.callback(peer.close)
            peer.embed(files)
            yield _seen(setup, subjects, peer, files, found)
        except ReidRuntimeError as error:
            found.notes.append(f"peer {option.partition('=')[0]}: {error}")


class _Work:
    """The operations of a sample: all files once, each at the shape at which a peer feeds it."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._sizes: list[tuple[int, int]] = []
        for path in files:
            with Image.open(path) as opened:
                self._sizes.append((opened.height, opened.width))

    def of(self, graph: Path, shape: Callable[[int, int], tuple[int, int]]) -> dict[str, float]:
        """`operations`, two for a multiply-add; nothing for a file that is not counted."""
        return operations(graph, [shape(*size) for size in self._sizes])


def _call(case: _Case, failed: dict[str, str]) -> None:
    """Call it unless it failed before: one that fails midway does not take the others' rows with it."""
    if case.name in failed:
        return
    try:
        case.call()
    except Exception as error:  # as above
        failed[case.name] = _said(error)


def _known(setup: Setup, case: str) -> dict[str, float] | None:
    known = setup.known.get(f"{PART}: {case}")
    return None if known is None else dict(known)


def _parity(setup: Setup, entry: _Entry, found: Found) -> dict[str, float]:
    known = _known(setup, entry.case)
    if known is not None:
        return known
    vectors, reference = entry.peer.embed(setup.files), setup.references.of(entry.contract.contract_id)
    try:
        return peer_parity(setup, entry.peer.embed, vectors, reference)
    except DatasetError as error:
        found.notes.append(f"mAP of {entry.case}: {error}")
        return {} if reference is None else {"cosine": cosine(reference.vectors, vectors)}


def _torch(setup: Setup, choice: PeerChoice, found: Found) -> list[_Maker]:
    """The weights in torch, three ways; one in a trial."""
    weights = choice.checkpoint
    if weights is None:
        found.notes.append("peer torch: name the checkpoint of the artefacts with --checkpoint")
        return []

    def make(compiled: bool, bfloat16: bool) -> _Entry:
        peer = TorchExtractor(weights, setup.threads, compiled, bfloat16)
        return _Entry(f"{peer.name}, weights {weights.stem}", peer, peer.contract)

    makers = [_Maker(f"torch eager: {weights.stem}", partial(make, False, False))]
    if setup.budget == QUICK and setup.evidence.task is None:  # with a data set it scores for a full run
        found.notes.append("peer torch compiled: left out of a trial, for compiling alone takes half a minute")
        return makers
    return [
        *makers,
        _Maker(f"torch compiled: {weights.stem}", partial(make, True, False)),
        _Maker(f"torch compiled, bfloat16: {weights.stem}", partial(make, True, True)),
    ]


def _engines(setup: Setup, subjects: Sequence[Subject], others: Sequence[Subject]) -> list[_Maker]:
    """The bare engines: everything on our own graphs, on others' what their makers run them with, each its best way."""

    def make(kind: Callable[[Path, Contract, int], Peer], path: Path, contract: Contract) -> _Entry:
        peer = kind(path, contract, setup.threads)
        return _Entry(f"{peer.name}: {path.stem}", peer, contract, path)

    queue = partial(OpenVinoQueue, size=FILE_SIZE)
    makers = []
    ours = {subject.embedder.path: subject.embedder.contract for subject in subjects}
    for path, contract in (ours | {subject.embedder.path: subject.embedder.contract for subject in others}).items():
        kinds: dict[str, Callable[[Path, Contract, int], Peer]] = {}
        if path.suffix == ".onnx":
            kinds |= {"loop of one": LoopOfOne, "as fastembed does": FastembedWay} if path in ours else {}
            kinds["onnxruntime, batches"] = BatchedSession
        if path.suffix in (".onnx", ".xml"):
            kinds["openvino, asynchronous queue"] = queue
            if path in ours and contract.precision.kind == "float32":
                kinds["openvino, asynchronous queue, float32"] = partial(queue, precision="f32")
        makers += [_Maker(f"{says}: {path.stem}", partial(make, kind, path, contract)) for says, kind in kinds.items()]
    return makers


def _others(setup: Setup, choice: PeerChoice, found: Found) -> list[Subject]:
    """Models of others, on the engine that their format is for."""
    subjects = []
    for path, device in other_models(choice.models):
        try:
            subjects.append(Subject(load(path, device, setup.threads), device))
        except ReidRuntimeError as error:
            found.notes.append(f"peer {path.stem}: {error}")
    return subjects


def other_models(folder: Path | None) -> list[tuple[Path, str]]:
    """The files of models of others in a folder, each with the device that its format is for."""
    paths = [] if folder is None else sorted(path for path in folder.rglob("*") if path.suffix in (".onnx", ".xml"))
    # Without a contract an .xml is a detector, say; an .onnx may carry its own.
    kept = [path for path in paths if path.suffix == ".onnx" or (CONTRACTS / f"{path.stem}.json").is_file()]
    return [(path, "openvino" if path.suffix == ".xml" else "cpu") for path in kept]


def _seen(setup: Setup, subjects: Sequence[Subject], peer: ExternalPeer, files: Sequence[Path], found: Found) -> _Case:
    """An external command with its cosine, which is of the files that it embeds, for it embeds no others.

    Nobody but the user knows which network it runs, so its vectors are held to the first artefact's reference: of
    another network of as many dimensions the cosine is near zero, and says so.
    """
    call, started = partial(peer.embed, files), time.perf_counter()
    try:
        rows = peer.vectors(files[0].parent.parent / "vectors.npy", len(files))
    except VectorsError as error:
        found.notes.append(f"cosine of {peer.name}: {error}")
        return _Case(f"{peer.name}{UNSEEN}", call, {})
    written = time.perf_counter() - started
    if setup.evidence.task is not None:
        found.notes.append(f"mAP of {peer.name}: an external command embeds one folder of crops, and no data set")
    reference = setup.references.of(subjects[0].embedder.contract.contract_id)
    expected = None if reference is None else reference.embedder.embed(files)
    if expected is not None and expected.shape == rows.shape:
        return _Case(peer.name, call, {"cosine": cosine(expected, rows)}, written)
    there = "there is no reference" if expected is None else f"the reference's {expected.shape[1]}"
    found.notes.append(f"cosine of {peer.name}: its vectors have {rows.shape[1]} dimensions, {there}")
    return _Case(peer.name, call, {}, written)


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'without a word'}"
