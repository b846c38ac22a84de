"""python -m benchmarks.operators MODEL: which operators an engine spends a batch of eight in, by its own profiler."""

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.inputs import SIZE
from benchmarks.results import text_table
from benchmarks.subjects import pin
from benchmarks.work import multiply_adds
from reid_runtime.backends.openvino import openvino_core
from reid_runtime.cli import run
from reid_runtime.images.resize import Pixels

RUNS, WARM = 20, 5


@dataclass(frozen=True)
class Spent:
    """Milliseconds of a batch by operator, as the engine names what it really runs after its own fusions."""

    engine: str
    milliseconds: dict[str, float]

    @property
    def total(self) -> float:
        """Of all operators, the gaps between them not counted."""
        return sum(self.milliseconds.values())


def on_onnxruntime(model: Path, images: Pixels, threads: int) -> Spent:
    """By ONNX Runtime's profiler, on its CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = threads, True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(WARM + RUNS):
            session.run(None, {session.get_inputs()[0].name: images})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    kernels = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    spent: Counter[str] = Counter()
    for event in kernels[len(kernels) * WARM // (WARM + RUNS) :]:
        spent[event["args"]["op_name"]] += event["dur"] / 1e3 / RUNS
    return Spent("ONNX Runtime, CPU", dict(spent))


def on_openvino(model: Path, images: Pixels, threads: int, precision: str) -> Spent:
    """By OpenVINO's performance counters; `precision` is its hint, f32 or bf16."""
    core = openvino_core()
    hints = {"PERF_COUNT": "YES", "INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": precision}
    request = core.compile_model(str(model), "CPU", hints).create_infer_request()
    spent: Counter[str] = Counter()
    for number in range(WARM + RUNS):
        request.infer([images])
        if number >= WARM:
            for node in request.profiling_info:
                spent[f"{node.node_type}, {node.exec_type}"] += node.real_time.total_seconds() * 1e3 / RUNS
    return Spent(f"OpenVINO, CPU, {precision}", {name: value for name, value in spent.items() if value})


def as_table(spent: Spent, operations: float, batch: int) -> str:
    """The costliest operators first; those of less than half a percent together."""
    lines, rest = [], 0.0
    for name, value in sorted(spent.milliseconds.items(), key=lambda item: -item[1]):
        if value < 0.005 * spent.total:
            rest += value
        else:
            lines.append([name, f"{value:.2f}", f"{100 * value / spent.total:.1f} %"])
    lines.append(["all others", f"{rest:.2f}", f"{100 * rest / spent.total:.1f} %"])
    speed = operations / spent.total / 1e6
    said = f"{spent.engine}: {spent.total:.1f} ms a batch of {batch}, {speed:,.0f} x 10^9 operations a second in all"
    return f"{said}\n{text_table(['operator', 'ms', 'share'], lines)}"


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Cores; all without this.")
def main(models: tuple[Path, ...], batch: int, threads: int | None) -> None:
    """Where MODELS, ONNX files of ours, spend their time inside ONNX Runtime and OpenVINO, 256x128 crops in batches."""
    cores = pin(threads)
    images = np.random.default_rng(0).integers(0, 256, (batch, *SIZE, 3), dtype=np.uint8)
    for model in models:
        operations = 2.0 * multiply_adds(model, batch, *SIZE)
        click.echo(f"{model.name}, {cores} cores\n")
        click.echo(as_table(on_onnxruntime(model, images, cores), operations, batch) + "\n")
        click.echo(as_table(on_openvino(model, images, cores, "f32"), operations, batch) + "\n")


if __name__ == "__main__":
    run(main)
