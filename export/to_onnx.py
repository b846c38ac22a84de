"""python -m export.to_onnx: a checkpoint to one ONNX file, held to torch before it may keep its name."""

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

from export.graph import without_traces, write_model
from export.parity import FLOAT32, Embed, require_parity
from reid_runtime.agreement import Agreement
from reid_runtime.cli import run
from reid_runtime.contract import Contract, InputFormat, Score, TrainedOn
from reid_runtime.embedder import Embedder
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.files import whole_file
from reid_runtime.resize import LongestSide, Pixels
from training.checkpoint import Checkpoint, read_checkpoint
from training.network import EmbeddingNetwork

GRAPH = "uint8 NHWC RGB, ImageNet mean and deviation, global max pooling, fully connected, L2"


class ExportError(ReidRuntimeError):
    """A checkpoint that cannot be exported."""


def export_graph(network: EmbeddingNetwork) -> onnx.ModelProto:
    """The network as an ONNX graph: `images` (batch, height, width, 3) uint8 to `embeddings` (batch, D) float32."""
    batch, height, width = (torch.export.Dim(name) for name in ("batch", "height", "width"))
    example = torch.zeros(2, 64, 48, 3, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated internals
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes={"images": {0: batch, 1: height, 2: width}},
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch's exporter returned no graph")
    return without_traces(inline_local_functions(program.model_proto))


def contract_for(checkpoint: Checkpoint, name: str) -> Contract:
    """The contract of a checkpoint's float32 graph, before it has scores."""
    return Contract(
        name=name,
        resize=LongestSide(checkpoint.recipe.sizes[-1]),
        input=InputFormat(),
        unit_output=True,
        dimension=checkpoint.recipe.dimension,
        metric="cosine",
        weights=checkpoint.weights_digest,
        graph=f"{checkpoint.recipe.backbone}: {GRAPH}",
        precision="float32",
        trained_on=(TrainedOn(**checkpoint.trained_on),),
    )


def torch_embed(network: EmbeddingNetwork) -> Embed:
    """The reference: the network itself, in float32, in evaluation mode."""

    def embed(images: Pixels) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]  # Module is untyped

    return embed


def export_checkpoint(checkpoint: Checkpoint, path: Path, name: str, scores: tuple[Score, ...] = ()) -> Agreement:
    """Write `path` if, and only if, its vectors are torch's; returns how well they agree.

    Raises ParityError, and leaves no file, where they are not.
    """
    network = checkpoint.network()
    with whole_file(path) as beside:
        write_model(beside, export_graph(network), replace(contract_for(checkpoint, name), scores=scores))
        return require_parity(torch_embed(network), Embedder.load(beside).backend.run, FLOAT32)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option("--name", help="What the contract calls the model; the output's name without this.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def main(checkpoint: Path, output: Path, name: str | None, force: bool) -> None:
    """Export CHECKPOINT to ONNX with free batch, height and width, uint8 RGB in, unit vectors out.

    The file is compared with torch at many sizes and batches; where they differ, exit 1 and no file.
    """
    if output.exists() and not force:
        raise ExportError(f"{output} exists and is not overwritten; choose another name, or pass --force")
    if not output.parent.is_dir():
        raise ExportError(f"{output.parent} is not a folder; make it first")
    agreement = export_checkpoint(read_checkpoint(checkpoint), output, name or output.stem)
    click.echo(
        f"wrote {output}: {output.stat().st_size / 1e6:.1f} MB; {agreement.rows} images against torch: worst cosine "
        f"{agreement.worst_cosine:.7f}, largest difference {agreement.largest_difference:.1e}"
    )


if __name__ == "__main__":
    run(main)
