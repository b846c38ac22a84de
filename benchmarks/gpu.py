"""python -m benchmarks.gpu: what an NVIDIA GPU gives, with whatever is installed; parity beside speed.

The default model on ONNX Runtime CUDA and on TensorRT, plain and with CUDA graphs, against ONNX Runtime on
the CPU; boxes in a frame that is on the GPU against the same boxes on the host; backbones with seeded random weights on
torch and on ONNX Runtime CUDA against torch on the CPU. Each part that cannot run here says why, and the others go on.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import click
import numpy as np

from benchmarks.inputs import frame_with_boxes
from benchmarks.measurements import Measurements, Parity, Part, Row, Setting, emit, in_turn, output_option, run_parts
from benchmarks.tables import page, text
from export.gate import EXAMPLES, read_crops
from reid_runtime.agreement import compare
from reid_runtime.backends import Options, open_backend
from reid_runtime.backends.tensorrt.open import open_tensorrt
from reid_runtime.cli import run
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, ReidRuntimeError
from reid_runtime.images.resize import Pixels
from reid_runtime.install import install_line
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
    embed: Callable[[Pixels], Vectors]


def missing_torch_gpu() -> str | None:
    """Why torch has no GPU here, or None where it has one."""
    if find_spec("torch") is None:
        return f"torch is not installed: {install_line('train,export')}"
    import torch

    if torch.cuda.is_available():
        return None
    return f"torch {torch.__version__}, built for CUDA {torch.version.cuda}, sees no GPU or no driver"


def torch_candidates(backbone: str) -> list[Candidate]:
    """torch on the GPU, weights as `reference_of` has them: float32 without TF32, and bfloat16 autocast."""
    import torch

    from training.run.checkpoint import untrained

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    network = untrained(backbone, dimension=512).network().cuda()

    def on_gpu(precision: torch.dtype) -> Callable[[Pixels], Vectors]:
        def embed(images: Pixels) -> Vectors:
            with torch.inference_mode(), torch.autocast("cuda", precision, enabled=precision != torch.float32):
                vectors: Vectors = network(torch.from_numpy(images).cuda()).float().cpu().numpy()
            return vectors

        return embed

    return [Candidate(f"torch cuda {name}", on_gpu(getattr(torch, name))) for name in ("float32", "bfloat16")]


def reference_of(backbone: str, path: Path) -> Candidate:
    """torch on the CPU with seeded random weights, which are also exported to `path`."""
    import torch

    from export.to_onnx import export_checkpoint
    from export.torch_reference import TorchBackend
    from training.run.checkpoint import untrained

    torch.manual_seed(0)
    checkpoint = untrained(backbone, dimension=512)
    export_checkpoint(checkpoint, path, backbone)
    return Candidate("torch cpu float32", TorchBackend(checkpoint.network()).run)


def measure(model: str, candidates: Sequence[Candidate], reference: Candidate, rounds: int) -> Measurements:
    """Every candidate at every shape and batch size that it takes, in turn, with its worst cosine to the reference."""
    random = np.random.default_rng(0)
    measured = Measurements()
    for (height, width), batch in product(SHAPES, BATCHES):
        images = random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
        setting: Setting = {"height": height, "width": width, "reference": reference.name}
        expected, templates = reference.embed(images), []
        for candidate in candidates:
            try:
                agreement = compare(expected, candidate.embed(images))
            except BackendError as error:
                measured.notes.append(f"{model}, {candidate.name}, {batch} images of {height}x{width}: {error}")
                continue
            parity = Parity(agreement.worst_cosine, agreement.largest_difference)
            row = Row(Part.MODELS, candidate.name, batch, model=model, setting=setting, parity=parity)
            templates.append((row, partial(candidate.embed, images)))
        measured.rows += in_turn(templates, rounds, WARMUP) if templates else []
    return measured


def measure_default(rounds: int) -> Measurements:
    """The default model on ONNX Runtime CUDA and on TensorRT."""
    measured = Measurements()
    model, candidates = ModelFile.open(default_model()), []
    try:
        candidates.append(Candidate("onnxruntime cuda float32", open_backend(model, "cuda").run))
    except BackendError as error:
        measured.notes.append(f"default model, ONNX Runtime CUDA: {error}")
    with ExitStack() as stack:
        try:
            options = Options(cuda_graphs=2 * len(SHAPES) * len(BATCHES))
            plain = stack.enter_context(closing(open_tensorrt(model)))
            graphs = stack.enter_context(closing(open_tensorrt(model, options)))
            candidates += [Candidate("tensorrt", plain.run), Candidate("tensorrt, CUDA graphs", graphs.run)]
        except BackendError as error:
            measured.notes.append(f"default model, TensorRT: {error}")
        if candidates:
            reference = Candidate("onnxruntime cpu float32", open_backend(model, "cpu").run)
            measured.add(measure("default model", candidates, reference, rounds))
    return measured


def measure_frames(rounds: int) -> Measurements:
    """embed_boxes on TensorRT: a frame on the host, and the same frame as torch has it on the GPU."""
    reason = missing_torch_gpu()
    if reason is not None:
        return Measurements(notes=[f"frames on the GPU, torch: {reason}"])
    import torch

    try:
        embedder = Embedder.load(device="tensorrt")
    except BackendError as error:
        return Measurements(notes=[f"frames on the GPU, TensorRT: {error}"])
    measured = Measurements()
    for count in BATCHES:
        frame, boxes = frame_with_boxes(read_crops(EXAMPLES)[1], count)
        expected = Embedder.load().embed_boxes(frame, boxes, "rgb")
        templates = []
        for name, source in (("frame on the host", frame), ("frame on the GPU", torch.from_numpy(frame).cuda())):
            call = partial(embedder.embed_boxes, source, boxes, "rgb")
            parity = Parity(compare(expected, call()).worst_cosine)
            templates.append((Row(Part.FRAMES, name, count, parity=parity), call))
        measured.rows += in_turn(templates, rounds, WARMUP)
    return measured


def measure_backbone(backbone: str, rounds: int) -> Measurements:
    """One backbone on torch, and on ONNX Runtime CUDA where it works."""
    reason = missing_torch_gpu()
    if reason is not None:
        return Measurements(notes=[f"{backbone}, torch: {reason}"])
    measured = Measurements()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{backbone}.onnx"
        reference = reference_of(backbone, path)
        candidates = torch_candidates(backbone)
        try:
            candidates.append(Candidate("onnxruntime cuda float32", open_backend(ModelFile.open(path), "cuda").run))
        except BackendError as error:
            measured.notes.append(f"{backbone}, ONNX Runtime CUDA: {error}")
        measured.add(measure(backbone, candidates, reference, rounds))
    return measured


@click.command()
@click.option(
    "--backbone", "backbones", multiple=True, default=["mobilenetv2", "resnet50"], show_default=True,
    help="A name of training.backbones; may be repeated.",
)  # fmt: skip
@click.option("--rounds", default=30, show_default=True, help="Samples of each case.")
@output_option
def main(backbones: tuple[str, ...], rounds: int, output: Path | None) -> None:
    """Compare and time what is installed on this machine's NVIDIA GPU; -o also writes a page (.md) beside the JSON."""
    parts: dict[str, Callable[[], Measurements]] = {
        "default model": lambda: measure_default(rounds),
        "frames": lambda: measure_frames(rounds),
    }
    parts |= {backbone: partial(measure_backbone, backbone, rounds) for backbone in backbones}
    measured = run_parts(parts)
    if not measured.rows:
        raise NoGpuError("nothing to measure on a GPU here.\n  " + "\n  ".join(measured.notes))
    report = emit("gpu", {}, measured, text(measured.rows), output)
    if output is not None:
        output.with_suffix(".md").write_text(page("What a GPU gives", report), encoding="utf-8")
        click.echo(f"wrote {output} and {output.with_suffix('.md')}")


if __name__ == "__main__":
    run(main)
