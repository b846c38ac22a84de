"""python -m benchmarks.accuracy ARTEFACT: is it the reference model? Any artefact on any backend against torch."""

from pathlib import Path

import click

from benchmarks.cases import about_evidence, load
from benchmarks.environment import environment
from benchmarks.measurements import Report, output_option
from export.gate import Reference, check_parity, gate_options, read_eval_inputs
from export.parity import ParityError
from reid_runtime.agreement import TOLERANCES, computed_in
from reid_runtime.backends import DEVICES
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.model_file.precision import Kind


@click.command()
@click.argument("artefact", type=ModelPath())
@click.option(
    "--reference", type=ModelPath(), required=True,
    help="What it must equal: a checkpoint (.safetensors), run by torch, or the float32 ONNX file.",
)  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True)
@click.option("--gate", type=click.Choice(list(TOLERANCES)), help="What is asked of it.  [by its precision]")
@gate_options
@output_option
def main(
    artefact: Path,
    reference: Path,
    device: str,
    gate: Kind | None,
    crops: Path,
    data: Path | None,
    dataset: str | None,
    output: Path | None,
) -> None:
    """Compare ARTEFACT, on a device, with its reference: each crop's vector, many sizes and batches, and mAP.

    Exit 1, with the crop, size or measure, where the gate is not passed; the report of -o is written all the same.
    """
    evidence = read_eval_inputs(crops, data, dataset)
    candidate, reference_model = load(artefact, device), load(reference, "cpu")
    ours, theirs = candidate.contract, reference_model.contract
    if (ours.contract_id, ours.dimension) != (theirs.contract_id, theirs.dimension):
        raise ParityError(
            f"{artefact.name} is of contract {ours.contract_id} and dimension {ours.dimension}, the reference "
            f"{reference.name} of {theirs.contract_id} and {theirs.dimension}; expected one contract: name the "
            "checkpoint or the float32 file that the artefact was made of"
        )
    gate = gate or computed_in(candidate.contract.precision, device)
    expected = Reference.on(reference_model, evidence)
    click.echo(f"{artefact.name} on {candidate.backend.name} against {reference.name}, {gate}'s gate")
    failure: ParityError | None = None
    result: dict[str, object] = {"name": gate, "device": candidate.backend.name}
    try:
        proof = check_parity(expected, candidate, TOLERANCES[gate], evidence)
        result |= {"passed": True, **proof.drift()}
        click.echo(f"passed: {proof}")
    except ParityError as error:
        failure, result = error, result | {"passed": False, "reason": str(error)}
    if output is not None:
        models = {"reference": reference_model, "artefacts": candidate}
        about = {name: {model.path.name: model.artefact_id} for name, model in models.items()} | {"gate": result}
        Report("accuracy", environment() | about_evidence(evidence) | about, ()).write(output)
    if failure is not None:
        raise failure


if __name__ == "__main__":
    run(main)
