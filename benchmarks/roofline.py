"""The most that this machine was seen to do, in this minute: operations and memory.

A peak is the best that any engine here reaches with products of matrices of any of SHAPES, sixteen of them, one after
the other as a network has its layers. Which shape is best depends on what the caches hold, and differs by the engine.
Better code than any engine has here may do more: a peak is the least that the limit can be, and a share of it the most.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.measurements import Call, Measurements, Part, Row, in_turn
from benchmarks.timing import Budget
from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino, openvino_core
from reid_runtime.errors import BackendError

MEMORY = "memory"
"""The name of the row whose items are bytes, read and written; the others' are operations."""
SHAPES = ((512, 512, 512), (4096, 1152, 128), (4096, 256, 256), (2048, 512, 512), (1024, 1024, 1024))
"""Rows, depth and columns: small, a convolution of 3x3 with 128 channels, tall as those of 1x1 are, and large."""
_IMAGE = (32, 16)  # height and width of what is convolved
_MOVED = 1 << 30  # bytes, of a trial a sixteenth: more than the caches of most processors hold
_REPEATS = 16
"""Products of one sample: one alone may end before all of an engine's threads are awake."""

Matrix = np.ndarray[Any, np.dtype[np.float32]]


def measure_roofline(threads: int, budget: Budget) -> Measurements:
    """The rows of every engine that is installed; operations are two for a multiply-add."""
    measured, missing, rounds = Measurements(), dict[str, str](), max(10, budget.rounds)
    for shape in SHAPES if budget.scale > 1 else SHAPES[:2]:
        row = Row(Part.ROOFLINE, "×".join(map(str, shape)), items=_REPEATS * 2 * math.prod(shape))
        templates: list[tuple[Row, Call]] = []
        for engine, make in _ENGINES.items():
            try:
                products = make(*_matrices(*shape), threads)
            except (ImportError, BackendError, RuntimeError) as error:
                missing[engine] = f"limit by {engine}: {error}"
                continue
            templates += [(replace(row, engine=engine, precision=kind), call) for kind, call in products.items()]
        measured.rows += in_turn(templates, rounds, budget.warmup + 1, threads)
    kinds = {row.precision for row in measured.rows}
    measured.notes += missing.values()
    measured.notes += [f"limit of {k}: no engine here computes in it" for k in ("bfloat16", "int8") if k not in kinds]
    size = _MOVED if budget.scale > 1 else _MOVED // 16
    row = Row(Part.ROOFLINE, MEMORY, items=2 * size)
    measured.rows += in_turn([(row, _copier(size, threads))], rounds, budget.warmup, threads)
    return measured


def _matrices(rows: int, depth: int, columns: int) -> tuple[Matrix, Matrix]:
    """Values that a chain of products neither blows up nor lets vanish."""
    random = np.random.default_rng(0)
    a, b = (random.uniform(-1, 1, shape).astype(np.float32) for shape in ((rows, depth), (depth, columns)))
    return a, b * np.float32(np.sqrt(3 / depth))


def _repeat(call: Call) -> None:
    for _ in range(_REPEATS):
        call()


def _onnxruntime(a: Matrix, b: Matrix, threads: int) -> dict[str, Call]:
    onnxruntime = import_onnxruntime("cpu")
    from onnx import TensorProto, helper, numpy_helper

    def product(operator: str, kind: int, left: Any, right: Any, result: int) -> Call:
        graph = helper.make_graph(
            [helper.make_node(operator, ["a", "b"], ["c"])],
            "product",
            [helper.make_tensor_value_info("a", kind, a.shape)],
            [helper.make_tensor_value_info("c", result, [len(a), b.shape[1]])],
            [numpy_helper.from_array(right, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return partial(_repeat, lambda: session.run(None, {"a": left}))

    unsigned, signed = _integers(a, 127).view(np.uint8), _integers(b, 63)  # 7 bits, as `export.to_int8 --for cpu`
    return {
        "float32": product("MatMul", TensorProto.FLOAT, a, b, TensorProto.FLOAT),
        "int8": product("MatMulInteger", TensorProto.UINT8, unsigned, signed, TensorProto.INT32),
    }


def _integers(matrix: Matrix, most: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.asarray(np.rint(np.abs(matrix) * (most / np.abs(matrix).max())), np.int8)


def _openvino(a: Matrix, b: Matrix, threads: int) -> dict[str, Call]:
    """A chain of products of square matrices; else of convolutions of 3x3, whose depth is nine times the columns."""
    openvino = import_openvino()
    from openvino import opset13

    columns = b.shape[1]
    convolved = a.shape[1] != columns
    first = a[:, :columns].reshape(-1, columns, *_IMAGE) if convolved else a
    weights = np.ascontiguousarray(b.T.reshape(columns, columns, 3, 3) if convolved else b.T)
    high = float(abs(weights).max())

    def quantised(tensor: Any, low: float, high: float, levels: int) -> Any:
        ends = [opset13.constant(np.float32(end)) for end in (low, high)]
        return opset13.fake_quantize(tensor, *ends, *ends, levels)

    def chain(hint: str, integers: bool = False) -> Any:
        last = parameter = opset13.parameter(list(first.shape), np.float32)
        for _ in range(_REPEATS):
            factor = opset13.constant(weights)
            if integers:
                last, factor = quantised(last, 0.0, 2.0, 256), quantised(factor, -high, high, 255)
            if convolved:
                last = opset13.convolution(last, factor, [1, 1], [1, 1], [1, 1], [1, 1])
            else:
                last = opset13.matmul(last, factor, False, True)
        model = openvino.Model([last], [parameter], "products")
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        return openvino_core().compile_model(model, "CPU", options)

    def call(compiled: Any) -> Call:
        request = compiled.create_infer_request()
        return lambda: request.infer([first], share_inputs=True, share_outputs=True)

    calls = {"float32": call(chain("f32"))}
    if "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        calls["bfloat16"] = call(chain("bf16"))
    integers = chain("f32", integers=True)
    steps = [_runtime_info(node) for node in integers.get_runtime_model().get_ops()]
    products = [kind for layer, kind in steps if layer in ("FullyConnected", "Convolution")]
    if products and all(kind in ("i8", "u8") for kind in products):
        calls["int8"] = call(integers)
    return calls


def _runtime_info(node: Any) -> tuple[str, str]:
    """Layer type and precision that OpenVINO gives a step of a compiled model."""
    info = node.get_rt_info()
    layer, kind = (str(info[key].value) if key in info else "" for key in ("layerType", "runtimePrecision"))
    return layer, kind


_ENGINES: dict[str, Callable[[Matrix, Matrix, int], dict[str, Call]]] = {
    "onnxruntime": _onnxruntime, "openvino": _openvino,
}  # fmt: skip


def _copier(size: int, threads: int) -> Call:
    """Each thread copies its part of an array of so many bytes."""
    source = np.ones(size // 8, np.float64)
    target = np.empty_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))
