"""Whether a model file is the one that was written, and gives its vectors on every backend of this machine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reid_runtime.agreement import compare, min_cosine
from reid_runtime.backends import REGISTRY, devices_for
from reid_runtime.embedder import Embedder, artefact_digest, default_model
from reid_runtime.errors import BackendError, ContractError, ImageError, MissingBackendError
from reid_runtime.model_file.contract import METADATA_KEY, Contract
from reid_runtime.model_file.onnx import DamagedFileError, read_onnx_file, require_file
from reid_runtime.model_file.selftest import Pinned, whole_record
from reid_runtime.vectors import Vectors

_SAME = 1e-6
"""Vectors of different crops that differ by no more come from a model that does not look at its input."""


@dataclass(frozen=True)
class BackendCheck:
    """What one backend gave for the crops, each of them alone and all in one call."""

    backend: str
    """Its own name; the device's, where it could not be opened."""
    worst_cosine: float | None = None
    largest_difference: float | None = None
    """Of one component."""
    bound: float | None = None
    """The least cosine that passes."""
    problem: str | None = None
    """Why there are no vectors to compare, or what is wrong with them besides; None where nothing is."""

    @property
    def ok(self) -> bool:
        """Whether the backend is held to the vectors; NaN is not."""
        compared = self.worst_cosine is not None and self.bound is not None and self.worst_cosine >= self.bound
        return compared and self.problem is None


@dataclass(frozen=True)
class Verification:
    """What was found out about one model file on this machine."""

    path: Path
    artefact_id: str
    contract: Contract | None = None
    """None for a file that is damaged, or that no backend could load."""
    pinned: bool = True
    """Whether vectors were compared with the file's own record; without one, with one another."""
    damage: str | None = None
    """What in the file is not as it was written; it was then not run."""
    checks: tuple[BackendCheck, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    """The devices that are not here, each with the reason."""

    @property
    def ok(self) -> bool:
        """Whether the file is whole and every backend that is here, at least one, is held."""
        return self.damage is None and bool(self.checks) and all(check.ok for check in self.checks)


def verify(path: Path, device: str = "auto", contract: str | os.PathLike[str] | None = None) -> Verification:
    """Hold a model file to its pinned record: first its bytes, then its vectors on each backend.

    device: "auto" for every one that is here and keeps the file's precision, or the name of one, which then must be
    here.
    contract: a JSON file that states the contract of a model that carries none. Nobody knows the right vectors of
    such a model, so it is held to what every model must do: load; give finite vectors at several sizes, other ones
    for other crops, the same for a crop alone and in company, and the same on every backend. The crops are then the
    embedded default model's.

    Raises ContractError for a model without a record, or a contract that cannot be used, and BackendError for a named
    device that is not here, or an engine; DamagedFileError for a pipe or a device. What is wrong with the model itself
    is in the result.
    """
    if path.suffix == ".engine":
        raise BackendError(
            f"{path} is a TensorRT engine, what is pinned lies in its ONNX file: verify that one with --device tensorrt"
        )
    require_file(path)
    artefact_id = artefact_digest(path)
    try:
        record = None if path.suffix == ".xml" else _record(path)
    except DamagedFileError as error:
        return Verification(path, artefact_id, damage=str(error))
    if record is None and contract is None:
        raise ContractError(
            f"{path} carries no pinned record, so nothing says which vectors are right: with --contract FILE it is "
            "verified as far as it can be; `reid-runtime describe` drafts that file"
        )
    crops = record or _record(default_model())
    if crops is None:
        raise ContractError(f"{default_model()} has no pinned record: the installation is damaged, reinstall it")
    expected = None if record is None else record.vectors
    known, checks, absent = None, [], {}
    for name in _devices(path, device):
        try:
            embedder = Embedder.load(path, device=name, contract=contract)
            alone = np.concatenate([embedder.embed([image]) for image in crops.images])
            together = embedder.embed(crops.images)
        except MissingBackendError as error:
            if device != "auto":
                raise
            absent[name] = str(error)
            continue
        except (BackendError, ImageError) as error:
            checks.append(BackendCheck(name, problem=str(error)))
            continue
        known = embedder.contract
        expected = alone if expected is None else expected
        checks.append(_compared(embedder, expected=expected, alone=alone, together=together))
    return Verification(path, artefact_id, known, record is not None, None, tuple(checks), absent)


def _record(path: Path) -> Pinned | None:
    """The file's record, once its bytes are found to fit it; None for somebody else's model."""
    file = read_onnx_file(path)
    record = whole_record(file, path)
    if record is None and METADATA_KEY in file.metadata:
        raise ContractError(
            f"{path} carries a contract and no pinned record: it was exported before there were any, or lost it on "
            "its way; export it again, or add one with python -m export.pin"
        )
    return record


def _devices(path: Path, device: str) -> Sequence[str]:
    if device != "auto":
        return (device,)
    return [name for name in devices_for(path) if REGISTRY[name].rounds is None]


def _compared(embedder: Embedder, expected: Vectors, alone: Vectors, together: Vectors) -> BackendCheck:
    name = embedder.backend.name
    if expected.shape != alone.shape:
        return BackendCheck(name, problem=f"expected vectors {expected.shape}, as pinned, found {alone.shape}")
    seen = compare(np.concatenate([expected, expected]), np.concatenate([alone, together]))
    blind = len(alone) > 1 and np.abs(alone - alone[0]).max() <= _SAME
    return BackendCheck(
        name,
        seen.worst_cosine,
        seen.largest_difference,
        min_cosine(embedder.contract.precision, embedder.backend.device),
        "it gives one vector for all crops" if blind else None,
    )
