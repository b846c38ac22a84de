"""Ways from a list of files to vectors, as each library's own documentation has it; a class loads once, then embeds."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.cases import cpu_precision
from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino, openvino_core
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import Pixels, resize
from reid_runtime.io.concurrency import parallel_map
from reid_runtime.model_file.contract import Contract
from reid_runtime.vectors import Vectors

STRETCHED = (256, 128)
"""Height and width that torchreid's extractor stretches to, its `image_size`; fastembed's models have one size, too."""
_CHUNK = 32
"""Files of one call of what would else make a single batch of all it is given."""
_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_MEAN, _DEVIATION = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)


class Peer(Protocol):
    """One way to embed files: whose it is, which of theirs, in what it computes, and the contract of its vectors."""

    peer: str
    name: str
    precision: str
    contract: Contract

    def embed(self, files: Sequence[Path]) -> Vectors:
        """(N, D) float32 of any length, row i of file i."""

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The height and width at which an image of that size enters the network."""


class TorchExtractor:
    """A checkpoint as torchreid's `FeatureExtractor` runs one: a file after the other through Pillow, stretched to
    256x128, to a float tensor, normalised; one batch; eager, float32, contiguous, without gradients.

    compiled is torch's best for a CPU instead: channels-last and the next batch's images made while the network runs,
    after its Performance Tuning Guide; torch.compile with freezing, under no_grad and with autocast, after its tutorial
    on max-autotune on a CPU (that mode itself chooses among matrix products, of which a trunk has none).
    """

    def __init__(self, checkpoint: Path, threads: int, compiled: bool = False, bfloat16: bool = False) -> None:
        import torch

        from export.torch_reference import contract_for
        from training.run.checkpoint import read_checkpoint

        torch.set_num_threads(threads)
        weights = read_checkpoint(checkpoint)
        network = weights.network()
        layout = torch.channels_last if compiled else torch.contiguous_format
        trunk: Any = network.trunk.to(memory_format=layout)

        def run(pixels: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                projected = network.projection(network.pooling(trunk(pixels))).float()
            return projected / projected.norm(dim=1, keepdim=True)

        self.peer = "torch compiled" if compiled else "torch eager"
        self.name = "frozen, channels last" if compiled else "as torchreid has it"
        self.precision = "bfloat16" if bfloat16 else "float32"
        self.contract = contract_for(weights, checkpoint.stem)
        self._torch, self._layout, self._compiled, self._threads = torch, layout, compiled, threads
        self._run = torch.compile(run, dynamic=False, options={"freezing": True}) if compiled else run

    def embed(self, files: Sequence[Path]) -> Vectors:
        """In batches of 32; the last is filled up where the network is compiled, which it is for one shape."""
        torch = self._torch
        images = (
            parallel_map(_normalised, files, self._threads, 2 * _CHUNK) if self._compiled else map(_normalised, files)
        )
        rows = []
        while tensors := [torch.from_numpy(pixels) for pixels in islice(images, _CHUNK)]:
            batch = torch.stack(tensors + tensors[-1:] * (_CHUNK - len(tensors) if self._compiled else 0))
            with torch.no_grad():  # not inference_mode, whose tensors a frozen graph does not take
                rows.append(self._run(batch.contiguous(memory_format=self._layout))[: len(tensors)].numpy())
        return np.concatenate(rows)

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """One for all."""
        return STRETCHED


def _normalised(path: Path) -> npt.NDArray[np.float32]:
    """(3, 256, 128): what Resize, ToTensor and Normalize of torchvision give for a Pillow image."""
    with Image.open(path) as opened:
        image = opened.convert("RGB").resize(STRETCHED[::-1], Image.Resampling.BILINEAR)
    pixels = (np.asarray(image, np.float32) / np.float32(255) - _MEAN) / _DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class OnnxSession:
    """ONNX Runtime's session with its own defaults, images through Pillow, in batches of those that come to one shape:
    of one, what is written first and often last; of 32, as its FAQ has batching; or as `fastembed` embeds images, of
    16, its default, each stretched to the one input size that its models have.
    """

    def __init__(
        self, model: Path, contract: Contract, threads: int, batch_size: int = 1, stretched: bool = False
    ) -> None:
        onnxruntime = import_onnxruntime("cpu")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._batch_size, self._stretched = batch_size, stretched
        self.peer = "fastembed" if stretched else "onnxruntime"
        self.name = "a loop of one" if batch_size == 1 else f"batches of {batch_size}"
        self.precision, self.contract = cpu_precision(contract, "cpu"), contract

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The contract's, or one for all."""
        return STRETCHED if self._stretched else self.contract.resize.shape(height, width)

    def embed(self, files: Sequence[Path]) -> Vectors:
        """A call as soon as there are enough files of one shape."""
        rows: dict[int, Vectors] = {}
        waiting: dict[tuple[int, ...], dict[int, Pixels]] = {}
        for index, path in enumerate(files):
            image = _prepare(path, self)
            batch = waiting.setdefault(image.shape, {})
            batch[index] = image
            if len(batch) == self._batch_size:
                rows |= self._run(waiting.pop(image.shape))
        for batch in waiting.values():
            rows |= self._run(batch)
        return np.stack([rows[index] for index in range(len(files))])

    def _run(self, batch: dict[int, Pixels]) -> dict[int, Vectors]:
        pixels = to_model_input(np.stack(list(batch.values())), self.contract.input)
        vectors = np.asarray(self._session.run(None, {self._input: pixels})[0], np.float32)
        return dict(zip(batch, vectors, strict=True))


class OnnxSessionACore:
    """As many threads as cores, each with a session of one thread, its share of the files, and batches of four."""

    peer, name = "onnxruntime", "a session a core"

    def __init__(self, model: Path, contract: Contract, threads: int) -> None:
        self._sessions = [OnnxSession(model, contract, 1, 4) for _ in range(threads)]
        self.precision, self.contract = self._sessions[0].precision, contract

    def embed(self, files: Sequence[Path]) -> Vectors:
        """Every so many-th file to one session."""
        count = min(len(self._sessions), len(files))
        rows = np.empty((len(files), self.contract.dimension), np.float32)

        def embed_share(number: int) -> None:
            rows[number::count] = self._sessions[number].embed(files[number::count])

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(embed_share, range(count)))
        return rows

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The contract's."""
        return self.contract.resize.shape(height, width)


class OpenVinoQueue:
    """OpenVINO's asynchronous queue with the throughput hint, as its pages on high-level performance hints and on
    optimising for throughput have it for many inputs. A network whose sizes are free is compiled for the one `size`
    that most images have, as its page on dynamic shapes advises, and for all others once more. `precision` is its hint,
    f32 say; without it OpenVINO's choice, bfloat16 on processors that have it.
    """

    peer, name = "openvino", "asynchronous queue"

    def __init__(
        self,
        model: Path,
        contract: Contract,
        threads: int,
        precision: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        openvino = import_openvino()
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads}
        options |= {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
        self.contract = contract
        self._fixed: tuple[int, ...] = ()
        if size is not None:
            pixels = np.zeros((1, *contract.resize.shape(*size), 3), np.uint8)
            self._fixed = to_model_input(pixels, contract.input).shape

        def queue(fixed: bool) -> Any:
            network = openvino_core().read_model(model)
            if fixed:
                network.reshape(list(self._fixed))
            return openvino.AsyncInferQueue(openvino_core().compile_model(network, "CPU", options))

        self._queue = cache(queue)
        compiled = self._queue(bool(self._fixed))[0].get_compiled_model()
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        integers = contract.precision.kind == "int8"
        self.precision = "int8" if integers else _PRECISIONS.get(used, used)

    def embed(self, files: Sequence[Path]) -> Vectors:
        """One request a file, as many at once as OpenVINO finds best."""
        rows: list[Vectors | None] = [None] * len(files)

        def keep(request: Any, index: int) -> None:
            rows[index] = np.array(request.get_output_tensor().data[0], np.float32)

        queues = set()
        for index, path in enumerate(files):
            pixels = to_model_input(_prepare(path, self)[None], self.contract.input)
            queue = self._queue(pixels.shape == self._fixed)
            if queue not in queues:
                queue.set_callback(keep)
                queues.add(queue)
            queue.start_async([pixels], index)
        for queue in queues:
            queue.wait_all()
        return np.stack([row for row in rows if row is not None])

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The contract's."""
        return self.contract.resize.shape(height, width)


def _prepare(path: Path, peer: Peer) -> Pixels:
    with Image.open(path) as opened:
        image = np.asarray(opened.convert("RGB"))
    return resize(image, peer.shape(image.shape[0], image.shape[1]))
