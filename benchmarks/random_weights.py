"""python -m benchmarks.random_weights BACKBONE: a checkpoint, a float32 and an INT8 file of one untrained backbone.

Speed depends on a network's shape and not on its weights. Neither file has passed a gate, and the INT8 one has
all its layers in integers: they are for timing, and not to be used.
"""

from dataclasses import replace
from pathlib import Path

import click
import onnx
import torch

from export.calibration import collect_ranges
from export.gate import EXAMPLES, read_crops
from export.graph import write_model
from export.inner_tensors import name_inner_tensors
from export.normalisation import normalise_at_once
from export.quantise import CPU, GraphIndex, quantise, ranged_tensors
from export.to_onnx import export_graph
from export.torch_reference import contract_for
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.images.resize import resize
from reid_runtime.io.atomic import ensure_writable
from reid_runtime.model_file.precision import Precision
from training.run.checkpoint import untrained, write_checkpoint


def write_random_weights(backbone: str, folder: Path, dimension: int = 512) -> list[Path]:
    """The three files; raises StorageError where one is there already."""
    paths = [folder / f"{backbone}{end}" for end in (".safetensors", ".onnx", "-int8.onnx")]
    for path in paths:
        ensure_writable(path, force=False)
    torch.manual_seed(0)
    checkpoint = untrained(backbone, dimension)
    write_checkpoint(paths[0], checkpoint)
    exported = export_graph(checkpoint.network())
    write_model(paths[1], exported, name_inner_tensors(contract_for(checkpoint, backbone), exported))
    model, parent = onnx.load(str(paths[1])), Embedder.load(paths[1])
    crops = [resize(crop, parent.contract.resize.shape(*crop.shape[:2])) for crop in read_crops(EXAMPLES)[1]]
    ranges = collect_ranges(model, ranged_tensors(model, CPU), crops)
    graph = normalise_at_once(quantise(model, CPU, ranges, 99.0, GraphIndex(model).layers(CPU)))
    precision = Precision("int8", "cpu", f"{CPU.description}, no gate")
    contract = replace(parent.contract, name=paths[2].stem, precision=precision, parent=parent.artefact_id)
    write_model(paths[2], graph, name_inner_tensors(contract, graph))
    return paths


@click.command()
@click.argument("backbone")
@click.option("-o", "--output", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
def main(backbone: str, output: Path) -> None:
    """Write BACKBONE.safetensors, .onnx and -int8.onnx into a folder, for the other benchmarks."""
    for path in write_random_weights(backbone, output):
        click.echo(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
