"""Engines that were built on this machine, found again: under a key of everything that they depend on.

Where no folder can be written the engine is built for this process alone, with a warning. Builds wait for each other,
in this process and across processes: TensorRT picks kernels by measuring them, and two builds on one GPU would measure
each other. What was built is held to the vectors that are pinned in its ONNX file before it is kept.
"""

import hashlib
import json
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

from reid_runtime.backends.cuda.driver import NoGpuError, find_gpu
from reid_runtime.backends.tensorrt.build import Built, Request, build
from reid_runtime.backends.tensorrt.engine import BuildOptions, Engine, Origin, read_entry, sidecar_path, sidecar_text
from reid_runtime.backends.tensorrt.module import import_tensorrt, is_rtx
from reid_runtime.backends.tensorrt.profiles import Batches, Profile, profiles_for
from reid_runtime.backends.tensorrt.progress import Progress, nothing
from reid_runtime.backends.tensorrt.selftest import proved
from reid_runtime.backends.tensorrt.trust import ENVIRONMENT, default_folder, note_built, require_private
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.io.atomic import atomic_write
from reid_runtime.model_file.contract import METADATA_KEY, Contract
from reid_runtime.model_file.onnx import read_onnx_file
from reid_runtime.model_file.selftest import Pinned, whole_record

_NOT_YET = "not run yet"
_LOG = logging.getLogger(__name__)
USUAL_BATCHES, USUAL_OPTIONS = Batches(), BuildOptions()
_one_build = threading.Lock()


class EngineCache:
    """A folder of engines. Threads and processes may share it."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Nothing is made or read until an engine is asked for."""
        self.folder = default_folder() if folder is None else Path(folder)

    def get_or_build(
        self,
        onnx: Path,
        *,
        contract: Contract | None = None,
        batches: Batches = USUAL_BATCHES,
        shapes: Mapping[tuple[int, int], int] | None = None,
        options: BuildOptions = USUAL_OPTIONS,
        progress: Progress = nothing,
        fresh: bool = False,
    ) -> Engine:
        """The engine of an ONNX file for the TensorRT and the GPU that are here: found, or built, which takes minutes.

        contract: stated for a file that carries none. batches, shapes: as `profiles_for` takes them.
        fresh: build it whatever the folder has; for an engine that TensorRT itself would not deserialise.

        An entry that is damaged, or is another's under this key, is built once more. Raises BackendError for what
        cannot be built or kept, or does not give the vectors that are pinned in the file; ContractError for a missing
        contract.
        """
        trt = import_tensorrt()
        promised, pinned = _promises(onnx, contract)
        request, wanted = requested(trt, onnx, promised, profiles_for(promised.resize, batches, shapes), options)
        path = self.folder / f"{_key(trt, wanted)}.engine"
        found = None if fresh else _stored(path, wanted)
        if found is not None:
            return found
        if not self._writable():
            return proved(finished(wanted, build_alone(trt, request, progress)), promised, pinned, onnx)
        with self._building():
            found = None if fresh else _stored(path, wanted)  # another process may have built it meanwhile
            if found is not None:
                return found
            _LOG.info("building the TensorRT engine of %s, which takes minutes; it is kept in %s", onnx, self.folder)
            engine = proved(finished(wanted, self._build(trt, request, progress)), promised, pinned, onnx)
            try:
                write_engine(path, engine)
            except BackendError as error:  # minutes of work are not thrown away for a full disk
                warnings.warn(f"{error}: the engine serves this process alone", stacklevel=2)
                return engine
            try:
                return read_entry(path)
            except BackendError as error:
                raise BackendError(f"{path} was just written and cannot be used: {error}") from error

    def build(self, trt: ModuleType, request: Request, progress: Progress = nothing) -> Built:
        """Build one that is kept elsewhere: under the folder's lock and with its timings, if there can be a folder."""
        if not self._writable():
            return build_alone(trt, request, progress)
        with self._building():
            return self._build(trt, request, progress)

    def _build(self, trt: ModuleType, request: Request, progress: Progress) -> Built:
        if is_rtx(trt):
            return build(trt, request, progress)
        of_what = f"{trt.__name__}-{trt.__version__}-{find_gpu().name}"
        path = self.folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', of_what)}.timings"
        built = build(trt, request, progress, path.read_bytes() if path.is_file() else b"")
        with suppress(OSError), atomic_write(path) as beside:  # without them the next build takes longer, no more
            beside.write_bytes(built.timings)
        return built

    def _writable(self) -> bool:
        """Make the folder; False, with a warning, where it cannot be. BackendError where others write to it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            require_private(self.folder)
            with open(self.folder / "build.lock", "ab"):
                return True
        except OSError as error:
            warnings.warn(
                f"engines cannot be kept in {self.folder} ({error.strerror}): this one is built for this process alone "
                f"and again in the next; name a folder with {ENVIRONMENT}",
                stacklevel=3,
            )
            return False

    @contextmanager
    def _building(self) -> Iterator[None]:
        with _one_build, _locked(self.folder / "build.lock"):
            yield


def contract_of(onnx: Path, stated: Contract | None = None) -> Contract:
    """The contract that an ONNX file carries, or the one stated for a file that carries none; ContractError else."""
    return _promises(onnx, stated)[0]


def _promises(onnx: Path, stated: Contract | None) -> tuple[Contract, Pinned | None]:
    """The contract, and what is pinned in the file."""
    file = read_onnx_file(onnx)
    pinned = whole_record(file, onnx)
    carried = file.metadata.get(METADATA_KEY)
    if carried is not None and stated is not None:
        raise ContractError(f"{onnx} carries its own contract; none must be stated beside it")
    if carried is not None:
        return Contract.from_json(carried, str(onnx)), pinned
    if stated is None:
        raise ContractError(f"{onnx} carries no contract, so nobody knows its input and its sizes: state one")
    return stated, pinned


def requested(
    trt: ModuleType, onnx: Path, contract: Contract, profiles: tuple[Profile, ...], options: BuildOptions
) -> tuple[Request, Engine]:
    """What to ask of TensorRT here, and the engine that shall come of it, still without its bytes."""
    try:
        content = onnx.read_bytes()
    except OSError as error:
        raise BackendError(f"{onnx} cannot be read: {error.strerror}") from error
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    try:
        gpu = find_gpu()
    except NoGpuError:
        if not is_rtx(trt):
            raise
        gpu = None
    # Its scores were measured through the parent's graph, not through this engine.
    promised = replace(contract, parent=digest, scores=(), drift=None).to_json()
    origin = Origin(digest, trt.__name__, trt.__version__, gpu, options, _NOT_YET)
    return Request(str(onnx), content, contract.input, profiles, options), Engine(b"", promised, profiles, origin)


def finished(wanted: Engine, built: Built) -> Engine:
    """The engine that was wanted, now that it is built."""
    return replace(wanted, blob=built.blob, profiles=built.profiles)


def build_alone(trt: ModuleType, request: Request, progress: Progress) -> Built:
    """Build with nothing kept; one at a time in this process."""
    with _one_build:
        return build(trt, request, progress)


def write_engine(path: Path, engine: Engine) -> None:
    """The engine and its sidecar, each whole, and a note that they were built here; BackendError if that fails.

    A process killed between the two leaves an engine that its sidecar does not fit, which is refused.
    """
    text = sidecar_text(engine)
    try:
        with atomic_write(path) as blob, atomic_write(sidecar_path(path)) as sidecar:
            blob.write_bytes(engine.blob)
            sidecar.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise BackendError(f"{path} cannot be written: {error.strerror}") from error
    note_built(text)


def _stored(path: Path, wanted: Engine) -> Engine | None:
    """The entry, None where there is none that can be used."""
    if not path.exists():
        return None
    require_private(path.parent)
    try:
        found = read_entry(path)
        assert found.origin is not None
        assert wanted.origin is not None
        if (found.contract_text, replace(found.origin, parity=_NOT_YET)) == (wanted.contract_text, wanted.origin):
            return found
        reason = f"{path} was built from something else than its name says"
    except BackendError as error:
        reason = str(error)
    warnings.warn(f"{reason}; building it again", stacklevel=3)
    return None


def _key(trt: ModuleType, wanted: Engine) -> str:
    """32 hexadecimal digits of everything that the engine depends on."""
    assert wanted.origin is not None
    facts = {
        "contract": wanted.contract_text,
        "origin": asdict(wanted.origin),
        "profiles": [asdict(profile) for profile in wanted.profiles],
        "packages": _packages(trt),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _packages(trt: ModuleType) -> list[str]:
    """TensorRT's distributions: their names say for which CUDA they are made (`tensorrt_cu13-11.4.0.106.dist-info`)."""
    place = getattr(trt, "__file__", None)
    return [] if place is None else sorted(path.name for path in Path(place).parents[1].glob("tensorrt*.dist-info"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process at a time is in the block; where the system has no such locks, several may build the same."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, or its process ends
        yield
