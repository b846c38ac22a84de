"""python -m export.to_onnx: a checkpoint to one ONNX file, held to torch before it may keep its name.

The exporter's own optimiser folds batch normalisation into the convolutions, and the file is left as it gives it: ONNX
Runtime optimises at load. Optimised beforehand by ONNX Runtime itself or by onnxslim, ResNet-50 and MobileNetV2 ran at
0.99 to 1.03 times the speed at 256x128 and 416x208, which is what one file differs from itself.
"""

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import click
import onnx
import torch
from onnx.inliner import inline_local_functions

from export.average_pool import pad_average_pools
from export.cast_first import cast_first
from export.derive import ExportError, seal
from export.gate import EvalInputs, ParityResult, Reference, check_parity, gate_options, read_eval_inputs
from export.graph import strip_metadata, write_graph
from export.inner_tensors import FEATURES, name_inner_tensors
from export.negligible_weights import zero_negligible_weights
from export.parity import require_parity
from export.torch_reference import TorchBackend, contract_for
from export.with_features import WithFeatures
from reid_runtime.agreement import TOLERANCES, Agreement
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.io.text import in_one_line
from training.models.network import EmbeddingNetwork
from training.run.checkpoint import Checkpoint, read_checkpoint

OPSET = 20
"""Of the ONNX operators that exported files use: TensorRT 10 and ONNX Runtime 1.17 read it."""


def export_graph(network: EmbeddingNetwork) -> onnx.ModelProto:
    """The network as an ONNX graph: `images` (batch, height, width, 3) uint8 to `embeddings` (batch, D) float32."""
    # Names, not `Dim`s: a Dim that the network cannot leave free is fixed in silence, a name is refused.
    axes = dict(enumerate(("batch", "height", "width")))
    example = torch.zeros(2, 64, 48, 3, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated internals
        try:
            program = torch.onnx.export(
                WithFeatures.of(network),
                (example,),
                input_names=["images"],
                output_names=["embeddings", FEATURES],
                dynamic_shapes={"images": axes},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"torch {torch.__version__} cannot export the network: {_cause(error)}") from error
    if program is None:
        raise ExportError("torch's exporter returned no graph")
    model = pad_average_pools(cast_first(strip_metadata(inline_local_functions(program.model_proto))))
    zero_negligible_weights(model)
    del model.graph.output[1]  # the name stays in the graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:  # a graph that its converter cannot take there keeps the exporter's own, with a warning
        raise ExportError(f"expected a graph of ONNX operators of opset {OPSET} alone, torch gave {opsets}")
    unfolded = [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    if unfolded:
        raise ExportError(
            f"torch {torch.__version__} left {len(unfolded)} batch normalisations in the graph, the first is "
            f"{unfolded[0]}: export with the torch of constraints-cpu.txt, which folds them"
        )
    return model


def _cause(error: BaseException) -> str:
    """What went wrong in the first place: the exporter wraps it into advice on how to report it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:400]


def export_checkpoint(checkpoint: Checkpoint, path: Path, name: str) -> Agreement:
    """Write `path` if, and only if, its vectors are torch's at every size and batch; returns how well they agree.

    Raises ParityError, and leaves no file, where they are not.
    """
    network, contract = checkpoint.network(), contract_for(checkpoint, name)
    with atomic_write(path) as temporary:
        graph = export_graph(network)
        contract = name_inner_tensors(contract, graph)
        candidate = write_graph(temporary, graph, contract)
        bounds = TOLERANCES["float32"].probes
        agreement = require_parity(TorchBackend(network).run, candidate.backend.run, bounds)
        seal(temporary, contract, candidate)
    return agreement


def export_checked(checkpoint: Checkpoint, path: Path, name: str, inputs: EvalInputs) -> ParityResult:
    """As `export_checkpoint`, and the inputs's crops and data set are held to torch too; its scores are recorded."""
    network, contract = checkpoint.network(), contract_for(checkpoint, name)
    with atomic_write(path) as temporary:
        click.echo(in_one_line(f"{path.name}: torch exports the graph"), err=True)
        graph = export_graph(network)
        contract = name_inner_tensors(contract, graph)
        candidate = write_graph(temporary, graph, contract)
        ranking = "" if inputs.task is None else f" and the ranking of {inputs.dataset}"
        click.echo(
            in_one_line(f"{path.name}: comparing with torch on probes, {len(inputs.crops)} crops{ranking}"), err=True
        )
        exact = Embedder(TorchBackend(network), contract, path, artefact_id=contract.weights)
        parity = check_parity(Reference.on(exact, inputs), candidate, TOLERANCES["float32"], inputs)
        seal(temporary, contract if parity.score is None else replace(contract, scores=(parity.score,)), candidate)
    return parity


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option("--name", help="What the contract calls the model; the output's name without this.")
@gate_options
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def main(
    checkpoint: Path, output: Path, name: str | None, crops: Path, data: Path | None, dataset: str | None, force: bool
) -> None:
    """Export CHECKPOINT to ONNX (opset 20) with free batch, height and width, uint8 RGB in, unit vectors out.

    The file is compared with torch at many sizes and batches and on crops; where they differ, exit 1 and no file.
    """
    ensure_writable(output, force)
    inputs = read_eval_inputs(crops, data, dataset)
    parity = export_checked(read_checkpoint(checkpoint), output, name or output.stem, inputs)
    click.echo(in_one_line(f"wrote {output}: {output.stat().st_size / 1e6:.1f} MB; {parity}"))


if __name__ == "__main__":
    run(main)
