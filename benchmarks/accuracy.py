"""python -m benchmarks.accuracy ARTEFACT: is it the reference model? Any artefact on any backend, held to torch."""

from pathlib import Path

import click

from benchmarks.cases import about_evidence, load
from benchmarks.measurements import Report, Row, environment, output_option
from benchmarks.timing import paired
from export.gate import Evidence, Reference, gate_options, prove, read_evidence
from export.parity import ParityError
from reid_runtime.agreement import TOLERANCES, compare, computed_in
from reid_runtime.backends import DEVICES
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.model_file.precision import Kind


@click.command()
@click.argument("artefact", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="What it must equal: a checkpoint (.safetensors), run by torch, or the float32 ONNX file.",
)
@click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True)
@click.option("--gate", "named", type=click.Choice(list(TOLERANCES)), help="What is asked of it.  [by its precision]")
@gate_options
@output_option
def main(
    artefact: Path,
    reference: Path,
    device: str,
    named: Kind | None,
    crops: Path,
    data: Path | None,
    dataset: str | None,
    output: Path | None,
) -> None:
    """Hold ARTEFACT, on a device, to its reference: each crop's vector, many sizes and batches, and mAP on a data set.

    Exit 1, with the crop, size or measure, where the gate is not passed; the report of -o is written all the same.
    """
    evidence = read_evidence(crops, data, dataset)
    candidate, reference_model = load(artefact, device), load(reference, "cpu")
    require_one_space(candidate, reference_model)
    name = named or computed_in(candidate.contract.precision, device)
    gate = TOLERANCES[name]
    held = Reference.on(reference_model, evidence)
    click.echo(f"{_named(candidate)} against {_named(held.embedder)}, {name}'s gate")
    failure = None
    try:
        proof = prove(held, candidate, gate, evidence)
        drift = {key: float(value) for key, value in proof.drift().items()}
        click.echo(f"passed: {proof}")
    except ParityError as error:
        failure, drift = error, {}
    if output is not None:
        about = environment() | about_evidence(evidence)
        about |= {
            "reference": {"name": reference.name, "artefact_id": reference_model.artefact_id},
            "artefacts": {artefact.name: candidate.artefact_id},
        }
        setting = {"reference": _named(held.embedder), "gate": name}
        notes: list[str] = [] if failure is None else [f"the gate failed: {failure}"]
        rows = _timed(held, candidate, evidence, setting, drift | {"passed": float(failure is None)}, notes)
        Report("accuracy", about, rows, tuple(notes)).write(output)
    if failure is not None:
        raise failure


def require_one_space(candidate: Embedder, reference: Embedder) -> None:
    """Raises ParityError for two models whose vectors cannot be compared, whatever they are."""
    ours, theirs = candidate.contract, reference.contract
    if (ours.contract_id, ours.dimension) != (theirs.contract_id, theirs.dimension):
        raise ParityError(
            f"{candidate.path.name} is of contract {ours.contract_id} and dimension {ours.dimension}, the reference "
            f"{reference.path.name} of {theirs.contract_id} and {theirs.dimension}; expected one contract: name the "
            "checkpoint or the float32 file that the artefact was made of"
        )


def _timed(
    held: Reference,
    candidate: Embedder,
    evidence: Evidence,
    setting: dict[str, str],
    facts: dict[str, float],
    notes: list[str],
) -> tuple[Row, ...]:
    """The artefact's row, or, where it does not even embed the crops, none and a note."""
    batch = list(evidence.crops)
    try:
        agreement = compare(held.vectors, candidate.embed(batch, "rgb"))
        samples = paired({"": lambda: candidate.embed(batch, "rgb")}, rounds=3)[""]
    except ReidRuntimeError as error:
        notes.append(f"speed and cosine: {error}")
        return ()
    measured = {"worst_cosine": agreement.worst_cosine, "rank_agreement": agreement.rank_agreement}
    return (Row(_named(candidate), setting, tuple(samples), len(batch), measured | facts, "accuracy"),)


def _named(embedder: Embedder) -> str:
    return f"{embedder.path.name} on {embedder.backend.name}"


if __name__ == "__main__":
    run(main)
