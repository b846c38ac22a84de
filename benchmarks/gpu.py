"""python -m benchmarks.gpu: what an NVIDIA GPU gives, with whatever is installed; parity beside speed.

The embedded default model on ONNX Runtime CUDA and on TensorRT, plain and with CUDA graphs, against ONNX Runtime on
the CPU; boxes in a frame that is on the GPU against the same boxes on the host; where torch is installed, backbones
with seeded random weights on torch and on ONNX Runtime CUDA against torch on the CPU; device memory and the pixel
kernel by each provider. Each part that cannot run here says why, and the others go on.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from benchmarks.gpu_device import FRAME, OwnArray, benches, boxes_in, measure_device
from benchmarks.measurements import Found, Report, Row, environment, text_table, whatever_runs
from benchmarks.timing import paired, percentile
from reid_runtime.agreement import compare
from reid_runtime.backends import open_backend
from reid_runtime.backends.base import Options
from reid_runtime.backends.cuda import open_cuda
from reid_runtime.backends.tensorrt.open import open_tensorrt
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, ReidRuntimeError
from reid_runtime.images.resize import Pixels
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import default_model
from reid_runtime.vectors import Vectors

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
    return Candidate("onnxruntime cuda float32", open_backend(ModelFile.open(path), "cuda").run)


def torch_candidates(backbone: str) -> list[Candidate]:
    """torch on the GPU, weights as `reference_of` has them: float32 without TF32, and bfloat16 autocast."""
    import torch

    from training.run.checkpoint import untrained

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
    from training.run.checkpoint import untrained

    torch.manual_seed(0)
    checkpoint = untrained(backbone, dimension=512)
    export_checkpoint(checkpoint, path, backbone)
    return Candidate("torch cpu float32", torch_embed(checkpoint.network()))


def measure(model: str, candidates: list[Candidate], reference: Candidate, rounds: int) -> Found:
    """Every candidate at every shape and batch that it takes, in turn, with its worst cosine to the reference's."""
    random = np.random.default_rng(0)
    found = Found()
    for height, width in SHAPES:
        for batch in BATCHES:
            images = random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
            expected = reference.embed(images)
            vectors = {}
            for candidate in candidates:
                try:
                    vectors[candidate.name] = candidate.embed(images)
                except BackendError as error:
                    found.notes.append(f"{model}, {candidate.name}, {batch} images of {height}x{width}: {error}")
            calls = {each.name: partial(each.embed, images) for each in candidates if each.name in vectors}
            samples = paired(calls, rounds, WARMUP) if calls else {}
            for name, seconds in samples.items():
                agreement = compare(expected, vectors[name])
                facts = {"cosine": agreement.worst_cosine, "largest_difference": agreement.largest_difference}
                setting = {"height": height, "width": width, "batch": batch, "reference": reference.name}
                found.rows.append(Row(f"{model}, {name}", setting, tuple(seconds), batch, facts, "models"))
    return found


def measure_default(rounds: int) -> Found:
    """The embedded default model on ONNX Runtime CUDA and on TensorRT."""
    found = Found()
    candidates = []
    model = ModelFile.open(default_model())
    try:
        candidates.append(onnx_candidate(model.path))
    except BackendError as error:
        found.notes.append(f"default model, ONNX Runtime CUDA: {error}")
    with ExitStack() as stack:
        try:
            plain = stack.enter_context(closing(open_tensorrt(model)))
            graphs = stack.enter_context(
                closing(open_tensorrt(model, Options(cuda_graphs=2 * len(SHAPES) * len(BATCHES))))
            )
            candidates += [Candidate("tensorrt", plain.run), Candidate("tensorrt, CUDA graphs", graphs.run)]
        except BackendError as error:
            found.notes.append(f"default model, TensorRT: {error}")
        if candidates:
            reference = Candidate("onnxruntime cpu float32", open_backend(model, "cpu").run)
            found.add(measure("default model", candidates, reference, rounds))
    return found


def measure_frames(rounds: int) -> Found:
    """embed_boxes on TensorRT: a frame on the host, and the same frame on the GPU."""
    try:
        embedder = Embedder.load(device="tensorrt")
        cuda = open_cuda()
    except BackendError as error:
        return Found(notes=[f"frames on the GPU, TensorRT: {error}"])
    frame = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), dtype=np.uint8)
    found = Found()
    for count in BATCHES:
        boxes = boxes_in(FRAME, (400, 160), count)
        expected = Embedder.load().embed_boxes(frame, boxes, "rgb")
        with benches(cuda) as bench:
            given = OwnArray(bench.put(frame), frame, bench.stream)
            calls: dict[str, Callable[[], Vectors]] = {
                "boxes, frame on the host": partial(embedder.embed_boxes, frame, boxes, "rgb"),
                "boxes, frame on the GPU": partial(embedder.embed_boxes, given, boxes, "rgb"),
            }
            samples = paired(calls, rounds, WARMUP)
            for case, seconds in samples.items():
                facts = {"cosine": compare(expected, calls[case]()).worst_cosine}
                setting = {"height": FRAME[0], "width": FRAME[1], "batch": count}
                found.rows.append(Row(case, setting, tuple(seconds), count, facts, "frames"))
    return found


def measure_backbone(backbone: str, rounds: int) -> Found:
    """One backbone on torch, and on ONNX Runtime CUDA where it works."""
    reason = missing_torch_gpu()
    if reason is not None:
        return Found(notes=[f"{backbone}, torch: {reason}"])
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{backbone}.onnx"
        reference = reference_of(backbone, path)
        candidates = torch_candidates(backbone)
        try:
            candidates.append(onnx_candidate(path))
        except BackendError as error:
            found.notes.append(f"{backbone}, ONNX Runtime CUDA: {error}")
        found.add(measure(backbone, candidates, reference, rounds))
    return found


def as_lines(rows: list[Row]) -> list[list[str]]:
    """The rows for people: what ran, on what, how fast, and how near it came to its reference."""
    lines = []
    for row in rows:
        on = ", ".join(f"{name} {value}" for name, value in row.setting.items() if name != "reference")
        near = ", ".join(f"{name} {value:.7g}" for name, value in row.facts.items())
        times = [f"{1e3 * percentile(row.seconds, share):.3f}" for share in (0.5, 0.99)]
        lines.append([row.case, on, *times, f"{row.rate:.4g}", near])
    return lines


HEAD = ("case", "on", "p50 ms", "p99 ms", "items/s", "against the reference")


def as_markdown(report: Report) -> str:
    """The report as a page: the machine, a table for each part, and what did not run."""
    machine = report.environment
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    day = str(machine["time"]).partition("T")[0]
    lines = [
        f"# What a GPU gives, {day}",
        "",
        f"{'; '.join(machine['gpus']) or 'no GPU'}. {machine['processor']}, Python {machine['python']}, {packages}. "
        f"Source {machine['git']}. `python -m benchmarks.gpu`",
    ]
    for part in dict.fromkeys(row.part for row in report.rows):
        lines += ["", f"## {part.capitalize()}", "", f"| {' | '.join(HEAD)} |", "|---|---|---:|---:|---:|---|"]
        lines += [f"| {' | '.join(line)} |" for line in as_lines([row for row in report.rows if row.part == part])]
    if report.notes:
        lines += ["", "## Not run", "", *(f"- {note}" for note in report.notes)]
    return "\n".join(lines) + "\n"


@click.command()
@click.option(
    "--backbone", "backbones", multiple=True, default=["mobilenetv2", "resnet50"], show_default=True,
    help="A name of training.models.backbones; may be repeated.",
)  # fmt: skip
@click.option("--rounds", default=30, show_default=True, help="Samples of each case.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report as JSON here, and as a page (.md) beside it.",
)  # fmt: skip
def main(backbones: tuple[str, ...], rounds: int, output: Path | None) -> None:
    """Compare and time what is installed on this machine's NVIDIA GPU."""
    parts: dict[str, Callable[[], Found]] = {
        "default model": lambda: measure_default(rounds),
        "frames": lambda: measure_frames(rounds),
        "device": lambda: measure_device(rounds),
    }
    parts |= {backbone: partial(measure_backbone, backbone, rounds) for backbone in backbones}
    found = whatever_runs(parts)
    if not found.rows:
        raise NoGpuError("nothing to measure on a GPU here.\n  " + "\n  ".join(found.notes))
    click.echo(text_table(HEAD, as_lines(found.rows)))
    for note in found.notes:
        click.echo(f"not measured: {note}", err=True)
    if output is not None:
        report = Report("gpu", environment(), tuple(found.rows), tuple(found.notes))
        report.write(output)
        page = output.with_suffix(".md")
        page.write_text(as_markdown(report), encoding="utf-8")
        click.echo(f"wrote {output} and {page}")


if __name__ == "__main__":
    run(main)
