"""Commands that check a report's figures without its code: each engine's own tool, or five lines of its own API."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.inputs import SIZE
from benchmarks.peers.measuring import OTHERS, OURS, other_models
from benchmarks.subjects import CONTRACTS, Subject, load
from reid_runtime.errors import ReidRuntimeError
from reid_runtime.model_file.contract import Contract

FILES = "the files of all that follows, made in the repository's folder"
_FILES = (
    'python -c "from pathlib import Path; from benchmarks.inputs import write_files; from export.gate import EXAMPLES, '
    "read_crops; Path('crops').mkdir(); write_files(Path('crops'), read_crops(EXAMPLES)[1], 128)\""
)
_ONNXRUNTIME = (
    'python -m timeit -n 20 -s "import numpy, onnxruntime as o; s = o.SessionOptions(); s.intra_op_num_threads = '
    "{threads}; m = o.InferenceSession('{name}', s, providers=['CPUExecutionProvider']); x = numpy.random.randint(0, "
    "256, (8, {height}, {width}, 3), 'uint8')\" \"m.run(None, {{'images': x}})\""
)
_OPENVINO = (
    "python -m timeit -n 20 -s \"import numpy, openvino as v; h = dict(PERFORMANCE_HINT='LATENCY', "
    "INFERENCE_NUM_THREADS={threads}, INFERENCE_PRECISION_HINT='{precision}'); r = v.Core().compile_model('{name}', "
    "'CPU', h).create_infer_request(); x = numpy.random.randint(0, 256, (8, {height}, {width}, 3), 'uint8')\" "
    '"r.infer([x])"'
)
# Its tool takes no number of threads beside a hint, so it is kept on as many cores.
_QUEUE = "taskset -c 0-{last} benchmark_app -m {name} -d CPU{shape} -hint throughput{precision} -t 10"
_TIMEIT = 'taskset -c 0-{last} python -m timeit -n 3 -s "{setup}; f = sorted(glob(\'crops/*.jpg\'))" "{call}"'
_SESSION = (
    "from glob import glob; import numpy as n, onnxruntime as o; from PIL import Image as I; s = o.SessionOptions(); "
    "s.intra_op_num_threads = {threads}; m = o.InferenceSession('{name}', s, providers=['CPUExecutionProvider']); "
    "i = m.get_inputs()[0].name; "
    "r = lambda q: n.stack([n.asarray(I.open(x).convert('RGB').resize(({width}, {height}))) for x in q]); "
    "b = lambda q: {prepared}"
)
_IN_BATCHES = "for k in range(0, len(f), {batch}): m.run(None, {{i: b(f[k:k + {batch}])}})"
_EXTRACTOR = (
    "from glob import glob; from pathlib import Path; from benchmarks.peers.candidates import TorchExtractor; "
    "t = TorchExtractor(Path('{name}'), {threads}{how})"
)
_EMBEDDER = (
    "from glob import glob; from reid_runtime import Embedder; "
    "e = Embedder.load('{name}', device='{device}', threads={threads}{contract})"
)
_TORCH = {
    "eager, as torchreid has it": "",
    "compiled, frozen, channels last": ", compiled=True",
    "compiled, frozen, channels last, bfloat16 by autocast": ", compiled=True, bfloat16=True",
}
_BATCHES = {"a loop of one": 1, "as fastembed does": 16, "batches of 32": 32}


def commands(
    subjects: Iterable[Subject], checkpoint: Path | None, threads: int, peer_models: Path | None = None
) -> dict[str, str]:
    """By what they measure, to be run on the same cores in the repository's folder, with copies of the models in it.

    They agree with the tables within an eighth: timeit prints the best time of five, with the machine for itself, and a
    table the median of runs in turn with others; and Pillow resizes here where the rows of the bare sessions use this
    runtime's. Batches of eight are of crops ready in memory; what is said to be without files is an engine that
    shares the cores with no decoder, and far above the table. torch's commands load a checkpoint through this
    repository's class, for a state dictionary alone is no network; an external peer is a command already.
    """
    places: dict[str, object] = {"height": SIZE[0], "width": SIZE[1], "threads": threads, "last": threads - 1}
    found = {FILES: _FILES}
    for subject in subjects:
        path, contract = subject.embedder.path, subject.embedder.contract
        places["name"] = path.name
        found[f"{OURS}{subject.case}"] = _embedder(places, subject.device, None)
        if path.suffix != ".onnx" or subject.embedder.backend.contract_text is None:
            continue
        if subject.device == "cpu":
            found[f"{subject.case}, eight crops"] = _ONNXRUNTIME.format(**places)
        elif subject.device.startswith("openvino"):
            precision = "bf16" if subject.device == "openvino-bf16" else "f32"
            found[f"{subject.case}, eight crops"] = _OPENVINO.format(**places, precision=precision)
        found |= {f"{kind}: {path.stem}": command for kind, command in _sessions(places, contract, _BATCHES)}
        found |= {f"{kind}: {path.stem}, without files": command for kind, command in _queues(places, contract)}
    for path, device in other_models(peer_models):
        try:
            embedder = load(path, device, threads)
        except ReidRuntimeError:  # which the peers' notes tell
            continue
        places["name"] = path.name
        stated = CONTRACTS / f"{path.stem}.json" if embedder.backend.contract_text is None else None
        found[f"{OTHERS}{Subject(embedder, device).case}"] = _embedder(places, device, stated)
        if path.suffix == ".onnx":
            batched = {"batches of 32": 32}
            found |= {f"{kind}: {path.stem}": said for kind, said in _sessions(places, embedder.contract, batched)}
        shape = embedder.contract if path.suffix == ".onnx" else None
        found |= {f"{kind}: {path.stem}, without files": command for kind, command in _queues(places, shape)}
    if checkpoint is not None:
        places["name"] = checkpoint.name
        for kind, how in _TORCH.items():
            setup = _EXTRACTOR.format(**places, how=how)
            found[f"torch {kind}, weights {checkpoint.stem}"] = _timed(places, setup, "t.embed([Path(x) for x in f])")
    return found


def _timed(places: dict[str, object], setup: str, call: str) -> str:
    return _TIMEIT.format(last=places["last"], setup=setup, call=call)


def _embedder(places: dict[str, object], device: str, contract: Path | None) -> str:
    stated = "" if contract is None else f", contract='benchmarks/peers/{contract.name}'"
    return _timed(places, _EMBEDDER.format(**places, device=device, contract=stated), "e.embed(f)")


def _sessions(places: dict[str, object], contract: Contract, batches: dict[str, int]) -> Iterator[tuple[str, str]]:
    """ONNX Runtime by its own API, with Pillow."""
    setup = _SESSION.format(**places, prepared=_prepared(contract))
    for kind, batch in batches.items():
        name = f"as fastembed does, batches of {batch}" if batch == 16 else f"onnxruntime, {kind}"
        yield name, _timed(places, setup, _IN_BATCHES.format(batch=batch))


def _prepared(contract: Contract) -> str:
    """What makes the graph's input of r(q), a batch of pixels (N, H, W, 3) RGB."""
    given = contract.input
    said = "r(q)" if given.colour == "rgb" else "r(q)[..., ::-1]"
    if given.dtype == "float32":
        mean, deviation = list(given.mean), list(given.deviation)
        said = f"(({said} * n.float32({given.scale!r}) - n.float32({mean})) / n.float32({deviation}))"
    return said if given.layout == "NHWC" else f"{said}.transpose(0, 3, 1, 2)"


def _queues(places: dict[str, object], contract: Contract | None) -> Iterator[tuple[str, str]]:
    """OpenVINO's own tool with its throughput hint; contract: of a graph whose shape is free."""
    shape = ""
    if contract is not None:
        sides = ("1", *(str(places[side]) for side in ("height", "width")), "3")
        sides = sides if contract.input.layout == "NHWC" else (sides[0], sides[3], *sides[1:3])
        shape = f' -shape "[{",".join(sides)}]"'
    yield "openvino, asynchronous queue, its default precision", _QUEUE.format(**places, shape=shape, precision="")
    if contract is not None and contract.precision == "float32":
        precision = " -infer_precision f32"
        yield "openvino, asynchronous queue, float32", _QUEUE.format(**places, shape=shape, precision=precision)
