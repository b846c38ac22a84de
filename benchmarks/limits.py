"""python -m benchmarks.limits: what this machine can do at most, in this minute: multiply-adds and memory.

A peak is the best that any engine here reaches with a product of large square matrices, which is all that a
convolution can hope for. The best sample counts and not the median: a limit that something disturbed is none.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.results import Found, Row, hand_over, output_option, rows_of, shown, text_table
from benchmarks.subjects import pin
from benchmarks.timing import FULL, QUICK, Budget, paired
from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino
from reid_runtime.cli import run
from reid_runtime.errors import BackendError

PART = "limits"
BYTES = "memory, bytes read and written"
PRECISIONS = ("float32", "bfloat16", "int8")
_MOVED = 1 << 26
_REPEATS = 16
"""Products of one sample: one alone may end before all of an engine's threads are awake."""

Call = Callable[[], object]


def measure_limits(threads: int, budget: Budget) -> Found:
    """The rows of every engine that is installed; `items` are operations, two for a multiply-add, or bytes."""
    side = 1024 if budget.scale > 1 else 512
    found = Found()
    calls: dict[str, dict[str, Call]] = {precision: {} for precision in PRECISIONS}
    for engine, make in (("numpy", _numpy), ("torch", _torch), ("onnxruntime", _onnxruntime), ("openvino", _openvino)):
        try:
            made = make(side, threads)
        except (ImportError, BackendError, RuntimeError) as error:
            found.notes.append(f"limit by {engine}: {error}")
            continue
        for precision, call in made.items():
            calls[precision][engine] = call
    rounds = max(10, budget.rounds)
    for precision, engines in calls.items():
        if not engines:
            found.notes.append(f"limit of {precision}: no engine here computes in it")
            continue
        samples = paired(
            {engine: partial(_repeat, call) for engine, call in engines.items()}, rounds, budget.warmup + 1
        )
        named = {f"{precision} by {engine}": seconds for engine, seconds in samples.items()}
        setting = {"limit": precision, "side": side, "threads": threads}
        found.rows += rows_of(PART, named, setting, _REPEATS * 2 * side**3)
    moved = paired({"copy": _copier(threads)}, rounds, budget.warmup)
    found.rows += rows_of(PART, {BYTES: moved["copy"]}, {"limit": BYTES, "threads": threads}, 2 * _MOVED)
    return found


def peak(rows: list[Row], limit: str) -> float | None:
    """Operations, or bytes, a second: the best that any engine reached; None where none was measured."""
    reached = [row.items / min(row.seconds) for row in rows if row.part == PART and row.setting["limit"] == limit]
    return max(reached, default=None)


def _repeat(call: Call) -> None:
    for _ in range(_REPEATS):
        call()


def _numpy(side: int, threads: int) -> dict[str, Call]:
    a, b = _matrices(side)
    out = np.empty((side, side), np.float32)
    return {"float32": lambda: np.matmul(a, b, out=out)}


def _torch(side: int, threads: int) -> dict[str, Call]:
    import torch

    torch.set_num_threads(threads)
    a, b = (torch.from_numpy(matrix) for matrix in _matrices(side))
    halves = a.bfloat16(), b.bfloat16()
    return {"float32": lambda: a @ b, "bfloat16": lambda: halves[0] @ halves[1]}


def _onnxruntime(side: int, threads: int) -> dict[str, Call]:
    onnxruntime = import_onnxruntime("cpu")
    from onnx import TensorProto, helper, numpy_helper

    def session(operator: str, kind: int, weights: Any, result: int) -> Any:
        graph = helper.make_graph(
            [helper.make_node(operator, ["a", "b"], ["c"])],
            "product",
            [helper.make_tensor_value_info("a", kind, [side, side])],
            [helper.make_tensor_value_info("c", result, [side, side])],
            [numpy_helper.from_array(weights, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    a, b = _matrices(side)
    exact = session("MatMul", TensorProto.FLOAT, b, TensorProto.FLOAT)
    # Unsigned by signed of 7 bits, as `export.to_int8 --for cpu` makes them.
    whole = session("MatMulInteger", TensorProto.UINT8, (b * 63).astype(np.int8), TensorProto.INT32)
    unsigned = (np.abs(a) * 255).astype(np.uint8)
    return {"float32": lambda: exact.run(None, {"a": a}), "int8": lambda: whole.run(None, {"a": unsigned})}


def _openvino(side: int, threads: int) -> dict[str, Call]:
    openvino = import_openvino()
    from openvino import opset13

    a, b = _matrices(side)

    def request(hint: str) -> Call:
        given = opset13.parameter([side, side], np.float32)
        model = openvino.Model([opset13.matmul(given, opset13.constant(b), False, False)], [given], "product")
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
        return lambda: compiled.infer([a], share_inputs=True)

    calls = {"float32": request("f32")}
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        calls["bfloat16"] = request("bf16")
    return calls


def _matrices(side: int) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.float32]]]:
    random = np.random.default_rng(0)
    a, b = (random.uniform(-1, 1, (side, side)).astype(np.float32) for _ in range(2))
    return a, b


def _copier(threads: int) -> Call:
    """Each thread copies its part of an array that no cache holds."""
    source = np.ones(_MOVED // 8, np.float64)
    target = np.empty_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = [[row.case, f"{row.items / min(row.seconds) / 1e9:,.1f}"] for row in shown(rows)]
    return text_table(["limit", "10^9 a second"], lines)


@click.command()
@click.option("--threads", type=click.IntRange(1), help="Cores; all without this.")
@click.option("--quick", is_flag=True, help="A trial in place of a measurement.")
@output_option
def main(threads: int | None, quick: bool, output: Path | None) -> None:
    """Measure the machine's own peaks: operations in float32, bfloat16 and INT8, and bytes of memory."""
    found = measure_limits(pin(threads), QUICK if quick else FULL)
    hand_over("limits", found, as_table(found.rows), output)


if __name__ == "__main__":
    run(main)
