"""python -m benchmarks.random_weights BACKBONE: a checkpoint, a float32 and an INT8 file of one backbone, untrained.

Speed depends on a network's shape and not on its weights, so whoever has no trained ResNet-50 can still measure one.
The trunk has ImageNet weights where a file of them is named, else seeded random ones, whose vectors hardly differ; the
last layer is random. Neither file has passed a gate, and the INT8 one has all its layers in integers: they are for
timing, and not to be used.
"""

from dataclasses import replace
from pathlib import Path

import click
import onnx
import torch

from export.calibration import observe
from export.gate import read_crops
from export.graph import write_model
from export.quantise import CPU, Wiring, observed, quantised
from export.to_onnx import contract_for, export_graph
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.images.resize import resize
from reid_runtime.io.atomic import ensure_writable
from reid_runtime.model_file.precision import Precision
from training.models.weights import initialise
from training.run.checkpoint import untrained, write_checkpoint

_PERCENTILE = 99.0


def write_untrained(
    backbone: str, folder: Path, crops: Path, weights: Path | None = None, dimension: int = 512
) -> list[Path]:
    """The three files; raises StorageError where one is there already."""
    checkpoint_file, exact, whole = (folder / f"{backbone}{end}" for end in (".safetensors", ".onnx", "-int8.onnx"))
    for path in (checkpoint_file, exact, whole):
        ensure_writable(path, force=False)
    torch.manual_seed(0)
    checkpoint = untrained(backbone, dimension)
    network = checkpoint.network()
    if weights is not None:
        initialise(network.trunk, backbone, weights)
        tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
        checkpoint = replace(checkpoint, tensors=tensors)
    write_checkpoint(checkpoint_file, checkpoint)
    write_model(exact, export_graph(network), contract_for(checkpoint, backbone))

    model, parent = onnx.load(str(exact)), Embedder.load(exact)
    pictures = [resize(crop, parent.contract.resize.shape(*crop.shape[:2])) for crop in read_crops(crops)[1]]
    seen = observe(model, observed(model, CPU), pictures)
    graph = quantised(model, CPU, seen, _PERCENTILE, Wiring(model).layers(CPU))
    contract = replace(
        parent.contract,
        name=whole.stem,
        precision=Precision("int8", "cpu", f"{CPU.says}, no gate"),
        parent=parent.artefact_id,
    )
    write_model(whole, graph, contract)
    return [checkpoint_file, exact, whole]


@click.command()
@click.argument("backbone")
@click.option("-o", "--output", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option(
    "--crops", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("examples/crops"),
    show_default=True, help="What the INT8 ranges are measured on.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ImageNet weights of the trunk, as `python -m training` takes them.",
)  # fmt: skip
def main(backbone: str, output: Path, crops: Path, weights: Path | None) -> None:
    """Write BACKBONE.safetensors, .onnx and -int8.onnx into a folder, for the other benchmarks."""
    for path in write_untrained(backbone, output, crops, weights):
        click.echo(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
