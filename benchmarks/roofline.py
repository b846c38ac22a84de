"""python -m benchmarks.roofline: the most that this machine was seen to do, in this minute: multiply-adds and memory.

A peak is the best that any engine here reaches with products of any of SHAPES, sixteen of them, one after the other as
a network has its layers. Which shape is best depends on what the caches hold, and differs by the engine; one is that of
a convolution, which OpenVINO computes as such. The best sample counts and not the median: a limit that something
disturbed is none. What the processor could do with better code than any engine here has is more, above all in bfloat16
and INT8: a peak is the least that the limit can be, and a share of it the most.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.cases import pin
from benchmarks.measurements import Found, Row, hand_over, output_option, rows_of, shown, text_table
from benchmarks.timing import FULL, QUICK, Budget, paired
from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino, openvino_core
from reid_runtime.cli import run
from reid_runtime.errors import BackendError

PART = "limits"
BYTES = "memory, bytes read and written"
PRECISIONS = ("float32", "bfloat16", "int8")
SHAPES = ((512, 512, 512), (4096, 1152, 128), (4096, 256, 256), (2048, 512, 512), (1024, 1024, 1024))
"""Rows, depth and columns: small, a convolution of 3x3 with 128 channels, tall as those of 1x1 are, and large."""
_PICTURE = (32, 16)
"""Height and width of what is convolved."""
_MOVED = 1 << 30
"""Bytes, of a trial a sixteenth: more than the caches of most processors hold."""
_REPEATS = 16
"""Products of one sample: one alone may end before all of an engine's threads are awake."""
_EIGHT_BITS = 127.0

Call = Callable[[], object]
Shape = tuple[int, int, int]
Matrix = np.ndarray[Any, np.dtype[np.float32]]


def measure_limits(threads: int, budget: Budget) -> Found:
    """The rows of every engine that is installed; `items` are operations, two for a multiply-add, or bytes."""
    found = Found()
    calls: dict[tuple[str, Shape], dict[str, Call]] = {}
    for engine, make in _ENGINES.items():
        for shape in SHAPES if budget.scale > 1 else SHAPES[:2]:
            try:
                made = make(*_matrices(*shape), threads)
            except (ImportError, BackendError, RuntimeError) as error:
                found.notes.append(f"limit by {engine}: {error}")
                break
            for precision, call in made.items():
                calls.setdefault((precision, shape), {})[engine] = call
    for precision in PRECISIONS:
        if not any(known == precision for known, _ in calls):
            found.notes.append(f"limit of {precision}: no engine here computes in it")
    for (precision, sides), engines in calls.items():
        product = "×".join(map(str, sides))
        named = {f"{precision} by {engine}, {product}": call for engine, call in engines.items()}
        setting = {"limit": precision, "shape": product, "threads": threads}
        samples = paired(named, max(10, budget.rounds), budget.warmup + 1)
        found.rows += rows_of(PART, samples, setting, _REPEATS * 2 * math.prod(sides))
    size = _MOVED if budget.scale > 1 else _MOVED // 16
    moved = paired({BYTES: _copier(size, threads)}, max(10, budget.rounds), budget.warmup)
    found.rows += rows_of(PART, moved, {"limit": BYTES, "bytes": size, "threads": threads}, 2 * size)
    return found


def peak(rows: list[Row], limit: str) -> float | None:
    """Operations, or bytes, a second: the best that any engine reached; None where none was measured."""
    reached = [_reached(row) for row in rows if row.part == PART and row.setting["limit"] == limit]
    return max(reached, default=None)


def best(rows: list[Row]) -> list[Row]:
    """Of the rows of a limit by one engine the one with the shape that it is best at."""
    found: dict[str, Row] = {}
    for row in shown(rows):
        name = row.case.partition(",")[0]
        if name not in found or _reached(row) > _reached(found[name]):
            found[name] = row
    return list(found.values())


def _reached(row: Row) -> float:
    return row.items / min(row.seconds)


def _matrices(rows: int, depth: int, columns: int) -> tuple[Matrix, Matrix]:
    """Values that a chain of products neither blows up nor lets vanish."""
    random = np.random.default_rng(0)
    a, b = (random.uniform(-1, 1, shape).astype(np.float32) for shape in ((rows, depth), (depth, columns)))
    return a, b * np.float32(np.sqrt(3 / depth))


def _repeated(call: Call) -> Call:
    def calls() -> None:
        for _ in range(_REPEATS):
            call()

    return calls


def _numpy(a: Matrix, b: Matrix, threads: int) -> dict[str, Call]:
    out = a @ b
    return {"float32": _repeated(lambda: np.matmul(a, b, out=out))}


def _torch(a: Matrix, b: Matrix, threads: int) -> dict[str, Call]:
    import torch

    torch.set_num_threads(threads)
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    halves = left.bfloat16(), right.bfloat16()
    calls = {"float32": _repeated(lambda: left @ right), "bfloat16": _repeated(lambda: halves[0] @ halves[1])}
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # else it multiplies one by one
        whole = [torch.from_numpy(_eight_bits(matrix)) for matrix in (a, b)]
        calls["int8"] = _repeated(lambda: torch._int_mm(*whole))
    return calls


def _onnxruntime(a: Matrix, b: Matrix, threads: int) -> dict[str, Call]:
    onnxruntime = import_onnxruntime("cpu")
    from onnx import TensorProto, helper, numpy_helper

    def session(operator: str, kind: int, weights: Any, result: int) -> Any:
        graph = helper.make_graph(
            [helper.make_node(operator, ["a", "b"], ["c"])],
            "product",
            [helper.make_tensor_value_info("a", kind, a.shape)],
            [helper.make_tensor_value_info("c", result, [len(a), b.shape[1]])],
            [numpy_helper.from_array(weights, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    exact = session("MatMul", TensorProto.FLOAT, b, TensorProto.FLOAT)
    # Unsigned by signed of 7 bits, as `export.to_int8 --for cpu` makes them.
    whole = session("MatMulInteger", TensorProto.UINT8, _eight_bits(b) // 2, TensorProto.INT32)
    unsigned = _eight_bits(a).view(np.uint8)
    return {
        "float32": _repeated(lambda: exact.run(None, {"a": a})),
        "int8": _repeated(lambda: whole.run(None, {"a": unsigned})),
    }


def _openvino(a: Matrix, b: Matrix, threads: int) -> dict[str, Call]:
    openvino = import_openvino()
    from openvino import opset13

    columns = b.shape[1]
    convolved = a.shape[1] != columns  # a chain of products has square matrices
    first = a[:, :columns].reshape(-1, columns, *_PICTURE) if convolved else a
    weights = b.T.reshape(columns, columns, 3, 3) if convolved else b.T

    def fixed(tensor: Any, low: float, high: float, levels: int) -> Any:
        ends = [opset13.constant(np.float32(end)) for end in (low, high)]
        return opset13.fake_quantize(tensor, *ends, *ends, levels)

    def chain(hint: str, integers: bool = False) -> Any:
        given = opset13.parameter(list(first.shape), np.float32)
        last = given
        high = float(abs(weights).max())
        for _ in range(_REPEATS):
            factor = opset13.constant(np.ascontiguousarray(weights))
            if integers:
                last, factor = fixed(last, 0.0, 2.0, 256), fixed(factor, -high, high, 255)
            if convolved:
                last = opset13.convolution(last, factor, [1, 1], [1, 1], [1, 1], [1, 1])
            else:
                last = opset13.matmul(last, factor, False, True)
        model = openvino.Model([last], [given], "products")
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        return openvino_core().compile_model(model, "CPU", options)

    def call(compiled: Any) -> Call:
        request = compiled.create_infer_request()
        return lambda: request.infer([first], share_inputs=True, share_outputs=True)

    calls = {"float32": call(chain("f32"))}
    if "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        calls["bfloat16"] = call(chain("bf16"))
    whole = chain("f32", integers=True)
    kinds = ("FullyConnected", "Convolution")
    products = [node for node in whole.get_runtime_model().get_ops() if _told(node, "layerType") in kinds]
    if products and all(_told(node, "runtimePrecision") in ("i8", "u8") for node in products):
        calls["int8"] = call(whole)
    return calls


def _told(node: Any, what: str) -> str:
    """What OpenVINO says of a step of a compiled model."""
    info = node.get_rt_info()
    return str(info[what].value) if what in info else ""


_ENGINES: dict[str, Callable[[Matrix, Matrix, int], dict[str, Call]]] = {
    "numpy": _numpy, "torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino,
}  # fmt: skip


def _eight_bits(matrix: Matrix) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.asarray(np.rint(np.abs(matrix) * (_EIGHT_BITS / np.abs(matrix).max())), np.int8)


def _copier(size: int, threads: int) -> Call:
    """Each thread copies its part of an array of so many bytes."""
    source = np.ones(size // 8, np.float64)
    target = np.empty_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))


def as_table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = [[row.case, f"{_reached(row) / 1e9:,.1f}"] for row in best(rows)]
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
