"""python -m benchmarks.accuracy ARTEFACT: is it the reference model? Any artefact on any backend, held to torch."""

from dataclasses import replace
from pathlib import Path

import click

from benchmarks.results import Report, Row, environment
from benchmarks.subjects import load
from benchmarks.timing import paired
from export.gate import FLOAT16_GATE, FLOAT32_GATE, INT8_GATE, Gate, Reference, gate_options, prove, read_evidence
from reid_runtime.backends import DEVICES
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder

GATES = {"float32": FLOAT32_GATE, "float16": FLOAT16_GATE, "int8": INT8_GATE}


def gate_for(precision: str, device: str) -> tuple[str, Gate]:
    """The gate of what is computed: a contract's precision, or less where the device computes in bfloat16.

    bfloat16 keeps 8 bits, of which INT8's gate asks as much; a contract says `int8 (...)`, with how it came to be.
    """
    whole = device == "openvino-bf16" or precision.startswith("int8")
    name = "int8" if whole else "float16" if precision == "float16" else "float32"
    return name, GATES[name]


@click.command()
@click.argument("artefact", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="What it must equal: a checkpoint (.safetensors), run by torch, or the float32 ONNX file.",
)
@click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True)
@click.option("--gate", "named", type=click.Choice(list(GATES)), help="What is asked of it.  [by its precision]")
@gate_options
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON.")
def main(
    artefact: Path,
    reference: Path,
    device: str,
    named: str | None,
    crops: Path,
    data: Path | None,
    dataset: str | None,
    output: Path | None,
) -> None:
    """Hold ARTEFACT, on a device, to its reference: each crop's vector, many sizes and batches, and mAP on a data set.

    Exit 1, with the crop, size or measure, where the gate is not passed.
    """
    evidence = read_evidence(crops, data, dataset)
    candidate = load(artefact, device)
    name, gate = gate_for(candidate.contract.precision, device)
    if named is not None:
        name, gate = named, GATES[named]
    held = Reference.on(load(reference, "cpu"), evidence)
    click.echo(f"{_named(candidate)} against {_named(held.embedder)}, {name}'s gate")
    proof = prove(held, candidate, gate, evidence)
    click.echo(f"passed: {proof}")
    if output is not None:
        batch = list(evidence.crops)
        samples = paired({"": lambda: candidate.embed(batch, "rgb")}, rounds=3)[""]
        drift = {key: float(value) for key, value in proof.drift().items()}
        row = Row(
            _named(candidate), {"reference": _named(held.embedder), "gate": name}, tuple(samples), len(batch), drift
        )
        Report("accuracy", environment(), (replace(row, part="accuracy"),)).write(output)


def _named(embedder: Embedder) -> str:
    return f"{embedder.path.name} on {embedder.backend.name}"


if __name__ == "__main__":
    run(main)
