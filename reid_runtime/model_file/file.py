"""A model file and what it says of itself: format, contract, self-test record, digests."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reid_runtime.errors import BackendError, ContractError, DamagedFileError
from reid_runtime.model_file.contract import METADATA_KEY, Contract
from reid_runtime.model_file.external import require_one_file
from reid_runtime.model_file.formats import DIGEST_KEY, ONNX, TENSORRT, Format, format_of
from reid_runtime.model_file.known import KNOWN
from reid_runtime.model_file.selftest import SelfTest, verified_record


@dataclass(frozen=True)
class ModelFile:
    """A model file on disk, with the contract that it carries or that was stated for it.

    Attributes:
        path: The file.
        format: ONNX, OpenVINO's IR or a TensorRT engine.
        contract: What the model promises.
        is_stated: Whether that was read of a file beside it, which may say of a third-party model what is not so.
        stamps: What the system says of the files, taken before they were read: they change when the files do.
    """

    path: Path
    format: Format
    contract: Contract
    is_stated: bool = False
    stamps: tuple[tuple[int, ...] | None, ...] = ()

    @classmethod
    def open(cls, path: str | os.PathLike[str], stated: Contract | str | os.PathLike[str] | None = None) -> "ModelFile":
        """Read what a model file says of itself; nothing of the model is loaded or run.

        Args:
            path: An ONNX file, OpenVINO's .xml or a TensorRT engine, known by the suffix.
            stated: The contract of a model that carries none, or the JSON file in which it is.

        Returns:
            The file with its contract.

        Raises:
            BackendError: Where there is no such file, or an ONNX file keeps weights in another one; DamagedFileError
                where it is not what its suffix says.
            ContractError: For a contract that is missing, damaged, both carried and stated, or written for other
                weights than the file's.
        """
        path = Path(path)
        kind = format_of(path)
        stamps = _stamps(path)
        text = carried_contract(path)
        if text is not None:
            if stated is not None:
                name = "the one stated" if isinstance(stated, Contract) else os.fspath(stated)
                raise ContractError(f"{path} carries its own contract; {name} must not be stated beside it")
            return cls(path, kind, Contract.from_json(text, str(path)), stamps=stamps)
        if stated is None:
            known = known_contract(path)
            if known is not None:
                return cls(path, kind, known, stamps=stamps)
            raise ContractError(
                f"{path} carries no contract, so nobody knows how its input must be prepared: state it with --contract "
                f"FILE (contract=FILE), which `reid-runtime describe {path} --preset imagenet-rgb -o FILE` drafts"
            )
        if isinstance(stated, Contract):  # of a program that made the file, as the exports are
            return cls(path, kind, stated, stamps=stamps)
        contract = read_stated(stated)
        if kind is not TENSORRT:  # an engine's bytes are another's on every machine; who trusts it vouches for it
            _require_weights(path, contract)
        return cls(path, kind, contract, is_stated=True, stamps=stamps)

    @cached_property
    def artefact_id(self) -> str:
        """Digest of the file's bytes, as `artefact_digest` has it."""
        return artefact_digest(self.path)

    def require_unchanged(self) -> None:
        """A BackendError where a file has changed since it was opened: its digest would be of other bytes than it ran.

        For the moment when contract and digest are known and the model is loaded.
        """
        if self.stamps and self.stamps != _stamps(self.path):
            raise BackendError(f"{self.path} was changed while it was loaded: load it again")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the model is made of, one or two."""
        return tuple(dict.fromkeys((self.path, self.format.weights(self.path))))

    def selftest(self) -> SelfTest | None:
        """The record that the file carries, once its bytes are seen to be those that were written.

        Returns:
            The record; None for a file, or a format, without one.

        Raises:
            DamagedFileError: Where graph, contract, record or engine is not what was written.
        """
        return read_selftest(self.path)


def read_selftest(path: Path) -> SelfTest | None:
    """As `ModelFile.selftest`, for a file whose contract was not read yet: what damaged it is told as damage."""
    kind = format_of(path)
    if kind is ONNX:
        return verified_record(path)
    digest = artefact_digest(path)
    written = kind.read_metadata(path).get(DIGEST_KEY, digest)
    if written != digest:
        raise DamagedFileError(f"{path} is damaged: {written} was written, {digest} is there; build it again")
    return None


def carried_contract(path: Path) -> str | None:
    """The contract's JSON that a model file carries, None where it carries none; raises as `ModelFile.open` does."""
    require_file(path)
    text = format_of(path).read_metadata(path).get(METADATA_KEY)
    if format_of(path) is ONNX:
        require_one_file(path)
    return text


def _stamps(path: Path) -> tuple[tuple[int, ...] | None, ...]:
    """Of each of a model's files its place, size and times, of which every change alters the last."""
    return tuple(_stamp(each) for each in dict.fromkeys((path, format_of(path).weights(path))))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def known_contract(path: Path) -> Contract | None:
    """The contract of a published model's file, known by its weights; None for any other."""
    return KNOWN.get(weights_digest(path))


def require_file(path: Path) -> None:
    """Raises BackendError where there is no file, DamagedFileError for a pipe or a device: reading might never end."""
    if os.path.isfile(path):  # False where Path.is_file would raise: a name too long, a folder out of bounds
        return
    if os.path.exists(path):
        raise DamagedFileError(f"{path} is a pipe, a device or a folder; expected a model file on a disk")
    hint = "; the network is not used: fetch it first" if ":/" in str(path) else ""
    raise BackendError(f"{path}: no such model file{hint}")


def artefact_digest(path: Path) -> str:
    """SHA-256 of a model file's bytes, `sha256:…`; OpenVINO's .bin, which belongs to its .xml, is counted in."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    weights = format_of(path).weights(path)
    if weights != path and weights.is_file():
        digest.update(weights.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def weights_digest(path: Path) -> str:
    """SHA-256 of the file in which a model's weights lie, `sha256:…`: what a stated contract names them by."""
    weights = format_of(path).weights(path)
    with open(weights if weights.is_file() else path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _require_weights(path: Path, contract: Contract) -> None:
    """ContractError where a contract was written for other weights: two models would have one name."""
    digest = weights_digest(path)
    if contract.weights != digest:
        stated, there = (value.removeprefix("sha256:")[:12] for value in (contract.weights, digest))
        raise ContractError(
            f"the stated contract was written for the weights {stated}, here are {there}: write one for "
            f"these, reid-runtime describe {path} -o FILE"
        )


def read_stated(file: str | os.PathLike[str]) -> Contract:
    """The contract in a JSON file; ContractError for a file that is not there, or holds none."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")  # Windows' editors put a mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{os.fspath(file)}: the contract cannot be read: {error}") from error
    return Contract.from_json(text, os.fspath(file))
