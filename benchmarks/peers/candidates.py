"""Ways from a list of files to vectors, each a class that loads once and is then called with the files."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino, openvino_core
from reid_runtime.errors import MissingBackendError
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import Pixels, resize
from reid_runtime.model_file.contract import Contract
from reid_runtime.vectors import Vectors

STRETCHED = (256, 128)
"""Height and width that torchreid's extractor stretches to, its `image_size`."""
_CHUNK = 32
"""Files of one call of what would else make a single batch of all it is given."""
_FASTEMBED_BATCH = 16
"""Its default `batch_size` for pictures."""
_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)


class Peer(Protocol):
    """One way to embed files."""

    @property
    def name(self) -> str:
        """For tables."""

    def embed(self, files: Sequence[Path]) -> Vectors:
        """(N, D) float32 of any length, row i of file i."""

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The height and width at which a picture of that size enters the network."""


class TorchExtractor:
    """A checkpoint as torchreid's `FeatureExtractor` runs one: a file after the other through Pillow, stretched to
    256x128, to a float tensor, normalised; one batch; eager, float32, contiguous, without gradients.

    compiled is torch's best for a CPU instead. Channels-last, and the next batch's pictures made while the network
    runs, on as many threads, are from its Performance Tuning Guide; torch.compile with freezing, which makes constants
    of the weights and packs them for oneDNN, under no_grad and with autocast is from its tutorial on max-autotune on a
    CPU; that mode itself chooses among matrix products, of which a trunk has none.
    """

    def __init__(self, checkpoint: Path, threads: int, compiled: bool = False, bfloat16: bool = False) -> None:
        if find_spec("torch") is None:
            raise MissingBackendError('torch is missing: pip install "reid-runtime[train]"')
        import torch

        from export.to_onnx import contract_for
        from training.run.checkpoint import read_checkpoint

        torch.set_num_threads(threads)
        read = read_checkpoint(checkpoint)
        self.contract = contract_for(read, checkpoint.stem)
        network = read.network()
        layout = torch.channels_last if compiled else torch.contiguous_format
        trunk: Any = network.trunk.to(memory_format=layout)

        def run(pixels: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                projected = network.projection(network.pooling(trunk(pixels))).float()
            return projected / projected.norm(dim=1, keepdim=True)

        self._torch, self._layout, self._compiled, self._threads = torch, layout, compiled, threads
        self._run = torch.compile(run, dynamic=False, options={"freezing": True}) if compiled else run
        how = "compiled, frozen, channels last" if compiled else "eager, as torchreid has it"
        self.name = f"torch {how}{', bfloat16 by autocast' if bfloat16 else ''}"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """In batches of 32; the last is filled up where the network is compiled, which it is for one shape."""
        torch = self._torch
        rows = []
        for made in self._chunks([files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]):
            some = [torch.from_numpy(pixels) for pixels in made]
            batch = torch.stack(some + some[-1:] * (_CHUNK - len(some) if self._compiled else 0))
            with torch.no_grad():  # not inference_mode, whose tensors a frozen graph does not take
                rows.append(self._run(batch.contiguous(memory_format=self._layout))[: len(some)].numpy())
        return np.concatenate(rows)

    def _chunks(self, chunks: Sequence[Sequence[Path]]) -> Iterator[list[npt.NDArray[np.float32]]]:
        if not self._compiled:
            yield from ([_normalised(path) for path in chunk] for chunk in chunks)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            before: list[Future[npt.NDArray[np.float32]]] = []
            for chunk in [*chunks, ()]:
                ahead = [pool.submit(_normalised, path) for path in chunk]
                if before:
                    yield [future.result() for future in before]
                before = ahead

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """One for all."""
        return STRETCHED


def _normalised(path: Path) -> npt.NDArray[np.float32]:
    """(3, 256, 128): what Resize, ToTensor and Normalize of torchvision give for a Pillow image."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize(STRETCHED[::-1], Image.Resampling.BILINEAR)
    pixels = (np.asarray(picture, np.float32) / np.float32(255) - _MEAN) / _DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class Session:
    """ONNX Runtime's session as its Python API has it: its own default level of graph optimisation, which is all, and
    its own threads as its page on thread management has them. Pictures come through Pillow, one after the other.
    """

    def __init__(self, model: Path, contract: Contract, threads: int) -> None:
        onnxruntime = import_onnxruntime("cpu")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._contract = contract

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The contract's."""
        return self._contract.resize.shape(height, width)

    def _embedded(self, pictures: Sequence[Pixels]) -> Vectors:
        """(N, D) of N pictures of one shape, in one call."""
        batch = to_model_input(np.stack(pictures), self._contract.input)
        return np.asarray(self._session.run(None, {self._input: batch})[0], np.float32)


class LoopOfOne(Session):
    """A loop around ONNX Runtime's session, a file at a time: what is written first, and often last."""

    name = "onnxruntime, a loop of one"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """One call a file."""
        return np.concatenate([self._embedded([_prepared(path, self._contract)]) for path in files])


class BatchedSession(Session):
    """ONNX Runtime's session in batches, each of at most 32 files that come to one shape, as its FAQ has batching: a
    graph whose first axis is free, fed with several pictures at once.
    """

    name = "onnxruntime, batches of 32"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """Files of one shape together, a call as soon as there are 32 of them."""
        rows: dict[int, Vectors] = {}
        waiting: dict[tuple[int, ...], dict[int, Pixels]] = {}

        def flush(pictures: dict[int, Pixels]) -> None:
            rows.update(zip(pictures, self._embedded(list(pictures.values())), strict=True))
            pictures.clear()

        for place, path in enumerate(files):
            picture = _prepared(path, self._contract)
            together = waiting.setdefault(picture.shape, {})
            together[place] = picture
            if len(together) == _CHUNK:
                flush(together)
        for together in waiting.values():
            if together:
                flush(together)
        return np.stack([rows[place] for place in range(len(files))])


class FastembedWay(Session):
    """As `fastembed` embeds pictures: decoded by Pillow in batches of 16, the default of its `embed`, transformed in
    numpy, one ONNX Runtime session, one size. Its models have one input size, here 256x128, to which a crop is
    stretched.
    """

    name = "as fastembed does, batches of 16"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """In batches of 16."""
        rows = []
        for start in range(0, len(files), _FASTEMBED_BATCH):
            pictures = [_decoded(path) for path in files[start : start + _FASTEMBED_BATCH]]
            rows.append(self._embedded([resize(picture, STRETCHED) for picture in pictures]))
        return np.concatenate(rows)

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """One for all."""
        return STRETCHED


class OpenVinoQueue:
    """OpenVINO's asynchronous queue with the throughput hint, as its pages on high-level performance hints and on
    optimising for throughput have it for many inputs. The precision is its own choice or, for `precision`, what its
    page on precision control asks for it with. A network whose sizes are free is compiled for the one size that most
    pictures have, as its page on dynamic shapes advises, and for all others once more.
    """

    def __init__(
        self,
        model: Path,
        contract: Contract,
        threads: int,
        precision: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """precision: f32, say; where it is None, bfloat16 on processors that have it. size: of most pictures."""
        openvino = import_openvino()
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads}
        options |= {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
        self._contract = contract

        def queue(fixed: bool) -> Any:
            network = openvino_core().read_model(model)
            if fixed:
                network.reshape(list(self._fixed))
            return openvino.AsyncInferQueue(openvino_core().compile_model(network, "CPU", options))

        self._free = cache(lambda: queue(fixed=False))
        self._fixed: tuple[int, ...] = ()
        if size is not None:
            pixels = np.zeros((1, *contract.resize.shape(*size), 3), np.uint8)
            self._fixed = to_model_input(pixels, contract.input).shape
        self._queue = queue(fixed=True) if self._fixed else self._free()
        said = self._queue[0].get_compiled_model().get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = _PRECISIONS.get(said, said)
        chosen = " (its default)" if precision is None and self.precision != "float32" else ""
        self.name = f"openvino, asynchronous queue, {self.precision}{chosen}"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """One request a file, as many at once as OpenVINO finds best."""
        rows: list[Vectors | None] = [None] * len(files)

        def keep(request: Any, place: int) -> None:
            rows[place] = np.array(request.get_output_tensor().data[0], np.float32)

        queues: dict[bool, Any] = {}
        for place, path in enumerate(files):
            pixels = to_model_input(_prepared(path, self._contract)[None], self._contract.input)
            fits = not self._fixed or pixels.shape == self._fixed
            if fits not in queues:
                queues[fits] = self._queue if fits else self._free()
                queues[fits].set_callback(keep)
            queues[fits].start_async([pixels], place)
        for queue in queues.values():
            queue.wait_all()
        return np.stack([row for row in rows if row is not None])

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The contract's."""
        return self._contract.resize.shape(height, width)


def _prepared(path: Path, contract: Contract) -> Pixels:
    picture = _decoded(path)
    return resize(picture, contract.resize.shape(picture.shape[0], picture.shape[1]))


def _decoded(path: Path) -> Pixels:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))
