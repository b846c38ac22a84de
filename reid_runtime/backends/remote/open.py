"""A served model is opened: what the server states is read, held to what was stated here, and tried."""

import hashlib
import logging
import os
from dataclasses import dataclass

import numpy as np

from reid_runtime.agreement import compare, min_cosine
from reid_runtime.backends.remote.backend import RemoteBackend
from reid_runtime.backends.remote.client import Client, RefusedError, UnavailableError
from reid_runtime.backends.remote.statement import Statement, fixed_batch, input_name, output_name
from reid_runtime.backends.third_party import try_model
from reid_runtime.errors import BackendError, ContractError, MissingBackendError
from reid_runtime.images.decode import load_image
from reid_runtime.images.model_input import ModelInput, to_model_input
from reid_runtime.images.resize import resized
from reid_runtime.install import install_line
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.address import Address
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.file import read_stated
from reid_runtime.model_file.packaged import packaged_of, selftest_images
from reid_runtime.model_file.selftest import SelfTest
from reid_runtime.vectors import UNIT_TOLERANCE, Vectors

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """A model on a server, with the contract that the server or the user states."""

    address: Address
    backend: RemoteBackend
    contract: Contract
    artefact_id: str
    """The server's statement; without one, the digest of the vectors that it gives for the default model's crops."""
    record: SelfTest | None
    """Which vectors are right: by the packaged model of this contract id, else by the server; None: nobody says."""
    record_of: str = ""
    """Whose record that is."""


def open_served(address: Address, stated: str | os.PathLike[str] | None = None, *, checked: bool = True) -> ServedModel:
    """Open a model on a server.

    Args:
        address: Where it is.
        stated: A contract's JSON file, for a server that states none; of one that does, it must have the same id.
        checked: Whether a server that gives other vectors than the self-test record's is refused.

    Returns:
        The model.

    Raises:
        BackendError: For a server that is not there, does not run as the contract says, or gives other vectors.
        ContractError: Where nothing says which contract holds, or server and file differ.
    """
    source, client = str(address), _connected(address)
    try:
        metadata = client.metadata()
    except (UnavailableError, RefusedError) as error:
        raise BackendError(f"{error}; is a server there, with a model of this name?") from error
    statement = Statement.of(metadata, source)
    contract = _contract(statement, None if stated is None else read_stated(stated), source)
    names = input_name(metadata, contract.input, source), output_name(metadata, contract, source)
    backend = RemoteBackend(client, address, metadata, names, fixed_batch(metadata.inputs))
    path = packaged_of(contract.contract_id)
    record = statement.record if path is None else ModelFile.open(path).selftest()
    whose = "of the server itself" if path is None else f"of the packaged {path.stem}"
    crops = _inputs(selftest_images() if record is None else record.images, contract)
    if address.scheme == "kserve":
        _choose_form(client, backend, crops[0])
    if statement.contract is None:
        try:
            try_model(backend, contract)
        except BackendError as error:
            raise BackendError(f"{source}: {error}") from error
    rows = np.concatenate([backend.run(crop) for crop in crops])
    if checked:
        _check(rows, len(crops), record, contract, source)
        _check_company(backend, crops[0], rows[0], contract, source)
    artefact_id = statement.artefact_id or f"sha256:{hashlib.sha256(rows.astype('<f4').tobytes()).hexdigest()}"
    backend.watch(crops[0], rows[:1])
    return ServedModel(address, backend, contract, artefact_id, record, "" if record is None else whose)


def _connected(address: Address) -> Client:
    """The client of an address's scheme; MissingBackendError where its package is not installed."""
    try:
        if address.scheme == "kserve":
            from reid_runtime.backends.remote.http import HttpClient

            return HttpClient(address)
        from reid_runtime.backends.remote.grpc import GrpcClient

        return GrpcClient(address)
    except ImportError as error:
        raise MissingBackendError(f"tritonclient is needed and missing ({error}): {install_line('remote')}") from error


def _contract(statement: Statement, stated: Contract | None, source: str) -> Contract:
    if statement.contract is None and stated is None:
        raise ContractError(
            f"{source} states no contract, so nobody knows how its input must be prepared: state it with --contract "
            "FILE (contract=FILE), or lay it beside the model (python -m export.to_triton)"
        )
    if statement.contract is None or stated is None:
        chosen = statement.contract or stated
        assert chosen is not None
        return chosen
    theirs, ours = statement.contract.contract_id, stated.contract_id
    if theirs != ours:
        raise ContractError(f"{source} states the contract {theirs}, and {ours} was stated here: they must not mix")
    return statement.contract


def _inputs(images: tuple[bytes, ...], contract: Contract) -> list[ModelInput]:
    """The crops as the model takes them, each a batch of one."""
    return [to_model_input(resized(load_image(image), contract.resize)[np.newaxis], contract.input) for image in images]


def _choose_form(client: Client, backend: RemoteBackend, crop: ModelInput) -> None:
    """Send pixels as binary data; as numbers in the JSON to a server that refuses that, as MLServer does over HTTP."""
    try:
        backend.run(crop)
    except RefusedError:
        client.is_binary = False
        backend.run(crop)
        _LOG.warning(
            "%s takes no binary data over HTTP: pixels go as JSON, slowly; kserve+grpc:// is fast", backend.path
        )


def _check(rows: Vectors, crops: int, record: SelfTest | None, contract: Contract, source: str) -> None:
    """BackendError for vectors of so many crops that cannot be the model's."""
    expected, are_finite = (crops, contract.dimension), np.isfinite(rows).all()
    if rows.shape != expected or not are_finite:
        found = f"{rows.shape}{'' if are_finite else ' with NaN or infinity'}"
        raise BackendError(f"{source}: expected finite vectors {expected} for {crops} crops, found {found}")
    lengths = np.linalg.norm(rows, axis=1)
    if contract.unit_output and np.abs(lengths - 1).max() > UNIT_TOLERANCE:
        raise BackendError(
            f"{source}: the contract promises unit vectors, the server gave one of length {lengths.max():.4f}"
        )
    if record is None:
        return
    worst = compare(record.vectors, rows).worst_cosine if rows.shape == record.vectors.shape else np.nan
    least = min_cosine(contract.precision, "remote")
    if not worst >= least:  # NaN is none
        raise BackendError(
            f"{source}: the server does not give the model's vectors: expected cosines of at least {least}, found "
            f"{worst:.7f}: `reid-runtime verify --model {source}` says what drifts"
        )


def _check_company(backend: RemoteBackend, crop: ModelInput, alone: Vectors, contract: Contract, source: str) -> None:
    """BackendError where a crop has another vector in a batch than alone, as where a server mixes up the rows."""
    both: ModelInput = np.concatenate([crop, 255 - crop if crop.dtype == np.uint8 else -crop])  # and its negative
    ahead, behind = backend.run(both), backend.run(both[::-1])
    first, again = np.stack([alone, alone, ahead[1]]), np.stack([ahead[0], behind[1], behind[0]])
    worst = compare(first, again).worst_cosine
    if not worst >= min_cosine(contract.precision, "remote"):
        raise BackendError(
            f"{source}: the server gives a crop another vector in a batch of two than alone, at cosine {worst:.7f}: "
            "does it mix up the rows of a batch?"
        )
