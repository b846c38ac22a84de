"""What a server states of its model beside the protocol: contract, artefact id, self-test record."""

import re
from dataclasses import dataclass

from reid_runtime.backends.base import one_output
from reid_runtime.backends.remote.client import Metadata, Port
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.model_file.contract import METADATA_KEY, Contract
from reid_runtime.model_file.selftest import METADATA_KEY as SELFTEST_KEY
from reid_runtime.model_file.selftest import SelfTest, text_digest

ARTEFACT_KEY = "reid_runtime.artefact_id"
"""The parameter that names the bytes that the server runs, `sha256:…`."""
_DATATYPES = {"uint8": "UINT8", "float32": "FP32", "float16": "FP16"}


@dataclass(frozen=True)
class Statement:
    """What a model's parameters on a server say of it."""

    contract: Contract | None
    artefact_id: str | None
    record: SelfTest | None

    @classmethod
    def of(cls, metadata: Metadata, source: str) -> "Statement":
        """Read the parameters; ContractError for what is there and is not what it must be."""
        text, digest = metadata.parameters.get(METADATA_KEY), metadata.parameters.get(ARTEFACT_KEY)
        contract = None if text is None else Contract.from_json(text, source)
        if digest is not None and not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            raise ContractError(f"{source}: expected sha256:… as {ARTEFACT_KEY}, found {digest[:80]!r}")
        recorded = metadata.parameters.get(SELFTEST_KEY)
        record = None if recorded is None else SelfTest.from_json(recorded, source)
        if record is not None and (text is None or record.contract != text_digest(text)):
            raise ContractError(f"{source}: its self-test record was written for another contract than it states")
        return cls(contract, digest, record)


def input_name(metadata: Metadata, form: InputFormat, source: str) -> str:
    """The input that takes the images; BackendError where the server's model takes another kind of them."""
    if not metadata.inputs:  # MLServer's and KServe's models need not say
        return "images"
    if len(metadata.inputs) != 1:
        names = ", ".join(port.name for port in metadata.inputs)
        raise BackendError(f"{source}: expected a model with one input, the images, found {names}")
    (port,) = metadata.inputs
    channels, other = (-1, -3) if form.layout == "NHWC" else (-3, -1)
    expected = f"{_DATATYPES[form.dtype]} {form.layout}"
    found = f"{port.datatype} {list(port.shape)}"
    is_shape = not port.shape or (
        len(port.shape) == 4 and (port.shape[channels] == 3 or (port.shape[channels] == -1 and port.shape[other] != 3))
    )
    if port.datatype not in (_DATATYPES[form.dtype], "") or not is_shape:
        raise BackendError(f"{source}: its input {port.name} takes {found}, and the contract says {expected}")
    return port.name


def output_name(metadata: Metadata, contract: Contract, source: str) -> str | None:
    """The output that is the vector; None where neither server nor contract names one. BackendError otherwise."""
    if not metadata.outputs:
        return contract.output
    name = one_output([port.name for port in metadata.outputs], contract.output, source)
    (port,) = (each for each in metadata.outputs if each.name == name)
    if port.shape and port.shape[-1] not in (-1, contract.dimension) and len(port.shape) == 2:
        raise BackendError(
            f"{source}: its output {name} has {port.shape[-1]} numbers, and the contract says {contract.dimension}"
        )
    return name


def fixed_batch(ports: tuple[Port, ...]) -> int | None:
    """The size of the batches that an input takes alone; None where it takes any, or does not say."""
    size = ports[0].shape[0] if ports and ports[0].shape else -1
    return size if size > 0 else None
