"""python -m benchmarks operators: in which operators a network's time goes, by the engine itself, on one core."""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment
from benchmarks.flops import operations
from benchmarks.inputs import SIZE
from benchmarks.measurements import markdown_table
from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino, openvino_core
from reid_runtime.backends.openvino_graph import fold_constants, of_one_size
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelPath
from reid_runtime.errors import BackendError
from reid_runtime.images.model_input import ModelInput, to_model_input
from reid_runtime.model_file import ModelFile

_WARMUP = 5


@dataclass
class Profile:
    """Where a network's time went, summed over runs of one batch.

    Attributes:
        seconds: Of the runs as the caller saw them, without the profile being on.
        by_operator: Seconds by operator and kernel, as the engine names them.
        counts: How many operators of the kind ran, over all runs.
    """

    seconds: float = 0.0
    by_operator: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


def profiled_by_openvino(path: Path, images: ModelInput, runs: int, hint: str, one_size: bool) -> Profile:
    """The network of free sizes, or the one that the runtime compiles for a size that many images have.

    Args:
        path: A file that OpenVINO reads.
        images: A batch in the input format of the model's contract.
        runs: How many are summed.
        hint: "f32" or "bf16", of what is multiplied.
        one_size: Compile for the batch's shape.
    """
    openvino, core = import_openvino(), openvino_core()
    plain: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}

    def compiled(options: dict[str, Any]) -> Callable[[], Any]:
        model = core.read_model(path)
        fold_constants(openvino, model)
        further: list[Any] = []
        if one_size:
            options, further = of_one_size(openvino, core, model, images.shape, options)
        request = core.compile_model(model, "CPU", options).create_infer_request()

        def infer() -> Any:
            request.infer([images, *further], share_inputs=True)
            return request

        return infer

    profile = Profile(_seconds(compiled(plain), runs))
    infer = compiled(plain | {"PERF_COUNT": True})
    for number in range(_WARMUP + runs):
        steps = infer().profiling_info
        for step in steps if number >= _WARMUP else ():
            if seconds := step.real_time.total_seconds():
                profile.by_operator[step.node_type, step.exec_type] += seconds
                profile.counts[step.node_type, step.exec_type] += 1
    return profile


def profiled_by_onnxruntime(path: Path, images: ModelInput, runs: int) -> Profile:
    """As ONNX Runtime's CPU provider runs it, after its own optimisation of the graph.

    Args:
        path: An ONNX file.
        images: A batch in the input format of the model's contract.
        runs: How many are summed.
    """
    onnxruntime = import_onnxruntime("cpu")

    def session(**changes: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        for name, value in changes.items():
            setattr(options, name, value)
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    plain = session()
    feed = {plain.get_inputs()[0].name: images}
    profile = Profile(_seconds(lambda: plain.run(None, feed), runs))
    with tempfile.TemporaryDirectory() as folder:
        watched = session(enable_profiling=True, profile_file_prefix=f"{folder}/profile")
        for _ in range(_WARMUP + runs):
            watched.run(None, feed)
        events = json.loads(Path(watched.end_profiling()).read_text("utf-8"))
    steps = [each for each in events if each["cat"] == "Node" and each["name"].endswith("_kernel_time")]
    for step in steps[_WARMUP * len(steps) // (_WARMUP + runs) :]:
        key = step["args"]["op_name"], step["args"].get("provider", "").removesuffix("ExecutionProvider")
        profile.by_operator[key] += step["dur"] / 1e6
        profile.counts[key] += 1
    return profile


def _seconds(call: Callable[[], object], runs: int) -> float:
    for _ in range(_WARMUP):
        call()
    began = time.perf_counter()
    for _ in range(runs):
        call()
    return time.perf_counter() - began


def table(profile: Profile, images: int, runs: int) -> str:
    """Markdown: by operator and kernel how many, milliseconds an image, and the share, the largest first."""
    total = sum(profile.by_operator.values())
    lines = [
        [*key, f"{profile.counts[key] / runs:.0f}", f"{1000 * seconds / runs / images:.3f}", f"{seconds / total:.1%}"]
        for key, seconds in profile.by_operator.most_common()
    ]
    return markdown_table(["operator", "kernel", "number", "ms an image", "share"], lines)


@click.command()
@click.argument("model", type=ModelPath())
@click.option("--device", type=click.Choice(["cpu", "openvino", "openvino-bf16"]), default="cpu", show_default=True)
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Images of 256x128.")
@click.option("--one-size", is_flag=True, help="OpenVINO: the network that is compiled for a size of many images.")
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True)
def main(model: Path, device: str, batch: int, one_size: bool, runs: int) -> None:
    """Print in which operators MODEL's time goes, on one core: base, small, tiny, or a file."""
    if one_size and device == "cpu":
        raise BackendError("device 'cpu' compiles no network for one size: expected --device openvino with --one-size")
    contract = ModelFile.open(model).contract
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *SIZE, 3), np.uint8)
    images = to_model_input(pixels, contract.input)
    if device == "cpu":
        profile = profiled_by_onnxruntime(model, images, runs)
    else:
        profile = profiled_by_openvino(model, images, runs, "bf16" if "bf16" in device else "f32", one_size)
    each = profile.seconds / runs / batch
    count, machine = operations(model, [SIZE]), environment()
    rate = "" if count is None else f", {count / each / 1e9:.1f} G operations a second"
    click.echo(table(profile, batch, runs))
    click.echo(
        f"\n{1000 * each:.3f} ms an image in batches of {batch} without the profile{rate}; {device}, one core of "
        f"{machine['processor']}"
    )


if __name__ == "__main__":
    run(main)
