"""python -m benchmarks.gpu: what an NVIDIA GPU gives, with whatever is installed; parity beside speed.

The embedded default model on ONNX Runtime CUDA against ONNX Runtime on the CPU; and where torch is installed too,
backbones with seeded random weights on torch and on ONNX Runtime CUDA against torch on the CPU.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from benchmarks.results import Report, Row, environment
from benchmarks.timing import paired, percentile
from reid_runtime.agreement import compare
from reid_runtime.backends import open_backend
from reid_runtime.cli import run
from reid_runtime.embedder import default_model
from reid_runtime.errors import BackendError, ReidRuntimeError
from reid_runtime.resize import Pixels

SHAPES = ((256, 128), (416, 208))
BATCHES = (1, 8, 64)
WARMUP = 5


class NoGpuError(ReidRuntimeError):
    """Nothing that is installed can use a GPU here."""


@dataclass(frozen=True)
class Candidate:
    """One way to run a model: host pixels (N, H, W, 3) in, host vectors (N, D) out."""

    name: str
    embed: Callable[[Pixels], npt.NDArray[np.float32]]


@dataclass
class Measured:
    """What was measured, and what was not and why."""

    rows: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def missing_torch_gpu() -> str | None:
    """Why torch has no GPU here, or None where it has one."""
    if find_spec("torch") is None:
        return 'torch is not installed: pip install -e ".[train,export]"'
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, but sees no GPU or no driver"
    return None


def onnx_candidate(path: Path) -> Candidate:
    """ONNX Runtime CUDA on a file; raises BackendError with the reason where that is not to be had."""
    return Candidate("onnxruntime cuda float32", open_backend(path, "cuda").run)


def torch_candidates(backbone: str) -> list[Candidate]:
    """torch on the GPU, weights as `reference_of` has them: float32 without TF32, and bfloat16 autocast."""
    import torch

    from training.checkpoint import untrained

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    network = untrained(backbone, dimension=512).network().cuda()

    def on_gpu(precision: torch.dtype) -> Callable[[Pixels], npt.NDArray[np.float32]]:
        def embed(images: Pixels) -> npt.NDArray[np.float32]:
            with torch.inference_mode(), torch.autocast("cuda", precision, enabled=precision != torch.float32):
                vectors: npt.NDArray[np.float32] = network(torch.from_numpy(images).cuda()).float().cpu().numpy()
            return vectors

        return embed

    return [Candidate(f"torch cuda {name}", on_gpu(getattr(torch, name))) for name in ("float32", "bfloat16")]


def reference_of(backbone: str, path: Path) -> Candidate:
    """torch on the CPU with seeded random weights, which are also exported to `path`."""
    import torch

    from export.to_onnx import export_checkpoint, torch_embed
    from training.checkpoint import untrained

    torch.manual_seed(0)
    checkpoint = untrained(backbone, dimension=512)
    export_checkpoint(checkpoint, path, backbone)
    return Candidate("torch cpu float32", torch_embed(checkpoint.network()))


def measure(model: str, candidates: list[Candidate], reference: Candidate, rounds: int) -> list[Row]:
    """Every candidate at every shape and batch, in turn, with its worst cosine to the reference's vectors."""
    random = np.random.default_rng(0)
    rows = []
    for height, width in SHAPES:
        for batch in BATCHES:
            images = random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
            expected = reference.embed(images)
            calls = {candidate.name: (lambda c=candidate, x=images: c.embed(x)) for candidate in candidates}
            samples = paired(calls, rounds, WARMUP)
            for candidate in candidates:
                agreement = compare(expected, candidate.embed(images))
                facts = {"cosine": agreement.worst_cosine, "largest_difference": agreement.largest_difference}
                setting = {"height": height, "width": width, "batch": batch, "reference": reference.name}
                rows.append(Row(f"{model}, {candidate.name}", setting, tuple(samples[candidate.name]), batch, facts))
    return rows


def measure_default(rounds: int) -> Measured:
    """The embedded default model on ONNX Runtime CUDA."""
    try:
        candidate = onnx_candidate(default_model())
    except BackendError as error:
        return Measured(missing=[f"default model, ONNX Runtime CUDA: {error}"])
    reference = Candidate("onnxruntime cpu float32", open_backend(default_model(), "cpu").run)
    return Measured(measure("default model", [candidate], reference, rounds))


def measure_backbone(backbone: str, rounds: int) -> Measured:
    """One backbone on torch, and on ONNX Runtime CUDA where it works."""
    reason = missing_torch_gpu()
    if reason is not None:
        return Measured(missing=[f"{backbone}, torch: {reason}"])
    found = Measured()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{backbone}.onnx"
        reference = reference_of(backbone, path)
        candidates = torch_candidates(backbone)
        try:
            candidates.append(onnx_candidate(path))
        except BackendError as error:
            found.missing.append(f"{backbone}, ONNX Runtime CUDA: {error}")
        found.rows += measure(backbone, candidates, reference, rounds)
    return found


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = [f"{'case':<44}{'batch':>6}{'shape':>10}{'p50 ms':>9}{'p99 ms':>9}{'images/s':>10}{'cosine':>11}"]
    for row in rows:
        middle = percentile(row.seconds, 0.5)
        shape = f"{row.setting['height']}x{row.setting['width']}"
        lines.append(
            f"{row.case:<44}{row.setting['batch']:>6}{shape:>10}{1e3 * middle:>9.2f}"
            f"{1e3 * percentile(row.seconds, 0.99):>9.2f}{row.items / middle:>10.0f}{row.facts['cosine']:>11.7f}"
        )
    return "\n".join(lines)


@click.command()
@click.option(
    "--backbone", "backbones", multiple=True, default=["mobilenetv2", "resnet50"], show_default=True,
    help="A name of training.backbones; may be repeated.",
)  # fmt: skip
@click.option("--rounds", default=30, show_default=True, help="Samples of each case.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON.")
def main(backbones: tuple[str, ...], rounds: int, output: Path | None) -> None:
    """Compare and time what is installed on this machine's NVIDIA GPU: host pixels in, host vectors out."""
    found = [measure_default(rounds), *(measure_backbone(backbone, rounds) for backbone in backbones)]
    rows = [row for measured in found for row in measured.rows]
    missing = [line for measured in found for line in measured.missing]
    if not rows:
        raise NoGpuError("nothing to measure on a GPU here.\n  " + "\n  ".join(missing))
    click.echo(as_table(rows))
    for line in missing:
        click.echo(f"not measured: {line}", err=True)
    if output is not None:
        Report("gpu", environment(), tuple(rows)).write(output)
        click.echo(f"wrote {output}")


if __name__ == "__main__":
    run(main)
