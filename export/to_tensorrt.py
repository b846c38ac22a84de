"""python -m export.to_tensorrt: an ONNX file to a TensorRT engine, held to ONNX Runtime where there is a GPU."""

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import click
import numpy as np

from export.gate import EXAMPLES, read_crops
from export.parity import Embed, Probe, require_parity
from reid_runtime.agreement import TOLERANCES
from reid_runtime.backends.cuda.driver import NoGpuError, find_gpu
from reid_runtime.backends.onnx import OnnxBackend
from reid_runtime.backends.tensorrt.cache import EngineCache, plan_build
from reid_runtime.backends.tensorrt.engine import BuildOptions, Engine, write_engine
from reid_runtime.backends.tensorrt.module import import_tensorrt
from reid_runtime.backends.tensorrt.profiles import Batches, profiles_for
from reid_runtime.backends.tensorrt.progress import Progress
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, ImageError, ReidRuntimeError
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import Pixels, ResizeRule, resize
from reid_runtime.io.atomic import ensure_writable
from reid_runtime.jobs.sources import find_sources
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.formats import sidecar_path

_LOOKED_AT = 2000
"""Images of a folder that are read for their sizes; a larger folder is sampled."""


def shapes_in(folder: Path, rule: ResizeRule) -> Counter[tuple[int, int]]:
    """How many of the folder's images have which (height, width) after the resize; bad images are passed over."""
    paths = find_sources([str(folder)]).paths
    if len(paths) > _LOOKED_AT:
        paths = tuple(random.Random(0).sample(paths, _LOOKED_AT))
    shapes: Counter[tuple[int, int]] = Counter()
    for path in paths:
        try:
            height, width = load_image(path).shape[:2]
        except ImageError:
            continue
        shapes[rule.shape(height, width)] += 1
    if not shapes:
        raise ReidRuntimeError(f"{folder}: none of its {len(paths)} images can be read, so none has a size")
    return shapes


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on standard error; without a terminal only its first line."""
    steps = 1000
    with click.progressbar(length=steps, label="building the engine", file=sys.stderr) as bar:

        def show(part: float, phase: str) -> None:
            bar.update(int(part * steps) - bar.pos)

        yield show


def compared(engine: Engine, onnx: Path) -> Engine:
    """The engine with what came of its comparison with ONNX Runtime: its drift, or why there was none.

    Raises ParityError where it does not give the file's vectors, at every profile's ends and optimum.
    """
    assert engine.origin is not None
    assert engine.contract_text is not None
    try:
        find_gpu()
    except NoGpuError:
        return replace(engine, origin=replace(engine.origin, parity="not run: no GPU"))
    from reid_runtime.backends.tensorrt.backend import TensorRTBackend

    contract = Contract.from_json(engine.contract_text, str(onnx))
    reference, candidate = (
        embedding(Embedder(backend, contract, onnx)) for backend in (OnnxBackend(onnx, "cpu"), TensorRTBackend(engine))
    )
    probes = engine_probes(engine, read_crops(EXAMPLES)[1])
    agreement = require_parity(reference, candidate, TOLERANCES[contract.precision.kind].engine, probes)
    drift = {"worst_cosine": agreement.worst_cosine, "largest_difference": agreement.largest_difference}
    parity = f"{agreement.rows} images against ONNX Runtime on the CPU"
    return replace(
        engine,
        contract_text=replace(contract, drift=drift).to_json(),
        origin=replace(engine.origin, parity=parity),
    )


def engine_probes(engine: Engine, crops: Sequence[Pixels]) -> Iterator[Probe]:
    """Crops at each profile's least, best and largest height and width; at the best in every batch that it is for."""
    used = cycle(crops)
    for profile in engine.profiles:
        least, best, most = profile.minimum, profile.optimum, profile.maximum
        for count, size in (
            (least[0], least[1:]),
            (best[0], best[1:]),
            (most[0], best[1:]),
            (max(least[0], min(2, most[0])), most[1:]),
        ):
            chosen = [resize(next(used), size) for _ in range(count)]
            yield f"{count} of {size[0]}x{size[1]}", np.stack(chosen)


def embedding(embedder: Embedder) -> Embed:
    """The whole runtime as the gate calls it. The probes have shapes that the resize rule leaves alone."""
    return lambda images: embedder.embed(list(images), channel_order="rgb")


def export_engine(
    file: ModelFile,
    path: Path,
    *,
    batches: Batches,
    folder: Path | None,
    options: BuildOptions,
) -> Engine:
    """Build `path` and its sidecar; neither is there where the build or the comparison fails."""
    trt = import_tensorrt()
    rule = file.contract.resize
    profiles = profiles_for(rule, batches, None if folder is None else shapes_in(folder, rule))
    request, planned = plan_build(trt, file, profiles, options)
    with progress_bar() as progress:
        built = EngineCache().build(trt, request, planned, progress)
    engine = compared(built, file.path)
    write_engine(path, engine)
    return engine


class _BatchRange(click.ParamType[Batches]):
    name = "OPTIMUM:MAXIMUM"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Batches:
        if isinstance(value, Batches):
            return value
        best, _, most = str(value).partition(":")
        try:
            return Batches(int(best), int(most or best))
        except (ValueError, BackendError):
            self.fail(f"expected two numbers such as 8:32, the first not above the second, found {value!r}", param, ctx)


@click.command()
@click.argument("model", type=ModelPath())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The engine file to write.")
@click.option(
    "--profiles-from",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of crops such as the engine will meet: their sizes decide its profiles.",
)
@click.option(
    "--batch",
    type=_BatchRange(),
    default="8:32",
    show_default=True,
    help="How many images go into one call: at best, and at most.",
)
@click.option(
    "--contract",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="States the contract of a model that carries none (JSON).",
)
@click.option(
    "--compute-capability",
    "capabilities",
    multiple=True,
    help="TensorRT-RTX alone: a GPU to build for, as in 8.6; may be repeated. Without it, 8.0 and later.",
)
@click.option("--tf32", is_flag=True, help="Let float32 products round their inputs to 10 bits: faster, less exact.")
@click.option(
    "--level", type=click.IntRange(0, 5), help="How long TensorRT looks for faster kernels; its default is 3."
)
@click.option(
    "--workspace-mib", type=click.IntRange(1), help="Scratch memory a kernel may use; the whole GPU otherwise."
)
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def main(
    model: Path,
    output: Path,
    profiles_from: Path | None,
    batch: Batches,
    contract: Path | None,
    capabilities: tuple[str, ...],
    tf32: bool,
    level: int | None,
    workspace_mib: int | None,
    force: bool,
) -> None:
    """Build the TensorRT engine of MODEL, an ONNX file; its precision is the file's own.

    The engine serves this version of TensorRT and this kind of GPU, and loads for who built it. Beside it lies
    OUTPUT.json: contract, digests, profiles, and what built it. Where there is a GPU it is compared with ONNX
    Runtime; where they differ, exit 1 and no file.
    """
    import_tensorrt()
    for path in (output, sidecar_path(output)):
        ensure_writable(path, force)
    engine = export_engine(
        ModelFile.open(model, contract),
        output,
        batches=batch,
        folder=profiles_from,
        options=BuildOptions(tf32, level, workspace_mib, capabilities),
    )
    assert engine.origin is not None
    click.echo(
        f"wrote {output}: {len(engine.blob) / 1e6:.1f} MB, {len(engine.profiles)} profiles, "
        f"{engine.origin.package} {engine.origin.version}; comparison {engine.origin.parity}"
    )


if __name__ == "__main__":
    run(main)
