"""The self-test record: crops that travel with a model, the vectors it gave for them, and digests of its parts.

It lies in the ONNX file's metadata beside the contract. With it a machine can tell that a model file is the one that
was written, bit for bit, and that it gives the vectors here that it gave there. It is no signature: who can change a
model can record it anew. The crops are whole images, before the contract's resize, so that reading and resizing them
are held to the vectors as well.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from reid_runtime.errors import ContractError, DamagedFileError
from reid_runtime.model_file.contract import METADATA_KEY as CONTRACT_KEY
from reid_runtime.model_file.onnx import read_onnx_file
from reid_runtime.vectors import Vectors

VERSION = 1
METADATA_KEY = "reid_runtime.pinned"
"""The key of an ONNX file's metadata under which the JSON lies."""

_FIELDS = ("contract", "graph", "images", "record", "vectors")


@dataclass(frozen=True, eq=False)
class SelfTest:
    """What a model file must still be, and still give."""

    graph: str
    """Digest of everything in the file but its metadata, `sha256:…`."""
    contract: str
    """Digest of the contract's text, `sha256:…`."""
    images: tuple[bytes, ...]
    """PNG files of crops, at least one."""
    vectors: Vectors
    """(N, D) float32: what the model gave for them, through the whole runtime, when it was written."""

    def to_json(self) -> str:
        """The JSON text, keys sorted; its field `record` is the digest of the others, so that no bit goes unwatched."""
        values = {
            "version": VERSION,
            "graph": self.graph,
            "contract": self.contract,
            "images": [base64.b64encode(image).decode() for image in self.images],
            "vectors": [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in self.vectors],
        }
        return json.dumps(values | {"record": text_digest(json.dumps(values, sort_keys=True))}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> "SelfTest":
        """The record in a JSON text; raises ContractError for another version, DamagedFileError for any other fault."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{source}: the self-test record is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise DamagedFileError(
                f"{source}: expected a JSON object as self-test record, found {type(values).__name__}"
            )
        version = values.pop("version", None)
        if version != VERSION:
            raise ContractError(
                f"{source}: the self-test record's version is {version!r}, this release reads version {VERSION}: "
                "export the model again, or install the release that wrote it"
            )
        if tuple(sorted(values)) != _FIELDS:
            raise DamagedFileError(
                f"{source}: expected the self-test record's fields {list(_FIELDS)}, found {sorted(values)}"
            )
        try:
            decode = partial(base64.b64decode, validate=True)
            vectors = np.array([np.frombuffer(decode(each), "<f4") for each in values["vectors"]], np.float32)
            record = cls(values["graph"], values["contract"], tuple(map(decode, values["images"])), vectors)
            intact = record.to_json() == text
        except (TypeError, ValueError, AttributeError) as error:
            raise DamagedFileError(f"{source}: the self-test record cannot be read: {error}") from error
        if not intact:
            raise DamagedFileError(
                f"{source}: the self-test record is not what was written: its own digest says otherwise"
            )
        if not (0 < len(record.images) == len(record.vectors)) or not np.isfinite(record.vectors).all():
            raise DamagedFileError(
                f"{source}: expected a finite vector for each of one or more crops, "
                f"found {len(record.vectors)} for {len(record.images)}"
            )
        return record


def text_digest(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, `sha256:…`."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def verified_record(path: Path) -> SelfTest | None:
    """The record of an ONNX file whose every bit is as it was written; None for a file that never had one.

    Raises DamagedFileError that names which part, graph, contract or record, is not what was written.
    """
    file = read_onnx_file(path)
    text = file.metadata.get(METADATA_KEY)
    if text is None:
        return None
    record = SelfTest.from_json(text, str(path))
    contract = file.metadata.get(CONTRACT_KEY)
    parts = {
        "graph": (record.graph, file.graph),
        "contract": (record.contract, None if contract is None else text_digest(contract)),
    }
    altered = [
        f"its {part} is {'missing' if now is None else now}, {then} was written"
        for part, (then, now) in parts.items()
        if now != then
    ]
    foreign = sorted(file.metadata.keys() - {METADATA_KEY, CONTRACT_KEY})
    if foreign:
        altered.append(f"its metadata also hold {foreign}, which were not written")
    if altered:
        raise DamagedFileError(f"{path} is damaged: {'; '.join(altered)}; fetch or export it again")
    return record
