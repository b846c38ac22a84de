"""Whether a server gives a model's vectors, and what drifts where it does not: the self-test, where the model runs."""

import os
from functools import partial
from pathlib import Path

from reid_runtime.backends.remote import open_served
from reid_runtime.diagnosis import diagnose
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ContractError
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import resized
from reid_runtime.inference import infer
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.address import Address
from reid_runtime.model_file.packaged import find_model, packaged_of, selftest_images
from reid_runtime.model_file.selftest import SelfTest
from reid_runtime.verification import BackendCheck, Verification, check_vectors


def verify_server(
    address: Address,
    contract: str | os.PathLike[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
) -> Verification:
    """Send the self-test's crops through a server, alone and in company, and hold the vectors to the right ones.

    Args:
        address: The server.
        contract: A JSON file that states the contract, for a server that states none.
        reference: The ONNX file that should be served there, or a packaged model's name: its record says which vectors
            are right, and it runs here beside the server. None for the packaged model of the contract id; where there
            is none, the record that the server itself carries, and without that the vectors are only compared with
            one another.

    Returns:
        What was found; a check that fails names what drifts.

    Raises:
        BackendError: For a server that is not there or does not run, or a reference that does not.
        ContractError: For a contract that is missing, or of another embedding space than the server's or the
            reference's.
    """
    served = open_served(address, contract, checked=False)
    path = packaged_of(served.contract.contract_id) if reference is None else find_model(reference)
    record, whose = served.record, served.record_of
    if reference is not None and path is not None:
        record, whose = _record(path, served.contract.contract_id), f"of {path}"
    embedder = Embedder(served.backend, served.contract, Path(address.name), artefact_id=served.artefact_id)
    images = selftest_images() if record is None else record.images
    check, vectors = check_vectors(embedder, images, None if record is None else record.vectors)
    if record is not None and vectors is not None and not check.ok and check.problem is None:
        crops = [resized(load_image(image), served.contract.resize) for image in images]
        local = None if path is None else Embedder.load(path, device="auto")
        words = diagnose(
            partial(infer, served.backend, served.contract),
            None if local is None else partial(infer, local.backend, local.contract),
            images, crops, record.vectors,
        )  # fmt: skip
        check = BackendCheck(check.backend, check.worst_cosine, check.largest_difference, check.bound, words)
    return Verification(
        Path(address.name), served.artefact_id, served.contract, record is not None, None, (check,),
        address=address, record_of=whose,
    )  # fmt: skip


def _record(path: Path, contract_id: str) -> SelfTest:
    """The record of the reference; ContractError for one of another embedding space, or without a record."""
    file = ModelFile.open(path)
    if file.contract.contract_id != contract_id:
        raise ContractError(
            f"{path} has the contract {file.contract.contract_id}, the server {contract_id}: it is no reference for it"
        )
    record = file.selftest()
    if record is None:
        raise ContractError(f"{path} carries no self-test record, so it says of no vector that it is right")
    return record
