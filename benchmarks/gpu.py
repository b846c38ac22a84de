"""python -m benchmarks.gpu: torch and ONNX Runtime on an NVIDIA GPU, the same weights, parity beside speed."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.results import Report, Row, environment
from benchmarks.timing import paired, percentile
from export.to_onnx import export_checkpoint, torch_embed
from reid_runtime.agreement import compare
from reid_runtime.backends.onnx import OnnxBackend
from reid_runtime.cli import run
from reid_runtime.errors import BackendError, ReidRuntimeError
from reid_runtime.resize import Pixels
from training.backbones import BACKBONES
from training.checkpoint import untrained
from training.network import EmbeddingNetwork

SHAPES = ((256, 128), (416, 208))
BATCHES = (1, 8, 64)


class NoGpuError(ReidRuntimeError):
    """There is no GPU that anything here could run on."""


@dataclass(frozen=True)
class Candidate:
    """One way to run the network on the GPU: host pixels in, host vectors out."""

    name: str
    embed: Callable[[Pixels], npt.NDArray[np.float32]]


def missing_gpu() -> str | None:
    """Why nothing can be measured here, or None where torch sees a GPU."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, but sees no GPU or no driver"
    return None


def torch_candidates(network: EmbeddingNetwork) -> list[Candidate]:
    """torch on the GPU: float32 without TF32, as the reference is, and bfloat16 autocast."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    network = network.cuda()

    def embed(precision: torch.dtype) -> Callable[[Pixels], npt.NDArray[np.float32]]:
        def call(images: Pixels) -> npt.NDArray[np.float32]:
            lower = precision != torch.float32
            with torch.inference_mode(), torch.autocast("cuda", precision, enabled=lower):
                vectors: npt.NDArray[np.float32] = network(torch.from_numpy(images).cuda()).float().cpu().numpy()
            return vectors

        return call

    return [
        Candidate("torch cuda float32", embed(torch.float32)),
        Candidate("torch cuda bfloat16", embed(torch.bfloat16)),
    ]


def onnx_candidates(path: Path) -> tuple[list[Candidate], list[str]]:
    """ONNX Runtime on CUDA where it is installed and works, else the reason."""
    if find_spec("onnxruntime") is None:
        return [], ["ONNX Runtime CUDA: not installed"]
    try:
        backend = OnnxBackend(path, "cuda")
    except BackendError as error:
        return [], [f"ONNX Runtime CUDA: {error}"]
    return [Candidate("onnxruntime cuda float32", backend.run)], []


def measure(candidates: list[Candidate], reference: Candidate, rounds: int) -> list[Row]:
    """Every candidate at every shape and batch, in turn, with its worst cosine to the reference's vectors."""
    random = np.random.default_rng(0)
    rows = []
    for height, width in SHAPES:
        for batch in BATCHES:
            images = random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
            expected = reference.embed(images)
            calls = {candidate.name: (lambda c=candidate, x=images: c.embed(x)) for candidate in candidates}
            samples = paired(calls, rounds, warmup=5)
            for candidate in candidates:
                agreement = compare(expected, candidate.embed(images))
                facts = {"cosine": agreement.worst_cosine, "largest_difference": agreement.largest_difference}
                setting = {"height": height, "width": width, "batch": batch}
                rows.append(Row(candidate.name, setting, tuple(samples[candidate.name]), batch, facts))
    return rows


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = [f"{'case':<42}{'batch':>6}{'shape':>10}{'p50 ms':>9}{'p99 ms':>9}{'images/s':>10}{'cosine':>11}"]
    for row in rows:
        middle = percentile(row.seconds, 0.5)
        shape = f"{row.setting['height']}x{row.setting['width']}"
        lines.append(
            f"{row.case:<42}{row.setting['batch']:>6}{shape:>10}{1e3 * middle:>9.2f}"
            f"{1e3 * percentile(row.seconds, 0.99):>9.2f}{row.items / middle:>10.0f}{row.facts['cosine']:>11.7f}"
        )
    return "\n".join(lines)


def measure_backbone(name: str, rounds: int) -> tuple[list[Row], list[str]]:
    """The rows of one backbone with seeded random weights, and what could not be measured and why."""
    torch.manual_seed(0)
    checkpoint = untrained(name, dimension=512)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        export_checkpoint(checkpoint, path, name)
        on_onnx, missing = onnx_candidates(path)
        reference = Candidate("torch cpu float32", torch_embed(checkpoint.network()))
        rows = measure([*torch_candidates(checkpoint.network()), *on_onnx], reference, rounds)
    return [replace(row, case=f"{name}, {row.case}") for row in rows], missing


@click.command()
@click.option(
    "--backbone", "backbones", type=click.Choice(list(BACKBONES)), multiple=True, default=["mobilenetv2", "resnet50"]
)
@click.option("--rounds", default=30, show_default=True, help="Samples of each case.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON.")
def main(backbones: tuple[str, ...], rounds: int, output: Path | None) -> None:
    """Compare and time torch and ONNX Runtime CUDA on this machine's GPU, host pixels in and host vectors out."""
    reason = missing_gpu()
    if reason is not None:
        raise NoGpuError(f"nothing to measure: {reason}")
    place = environment() | {"gpu": torch.cuda.get_device_name(), "capability": torch.cuda.get_device_capability()}
    click.echo(f"{place['gpu']}, torch {torch.__version__}")
    rows: list[Row] = []
    for name in backbones:
        found, missing = measure_backbone(name, rounds)
        rows += found
        click.echo(as_table(found))
        for line in missing:
            click.echo(f"not measured: {line}", err=True)
    if output is not None:
        Report("gpu", place, tuple(rows)).write(output)
        click.echo(f"wrote {output}")


if __name__ == "__main__":
    run(main)
