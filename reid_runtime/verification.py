"""Whether a model file is the one that was written, and gives its vectors on every backend of this machine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reid_runtime.agreement import compare, min_cosine
from reid_runtime.backends import REGISTRY, devices_for
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, ContractError, DamagedFileError, ImageError, MissingBackendError
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.address import Address
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.file import artefact_digest, carried_contract, known_contract, read_selftest, require_file
from reid_runtime.model_file.formats import ONNX, TENSORRT, format_of
from reid_runtime.model_file.packaged import selftest_images
from reid_runtime.model_file.selftest import SelfTest
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
        """Whether its vectors are within the bound; NaN is not."""
        compared = self.worst_cosine is not None and self.bound is not None and self.worst_cosine >= self.bound
        return compared and self.problem is None


@dataclass(frozen=True)
class Verification:
    """One model file on this machine."""

    path: Path
    artefact_id: str
    contract: Contract | None = None
    """None for a file that is damaged, or that no backend could load."""
    selftest: bool = True
    """Whether vectors were compared with the file's own record; without one, with one another."""
    damage: str | None = None
    """What in the file is not as it was written; it was then not run."""
    checks: tuple[BackendCheck, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    """The devices that are not here, each with the reason."""
    address: Address | None = None
    """Of a model on a server."""
    record_of: str = ""
    """Whose record says which vectors of a server are right; empty where nobody does."""

    @property
    def ok(self) -> bool:
        """Whether the file is intact and every backend that is here, at least one, gives its vectors."""
        return self.damage is None and bool(self.checks) and all(check.ok for check in self.checks)


def verify(path: Path, device: str = "auto", contract: str | os.PathLike[str] | None = None) -> Verification:
    """Repeat a model file's self-test: first its bytes, then its vectors on each backend.

    Args:
        path: The model file.
        device: "auto" for every one that is here and keeps the file's precision, or the name of one, which then must
            be here.
        contract: A JSON file that states the contract of a model that carries none. Nobody knows the right vectors of
            such a model, so it is held to what every model must do: load; give finite vectors at several sizes, other
            ones for other crops, the same for a crop alone and in company, and the same on every backend. The crops
            are then the default model's.

    Returns:
        What was found; what is wrong with the model itself is in it.

    Raises:
        ContractError: For a model without a record, or a contract that cannot be used.
        BackendError: For a named device that is not here, or an engine; DamagedFileError for a pipe or a device.
    """
    require_file(path)
    if format_of(path) is TENSORRT:
        raise BackendError(
            f"{path} is a TensorRT engine, its self-test record lies in its ONNX file: verify that one with "
            "--device tensorrt"
        )
    try:
        # First the bytes: a damaged contract is damage, whatever its JSON has become.
        record = read_selftest(path)
        carries = carried_contract(path) is not None
    except DamagedFileError as error:
        return Verification(path, artefact_digest(path), damage=str(error))
    if record is None:
        _require_statable(path, carries, contract is not None or known_contract(path) is not None)
    file = ModelFile.open(path, contract)
    images = selftest_images() if record is None else record.images
    expected = None if record is None else record.vectors
    loaded, checks, absent = None, [], {}
    for name in _devices(path, device):
        try:
            embedder = Embedder.load(file, device=name)
        except MissingBackendError as error:
            if device != "auto":
                raise
            absent[name] = str(error)
            continue
        except BackendError as error:
            checks.append(BackendCheck(name, problem=str(error)))
            continue
        check, vectors = check_vectors(embedder, images, expected)
        checks.append(check)
        if vectors is not None:
            loaded = embedder.contract
            expected = vectors if expected is None else expected
    return Verification(path, file.artefact_id, loaded, record is not None, None, tuple(checks), absent)


def _require_statable(path: Path, carries: bool, stated: bool) -> None:
    """ContractError for a file without a record from which nothing at all can be held to anything."""
    if carries and format_of(path) is ONNX:
        raise ContractError(
            f"{path} carries a contract and no self-test record: it was exported before there were any, or lost it on "
            "its way; export it again"
        )
    if not carries and not stated:
        raise ContractError(
            f"{path} carries no self-test record, so nothing says which vectors are right: with --contract FILE it is "
            "verified as far as it can be; `reid-runtime describe` drafts that file"
        )


def _devices(path: Path, device: str) -> Sequence[str]:
    if device != "auto":
        return (device,)
    return [name for name in devices_for(path) if REGISTRY[name].rounds is None]


def run_selftest(embedder: Embedder, record: SelfTest) -> BackendCheck:
    """The record's crops through an embedder, each alone and all in one call, held to the recorded vectors."""
    return check_vectors(embedder, record.images, record.vectors)[0]


def check_vectors(
    embedder: Embedder, images: Sequence[bytes], expected: Vectors | None
) -> tuple[BackendCheck, Vectors | None]:
    """Images through an embedder, each alone and all in one call, held to the expected vectors.

    Returns:
        What came of it, and the vectors (N, D) of the images alone, None where there are none; without `expected` these
        are held to those in company.
    """
    name = embedder.backend.name
    try:
        alone = np.concatenate([embedder.embed([image]) for image in images])
        together = embedder.embed(images)
    except (BackendError, ImageError) as error:
        return BackendCheck(embedder.backend.device, problem=str(error)), None
    expected = alone if expected is None else expected
    if expected.shape != alone.shape:
        unlike = f"expected vectors {expected.shape}, as recorded, found {alone.shape}"
        return BackendCheck(name, problem=unlike), alone
    seen = compare(np.concatenate([expected, expected]), np.concatenate([alone, together]))
    blind = len(alone) > 1 and np.abs(alone - alone[0]).max() <= _SAME
    least = min_cosine(embedder.contract.precision, embedder.backend.device)
    problem = "it gives one vector for all crops" if blind else None
    return BackendCheck(name, seen.worst_cosine, seen.largest_difference, least, problem), alone
