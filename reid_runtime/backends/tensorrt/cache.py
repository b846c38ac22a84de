"""Engines that were built on this machine, found again: under a key of everything that they depend on.

Where no folder can be written the engine is built for this process alone, with a warning. Builds wait for each other,
in this process and across processes: TensorRT picks kernels by measuring them, and two builds on one GPU would measure
each other. An engine that fails the self-test of its ONNX file is not kept.
"""

import hashlib
import json
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

from reid_runtime.backends.cuda.driver import NoGpuError, find_gpu
from reid_runtime.backends.tensorrt.build import BuildRequest, build
from reid_runtime.backends.tensorrt.engine import BuildOptions, Engine, Origin, read_entry, write_engine
from reid_runtime.backends.tensorrt.module import import_tensorrt, is_rtx
from reid_runtime.backends.tensorrt.profiles import Batches, Profile, profiles_for
from reid_runtime.backends.tensorrt.progress import Progress, no_progress
from reid_runtime.backends.tensorrt.selftest import check_engine
from reid_runtime.backends.tensorrt.trust import (
    ENVIRONMENT,
    default_folder,
    lock_out_others,
    make_private,
    read_private,
    require_private,
)
from reid_runtime.errors import BackendError, StorageError
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.locks import exclusive_lock
from reid_runtime.model_file import ModelFile

_LOG = logging.getLogger(__name__)
_NOT_CHECKED = "not run yet"
DEFAULT_BATCHES, DEFAULT_OPTIONS = Batches(), BuildOptions()
_BUILD_LOCK = threading.Lock()


class EngineCache:
    """A folder of engines. Threads and processes may share it."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Nothing is made or read until an engine is asked for."""
        self.folder = default_folder() if folder is None else Path(folder)

    def get_or_build(
        self,
        file: ModelFile,
        *,
        batches: Batches = DEFAULT_BATCHES,
        shapes: Mapping[tuple[int, int], int] | None = None,
        options: BuildOptions = DEFAULT_OPTIONS,
        progress: Progress = no_progress,
        fresh: bool = False,
    ) -> Engine:
        """The engine of an ONNX file for the TensorRT and the GPU that are here: read, or built, which takes minutes.

        An entry that is damaged, or is another's under this key, is built once more.

        Args:
            file: The ONNX file.
            batches: As `profiles_for` takes them.
            shapes: As `profiles_for` takes them.
            options: What the builder may choose.
            progress: Told how far a build has come.
            fresh: Build it whatever the folder has; for an engine that TensorRT itself would not deserialise.

        Raises:
            BackendError: For what cannot be built or kept, or fails the file's self-test.
        """
        trt = import_tensorrt()
        selftest = file.selftest()
        request, planned = plan_build(trt, file, profiles_for(file.contract.resize, batches, shapes), options)
        path = self.folder / f"{_key(trt, planned)}.engine"
        engine = None if fresh else _read_valid(path, planned)
        if engine is not None:
            return engine
        writable = self._writable()
        with self._building(writable):
            engine = None if fresh else _read_valid(path, planned)  # another process may have built it meanwhile
            if engine is not None:
                return engine
            where = f"it is kept in {self.folder}" if writable else "it is not kept"
            _LOG.info("building the TensorRT engine of %s, which takes minutes; %s", file.path, where)
            engine = self._build(trt, request, planned, progress, writable)
            engine = check_engine(engine, file, selftest)
            return _keep(path, engine) if writable else engine

    def build(
        self, trt: ModuleType, request: BuildRequest, planned: Engine, progress: Progress = no_progress
    ) -> Engine:
        """Build one that is kept elsewhere: under the folder's lock and with its timings, if there can be a folder."""
        writable = self._writable()
        with self._building(writable):
            return self._build(trt, request, planned, progress, writable)

    def _build(
        self, trt: ModuleType, request: BuildRequest, planned: Engine, progress: Progress, writable: bool
    ) -> Engine:
        if is_rtx(trt) or not writable:
            built = build(trt, request, progress)
        else:
            name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{trt.__name__}-{trt.__version__}-{find_gpu().name}")
            path = self.folder / f"{name}.timings"
            timings = b""
            with suppress(OSError, BackendError):  # without them the build takes longer
                timings = read_private(path)
            built = build(trt, request, progress, timings)
            with suppress(OSError):
                lock_out_others(path)
                with atomic_write(path) as temporary:
                    temporary.write_bytes(built.timings)
                    lock_out_others(temporary)
        return replace(planned, blob=built.blob, profiles=built.profiles)

    def _writable(self) -> bool:
        """Make the folder; False, with a warning, where it cannot be. BackendError where others write to it."""
        try:
            make_private(self.folder)
            require_private(self.folder)
            ensure_writable(self.folder / "engine", force=True)
            return True
        except (OSError, StorageError) as error:
            warnings.warn(
                f"engines cannot be kept in {self.folder} ({error}): this one is built for this process alone "
                f"and again in the next; name a folder with {ENVIRONMENT}",
                stacklevel=3,
            )
            return False

    @contextmanager
    def _building(self, writable: bool) -> Iterator[None]:
        """One build at a time: in this process, and among those that share the folder."""
        with _BUILD_LOCK, exclusive_lock(self.folder, wait=True) if writable else nullcontext():
            yield


def plan_build(
    trt: ModuleType, file: ModelFile, profiles: tuple[Profile, ...], options: BuildOptions
) -> tuple[BuildRequest, Engine]:
    """What to ask of TensorRT here, and the engine that shall come of it, still without its bytes."""
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise BackendError(f"{file.path} cannot be read: {error.strerror}") from error
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    try:
        gpu = find_gpu()
    except NoGpuError:
        if not is_rtx(trt):
            raise
        gpu = None
    # Its scores were measured through the parent's graph, not through this engine.
    derived = replace(file.contract, parent=digest, scores=(), drift=None).to_json()
    origin = Origin(digest, trt.__name__, trt.__version__, gpu, options, _NOT_CHECKED)
    request = BuildRequest(str(file.path), content, file.contract.input, profiles, options)
    return request, Engine(b"", derived, profiles, origin)


def _read_valid(path: Path, planned: Engine) -> Engine | None:
    """The entry, None where there is none that can be used."""
    if not path.exists():
        return None
    require_private(path.parent)  # a folder that is not is an error, and not a reason to build again
    try:
        engine = read_entry(path)
        assert engine.origin is not None
        unchecked = replace(engine.origin, parity=_NOT_CHECKED)
        if (engine.contract_text, unchecked) == (planned.contract_text, planned.origin):
            return engine
        reason = f"{path} was built from something else than its name says"
    except BackendError as error:
        reason = str(error)
    warnings.warn(f"{reason}; building it again", stacklevel=3)
    return None


def _keep(path: Path, engine: Engine) -> Engine:
    """Write the entry and read it back."""
    try:
        write_engine(path, engine)
    except BackendError as error:  # minutes of work are not thrown away for a full disk
        warnings.warn(f"{error}: the engine serves this process alone", stacklevel=3)
        return engine
    try:
        return read_entry(path)
    except BackendError as error:
        raise BackendError(f"{path} was just written and cannot be used: {error}") from error


def _key(trt: ModuleType, planned: Engine) -> str:
    """32 hexadecimal digits of everything that the engine depends on."""
    assert planned.origin is not None
    facts = {
        "contract": planned.contract_text,
        "origin": asdict(planned.origin),
        "profiles": [asdict(profile) for profile in planned.profiles],
        "packages": _packages(trt),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _packages(trt: ModuleType) -> list[str]:
    """TensorRT's distributions: their names say for which CUDA they are made (`tensorrt_cu13-11.4.0.106.dist-info`)."""
    file = getattr(trt, "__file__", None)
    return [] if file is None else sorted(path.name for path in Path(file).parents[1].glob("tensorrt*.dist-info"))
