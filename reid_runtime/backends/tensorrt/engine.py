"""An engine: TensorRT's compiled bytes, and the JSON beside them that says what they are and where they belong.

An engine is native code for one kind of GPU and one version of TensorRT, and TensorRT runs what it is given, tampered
with or not (https://docs.nvidia.com/deeplearning/tensorrt/11.4.0/reference/security.html). So a file is loaded only if
this user built it, by a record in the private folder of engines, and it still is, bit for bit, what
its sidecar says. `trust_engine=True` is the caller's word instead of the record.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType

from reid_runtime.backends.cuda.driver import Gpu
from reid_runtime.backends.tensorrt.profiles import Profile
from reid_runtime.backends.tensorrt.trust import is_trusted, lock_out_others, read_private, record_trust
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.io.atomic import atomic_write
from reid_runtime.io.decode import DecodeError, decode
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.formats import sidecar_path

VERSION = 1
_TRUST = "pass trust_engine=True (--trust-engine) if you know who made it"


@dataclass(frozen=True)
class BuildOptions:
    """What the builder may choose; the precision is none of it, that lies in the ONNX file."""

    tf32: bool = False
    """Round the inputs of float32 products to 10 bits. Off, so that every backend gives the same vectors."""
    level: int | None = None
    """`builder_optimization_level`, 0 to 5: how long TensorRT looks for faster kernels; None is its own default."""
    workspace_mib: int | None = None
    """Scratch memory that a kernel may use; None is the whole GPU."""
    compute_capabilities: tuple[str, ...] = ()
    """Of TensorRT-RTX alone: the GPUs to build for, as in `8.6`; none of them is its default, 8.0 and later."""


@dataclass(frozen=True)
class Origin:
    """How an engine came to be."""

    onnx: str
    """`artefact_id` of the ONNX file, `sha256:…`."""
    package: str
    version: str
    gpu: Gpu | None
    """The GPU that it was built on; None where TensorRT-RTX built it without one."""
    options: BuildOptions
    parity: str
    """The result of the comparison with ONNX Runtime."""


@dataclass(frozen=True)
class Engine:
    """Ready to be deserialised: its bytes were checked, or are trusted on the caller's word."""

    blob: bytes = field(repr=False)
    contract_text: str | None
    """The contract's JSON; None where nobody wrote one."""
    profiles: tuple[Profile, ...]
    """In the order of their indices in the engine; empty where nobody wrote them down."""
    origin: Origin | None = None
    """None for an engine that was made elsewhere and is trusted on the caller's word."""

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes, `sha256:…`."""
        return f"sha256:{hashlib.sha256(self.blob).hexdigest()}"


@dataclass(frozen=True)
class _Sidecar:
    """The JSON's fields, but for version and contract."""

    digest: str
    origin: Origin
    profiles: tuple[Profile, ...]


def sidecar_text(engine: Engine) -> str:
    """The JSON of an engine that was built here."""
    assert engine.origin is not None
    assert engine.contract_text is not None
    values = asdict(_Sidecar(engine.digest, engine.origin, engine.profiles))
    contract = json.loads(engine.contract_text)
    return json.dumps({"version": VERSION, "contract": contract, **values}, sort_keys=True, indent=1)


def write_engine(path: Path, engine: Engine) -> None:
    """Write an engine and its sidecar, each atomically, and record that they were built here; BackendError if it fails.

    A process killed between the two leaves an engine that its sidecar does not fit, which is refused.
    """
    text = sidecar_text(engine)
    try:
        for replaced in (path, sidecar_path(path)):
            lock_out_others(replaced)
        with atomic_write(path) as blob, atomic_write(sidecar_path(path)) as sidecar:
            blob.write_bytes(engine.blob)
            sidecar.write_text(text, encoding="utf-8", newline="")
            for temporary in (blob, sidecar):
                lock_out_others(temporary)  # whatever the umask: it is code
    except OSError as error:
        raise BackendError(f"{path} cannot be written: {error.strerror}") from error
    record_trust(text)


def read_engine(path: Path, trust_engine: bool = False) -> Engine:
    """The engine at `path`, compared with its sidecar and the record of what was built here, before it is deserialised.

    trust_engine: load an engine that nothing says this user built here. It is code: whoever made it decides what
    this process does. One that is not what its sidecar says is refused all the same: that is damage.
    """
    blob, sidecar = _read(path)
    if sidecar is None:
        if trust_engine:
            return Engine(blob, None, ())
        raise BackendError(
            f"{path} has no {sidecar_path(path).name}, and an engine is code: build it with python -m "
            f"export.to_tensorrt, or {_TRUST}"
        )
    engine = _parse_sidecar(blob, sidecar, path)
    if not trust_engine and not is_trusted(sidecar):
        raise BackendError(
            f"{path} was not built here by this user, or its sidecar was changed since, and an engine is code: build "
            f"it here with python -m export.to_tensorrt, or {_TRUST}"
        )
    return engine


def read_entry(path: Path) -> Engine:
    """The same for an engine in a private folder, where its path and the files' owner say who built it."""
    blob, sidecar = _read(path, read_private)
    if sidecar is None:
        raise BackendError(f"{path} has no {sidecar_path(path).name} beside it")
    return _parse_sidecar(blob, sidecar, path)


def _read(path: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> tuple[bytes, str | None]:
    """The two files; None for a sidecar that is not there."""
    sidecar = sidecar_path(path)
    try:
        return read(path), read(sidecar).decode() if sidecar.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"{path}: the engine, or its sidecar, cannot be read: {error}") from error


def _parse_sidecar(blob: bytes, text: str, path: Path) -> Engine:
    source = sidecar_path(path)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"{source} is not JSON: {error}; build the engine again") from error
    if not isinstance(values, dict) or values.pop("version", None) != VERSION:
        raise BackendError(f"{source}: expected an engine's sidecar of version {VERSION}; build the engine again")
    contract = json.dumps(values.pop("contract", None), sort_keys=True, ensure_ascii=False)
    try:
        sidecar: _Sidecar = decode(_Sidecar, values, f"{source}: engine")
        Contract.from_json(contract, str(source))
    except (ContractError, DecodeError) as error:
        raise BackendError(f"{error}; build the engine again") from error
    engine = Engine(blob, contract, sidecar.profiles, sidecar.origin)
    if engine.digest != sidecar.digest:
        raise BackendError(
            f"{path} is not the file that {source.name} describes: expected {sidecar.digest}, found {engine.digest}; "
            "build it again"
        )
    return engine


def require_fit(engine: Engine, trt: ModuleType, here: Gpu) -> None:
    """A BackendError where an engine was built by another TensorRT, or for another GPU, than there is here.

    https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/engine-compatibility.html
    """
    if engine.origin is None:
        return
    origin = engine.origin
    built_by, installed = f"{origin.package} {origin.version}", f"{trt.__name__} {trt.__version__}"
    if built_by != installed:
        raise BackendError(f"the engine was built by {built_by}, here is {installed}: build it again here")
    targets = origin.options.compute_capabilities
    if targets and here.compute_capability not in targets:
        raise BackendError(
            f"the engine was built for compute capability {', '.join(targets)}, {here.name} has "
            f"{here.compute_capability}: build it again here"
        )
    # TensorRT-RTX picks its kernels where the engine is loaded.
    if origin.gpu is not None and origin.package == "tensorrt" and replace(origin.gpu, cuda=here.cuda) != here:
        raise BackendError(f"the engine was built for {origin.gpu}, here is {here}: build it again here")
