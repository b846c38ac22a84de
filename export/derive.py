"""From one artefact to another: read whole, changed, written beside, proved against its parent, and only then named."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path

import click
import onnx
from onnx import TensorProto

from export.gate import EvalInputs, ParityResult, Reference, check_parity, gate_options, read_eval_inputs
from export.graph import append_metadata, write_graph
from export.inner_tensors import name_inner_tensors
from export.parity import ParityError
from reid_runtime.agreement import TOLERANCES
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, ReidRuntimeError
from reid_runtime.images.model_input import InputFormat
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.text import in_one_line
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.file import read_selftest
from reid_runtime.model_file.precision import Precision
from reid_runtime.verification import BackendCheck, run_selftest


class ExportError(ReidRuntimeError):
    """What cannot be exported, or cannot be derived from."""


@dataclass(frozen=True)
class Parent:
    """A float32 ONNX file of ours that is whole, and what it gives on the inputs."""

    path: Path
    reference: Reference
    inputs: EvalInputs

    @classmethod
    def read(cls, path: Path, inputs: EvalInputs) -> "Parent":
        """Raises ExportError for a file that its own record says is damaged, or that is no float32 root of ours."""
        try:
            record = read_selftest(path)
            embedder = Embedder.load(path, device="cpu")
        except BackendError as error:
            raise _not_as_written(path, str(error)) from error
        if record is None:
            raise ExportError(f"{path} carries no self-test record, so nothing says that it is whole: export it again")
        problem = _problem(run_selftest(embedder, record))
        if problem is not None:
            raise _not_as_written(path, problem)
        contract, kind = embedder.contract, embedder.contract.input
        if contract.precision != Precision("float32") or contract.parent is not None or kind != InputFormat():
            raise ExportError(
                f"{path.name}: expected a float32 export of ours, found {contract.precision}, {kind.dtype} "
                f"{kind.layout} {kind.colour} in, {'derived' if contract.parent else 'a root'}: "
                "derive from the float32 file"
            )
        parent = cls(path, Reference.on(embedder, inputs), inputs)
        other = _not_float32(parent.model)
        if other is not None:
            raise ExportError(f"{path}: its contract says float32, but {other}: derive from the float32 file")
        return parent

    @property
    def model(self) -> onnx.ModelProto:
        """Its graph, a copy to change."""
        return onnx.load(str(self.path))


def seal(path: Path, contract: Contract, embedder: Embedder) -> None:
    """Complete a new file whose graph `embedder` runs; raises ParityError where `reid-runtime verify` would refuse it.

    The gate gives artefact and reference the same batches; the self-test sees vectors that depend on their company.
    """
    append_metadata(path, contract, embedder)
    record = read_selftest(path)
    assert record is not None
    problem = _problem(run_selftest(embedder, record))
    if problem is not None:
        raise ParityError(f"the artefact does not pass `reid-runtime verify`: {problem}")


def _problem(check: BackendCheck) -> str | None:
    """What is wrong with the vectors on ONNX Runtime's CPU, where the record was made."""
    if check.ok:
        return None
    cosine = [] if check.worst_cosine is None else [f"worst cosine {check.worst_cosine}"]
    return "; ".join([check.problem or "its vectors", *cosine])


def _not_as_written(path: Path, problem: str) -> ExportError:
    return ExportError(f"{path} is not the model that was written: {problem}; nothing is derived from it")


def _not_float32(model: onnx.ModelProto) -> str | None:
    """What in a graph is rounded to fewer bits already."""
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            return f"{node.name!r} rounds to integers"
    for tensor in model.graph.initializer:
        if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            return f"{tensor.name!r} is of {TensorProto.DataType.Name(tensor.data_type)}"
    return None


def derive(parent: Parent, output: Path, model: onnx.ModelProto, precision: Precision) -> ParityResult:
    """Write `model` to `output` if, and only if, its vectors are the parent's, as far as its precision allows.

    Its contract is the parent's but for the name, the precision, the parent, the drift that the gate measured, the
    scores and the last layer's tensors, which are its own. Raises ParityError, and leaves no file, where the gate is
    not passed.
    """
    reference = parent.reference.embedder
    contract = replace(
        reference.contract, name=output.stem, precision=precision, parent=reference.artefact_id, scores=(), drift=None
    )
    contract = name_inner_tensors(contract, model)
    with atomic_write(output) as temporary:
        candidate = write_graph(temporary, model, contract)
        parity = check_parity(parent.reference, candidate, TOLERANCES[precision.kind], parent.inputs)
        scores = () if parity.score is None else (parity.score,)
        seal(temporary, replace(contract, drift=parity.drift(), scores=scores), candidate)
    return parity


def derivation(export: Callable[[Parent, Path], ParityResult]) -> click.Command:
    """The command of an artefact that follows from its parent alone: `export` writes it, its docstring is the help."""

    @click.command()
    @click.argument("model", type=ModelPath())
    @click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
    @gate_options
    @click.option("--force", is_flag=True, help="Overwrite the output file.")
    @wraps(export)
    def command(model: Path, output: Path, crops: Path, data: Path | None, dataset: str | None, force: bool) -> None:
        ensure_writable(output, force)
        parity = export(Parent.read(model, read_eval_inputs(crops, data, dataset)), output)
        click.echo(in_one_line(f"wrote {output}: {output.stat().st_size / 1e6:.1f} MB; {parity}"))

    return command
