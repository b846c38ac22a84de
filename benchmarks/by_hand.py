"""Commands that check a report's figures without its code: each engine's own tool, or five lines of its own API."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.inputs import SIZE
from benchmarks.subjects import Subject

_ONNXRUNTIME = (
    'python -m timeit -n 20 -s "import numpy, onnxruntime as o; s = o.SessionOptions(); s.intra_op_num_threads = '
    "{threads}; m = o.InferenceSession('{name}', s, providers=['CPUExecutionProvider']); x = numpy.random.randint(0, "
    "256, (8, {height}, {width}, 3), 'uint8')\" \"m.run(None, {{'images': x}})\""
)
_OPENVINO = (
    'taskset -c 0-{last} benchmark_app -m {name} -d CPU -shape "[8,{height},{width},3]" -hint latency -nireq 1 '
    "-infer_precision {precision} -t 10"
)
_EXTRACTOR = (
    'python -m timeit -n 5 -s "from pathlib import Path; from benchmarks.peers.candidates import TorchExtractor; t = '
    "TorchExtractor(Path('{name}'), {threads}); f = sorted(Path('examples/crops').rglob('*.png'))\" \"t.embed(f)\""
)
# Its tool takes no number of threads beside a hint, so it is kept on as many cores.
_QUEUE = 'taskset -c 0-{last} benchmark_app -m {name} -d CPU -shape "[1,{height},{width},3]" -hint throughput -t 10'


def commands(subjects: Iterable[Subject], checkpoint: Path | None, threads: int) -> dict[str, str]:
    """By what they measure, to be run on the same cores in the folder of each file.

    For our own artefacts on CPU engines: batches of eight, ready in memory; for others, what their documentation runs.
    """
    found: dict[str, str] = {}
    places: dict[str, object] = {"height": SIZE[0], "width": SIZE[1], "threads": threads, "last": threads - 1}
    for subject in subjects:
        path = subject.embedder.path
        places["name"] = path.name
        if path.suffix != ".onnx" or subject.embedder.backend.contract_text is None:
            continue
        if subject.device == "cpu":
            found[f"{subject.case}, eight crops"] = _ONNXRUNTIME.format(**places)
        elif subject.device.startswith("openvino"):
            precision = "bf16" if subject.device == "openvino-bf16" else "f32"
            found[f"{subject.case}, eight crops"] = _OPENVINO.format(**places, precision=precision)
            found[f"openvino, asynchronous queue: {path.stem}, without files"] = _QUEUE.format(**places)
    if checkpoint is not None:
        places["name"] = checkpoint.name
        found[f"torch eager: {checkpoint.stem}, all the example crops"] = _EXTRACTOR.format(**places)
    return found
