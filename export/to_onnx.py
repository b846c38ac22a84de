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
import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx.inliner import inline_local_functions

from export.cast_first import cast_first
from export.derive import ExportError, require_verified
from export.gate import Evidence, Proof, Reference, gate_options, prove, read_evidence
from export.graph import without_traces, write_contract, write_model
from export.parity import Embed, require_parity
from reid_runtime.agreement import TOLERANCES, Agreement
from reid_runtime.backends.base import CPU_BATCH_PIXELS
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import InputFormat, ModelInput
from reid_runtime.images.resize import Pixels
from reid_runtime.io.atomic import atomic_write, ensure_writable
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.precision import Precision
from training.models.network import EmbeddingNetwork, graph_recipe
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
                network,
                (example,),
                input_names=["images"],
                output_names=["embeddings"],
                dynamic_shapes={"images": axes},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"torch {torch.__version__} cannot export the network: {_cause(error)}") from error
    if program is None:
        raise ExportError("torch's exporter returned no graph")
    model = cast_first(without_traces(inline_local_functions(program.model_proto)))
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


def contract_for(checkpoint: Checkpoint, name: str) -> Contract:
    """The contract of a checkpoint's float32 graph, before it has scores."""
    architecture = checkpoint.architecture
    return Contract(
        name=name,
        resize=architecture.rule,
        input=InputFormat(),
        unit_output=True,
        dimension=architecture.dimension,
        metric="cosine",
        weights=checkpoint.weights_digest,
        graph=graph_recipe(architecture.backbone, architecture.pooling, architecture.activation),
        precision=Precision("float32"),
        trained_on=checkpoint.trained_on,
    )


def torch_embed(network: EmbeddingNetwork) -> Embed:
    """The reference: the network itself, in float32, in evaluation mode."""

    def embed(images: Pixels) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            try:
                return network(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]  # Module is untyped
            except (RuntimeError, IndexError) as error:
                raise BackendError(f"torch failed on a batch of shape {images.shape}: {error}") from error

    return embed


class TorchBackend:
    """The network itself as the runtime calls a backend: what an export is held to."""

    name = device = "torch"
    max_batch_pixels = CPU_BATCH_PIXELS

    def __init__(self, network: EmbeddingNetwork) -> None:
        self._embed = torch_embed(network)

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """(N, H, W, 3) uint8 to (N, D) float32."""
        return self._embed(images.astype(np.uint8, copy=False))


def export_checkpoint(checkpoint: Checkpoint, path: Path, name: str) -> Agreement:
    """Write `path` if, and only if, its vectors are torch's at every size and batch; returns how well they agree.

    Raises ParityError, and leaves no file, where they are not.
    """
    network = checkpoint.network()
    with atomic_write(path) as beside:
        write_model(beside, export_graph(network), contract_for(checkpoint, name))
        agreement = require_parity(
            torch_embed(network), Embedder.load(beside, device="cpu").backend.run, TOLERANCES["float32"].probes
        )
        require_verified(beside)
    return agreement


def export_proved(checkpoint: Checkpoint, path: Path, name: str, evidence: Evidence) -> Proof:
    """As `export_checkpoint`, and the evidence's crops and data set are held to torch too; its scores are recorded."""
    network, contract = checkpoint.network(), contract_for(checkpoint, name)
    with atomic_write(path) as beside:
        write_model(beside, export_graph(network), contract)
        reference = Reference.on(Embedder(TorchBackend(network), contract, beside), evidence)
        proof = prove(reference, Embedder.load(beside, device="cpu"), TOLERANCES["float32"], evidence)
        if proof.score is not None:
            write_contract(beside, replace(contract, scores=(proof.score,)))
        require_verified(beside)
    return proof


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
    evidence = read_evidence(crops, data, dataset)
    proof = export_proved(read_checkpoint(checkpoint), output, name or output.stem, evidence)
    click.echo(f"wrote {output}: {output.stat().st_size / 1e6:.1f} MB; {proof}")


if __name__ == "__main__":
    run(main)
