"""From one artefact to another: read whole, changed, written beside, proved against its parent, and only then named."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path

import click
import onnx
from onnx import TensorProto

from export.gate import Evidence, Proof, Reference, gate_options, prove, read_evidence
from export.graph import write_contract, write_model
from export.parity import ParityError
from reid_runtime.agreement import TOLERANCES
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.model_file.precision import Precision
from reid_runtime.verification import verify


class ExportError(ReidRuntimeError):
    """What cannot be exported, or cannot be derived from."""


@dataclass(frozen=True)
class Parent:
    """A float32 ONNX file of ours that is whole, and what it gives on the evidence."""

    path: Path
    reference: Reference
    evidence: Evidence

    @classmethod
    def read(cls, path: Path, evidence: Evidence) -> "Parent":
        """Raises ExportError for a file that its own record says is damaged, or that is no float32 root of ours."""
        problem = _refused(path)
        if problem is not None:
            raise ExportError(f"{path} is not the model that was written: {problem}; nothing is derived from it")
        embedder = Embedder.load(path, device="cpu")
        contract = embedder.contract
        if contract.precision != Precision("float32") or contract.parent is not None or contract.input != InputFormat():
            raise ExportError(
                f"{path}: expected a float32 export of ours, uint8 RGB in, found precision {contract.precision}, "
                f"parent {contract.parent}, input {contract.input}: derive from the float32 file"
            )
        parent = cls(path, Reference.on(embedder, evidence), evidence)
        other = _not_float32(parent.model)
        if other is not None:
            raise ExportError(f"{path}: its contract says float32, but {other}: derive from the float32 file")
        return parent

    @property
    def model(self) -> onnx.ModelProto:
        """Its graph, a copy to change."""
        return onnx.load(str(self.path))


def require_verified(path: Path) -> None:
    """Raises ParityError for a new file that `reid-runtime verify` would refuse.

    The gate gives artefact and reference the same batches; verify tells vectors that depend on their company.
    """
    problem = _refused(path)
    if problem is not None:
        raise ParityError(f"the artefact does not pass `reid-runtime verify`: {problem}")


def _refused(path: Path) -> str | None:
    """What verify finds wrong with a file on ONNX Runtime's CPU, where its vectors were pinned."""
    found = verify(path, "cpu")
    if found.ok:
        return None
    problems = [found.damage] if found.damage else [check.problem or "its vectors" for check in found.checks]
    cosines = [f"worst cosine {check.worst_cosine}" for check in found.checks if check.worst_cosine is not None]
    return "; ".join([*map(str, problems), *cosines])


def _not_float32(model: onnx.ModelProto) -> str | None:
    """What in a graph is rounded to fewer bits already."""
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            return f"{node.name!r} rounds to integers"
    for tensor in model.graph.initializer:
        if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            return f"{tensor.name!r} is of {TensorProto.DataType.Name(tensor.data_type)}"
    return None


def derive(parent: Parent, output: Path, model: onnx.ModelProto, precision: Precision) -> Proof:
    """Write `model` to `output` if, and only if, its vectors are the parent's, as far as its precision allows.

    Its contract is the parent's but for the name, the precision, the parent, the drift that the gate measured, and
    the scores, which are its own. Raises ParityError, and leaves no file, where the gate is not passed.
    """
    known = parent.reference.embedder
    contract = replace(
        known.contract, name=output.stem, precision=precision, parent=known.artefact_id, scores=(), drift=None
    )
    with atomic_write(output) as beside:
        write_model(beside, model, contract)
        candidate = Embedder.load(beside, device="cpu")
        proof = prove(parent.reference, candidate, TOLERANCES[precision.kind], parent.evidence)
        scores = () if proof.score is None else (proof.score,)
        write_contract(beside, replace(contract, drift=proof.drift(), scores=scores))
        require_verified(beside)
    return proof


def derivation(export: Callable[[Parent, Path], Proof]) -> click.Command:
    """The command of an artefact that follows from its parent alone: `export` writes it, its docstring is the help."""

    @click.command()
    @click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
    @gate_options
    @click.option("--force", is_flag=True, help="Overwrite the output file.")
    @wraps(export)
    def command(model: Path, output: Path, crops: Path, data: Path | None, dataset: str | None, force: bool) -> None:
        ensure_writable(output, force)
        proof = export(Parent.read(model, read_evidence(crops, data, dataset)), output)
        click.echo(f"wrote {output}: {output.stat().st_size / 1e6:.1f} MB; {proof}")

    return command
