"""Ways from a list of files to vectors, each a class that loads once and is then called with the files."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.backends.onnx import import_onnxruntime
from reid_runtime.backends.openvino import import_openvino
from reid_runtime.contract import Contract
from reid_runtime.errors import MissingBackendError
from reid_runtime.images import to_model_input
from reid_runtime.resize import Pixels, resize

Vectors = npt.NDArray[np.float32]

STRETCHED = (256, 128)
"""Height and width that torchreid's extractor stretches to, its `image_size`."""
_CHUNK = 32
"""Files of one call of an extractor that would make a single batch of all it is given."""
_FASTEMBED_BATCH = 16
"""Its default `batch_size` for pictures."""
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)


class Peer(Protocol):
    """One way to embed files."""

    @property
    def name(self) -> str:
        """For tables."""

    def embed(self, files: Sequence[Path]) -> Vectors | None:
        """(N, D) float32, row i of file i; None where the vectors stay in another process."""


class TorchExtractor:
    """A checkpoint as torchreid's `FeatureExtractor` runs one: a file after the other through Pillow, stretched to
    256x128, to a float tensor, normalised; one batch; eager, float32, contiguous, without gradients.
    """

    def __init__(self, checkpoint: Path, threads: int, compiled: bool = False) -> None:
        """compiled: with torch.compile and channels-last, as torch's own guide to fast inference on a CPU advises."""
        if find_spec("torch") is None:
            raise MissingBackendError('torch is missing: pip install "reid-runtime[train]"')
        import torch

        from training.checkpoint import read_checkpoint

        torch.set_num_threads(threads)
        network = read_checkpoint(checkpoint).network()
        layout = torch.channels_last if compiled else torch.contiguous_format
        self._trunk: Any = network.trunk.to(memory_format=layout)

        def run(pixels: Any) -> Any:
            projected = network.projection(network.pooling(self._trunk(pixels)))
            return projected / projected.norm(dim=1, keepdim=True)

        self._torch, self._layout, self._compiled = torch, layout, compiled
        self._run = torch.compile(run) if compiled else run
        self.name = f"torch {'compiled, channels last' if compiled else 'eager, as torchreid has it'}"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """In batches of 32; the last is filled up where the network is compiled, which it is for one shape."""
        torch = self._torch
        rows = []
        for start in range(0, len(files), _CHUNK):
            some = [torch.from_numpy(_normalised(path)) for path in files[start : start + _CHUNK]]
            batch = torch.stack(some + some[-1:] * (_CHUNK - len(some) if self._compiled else 0))
            with torch.inference_mode():
                rows.append(self._run(batch.contiguous(memory_format=self._layout))[: len(some)].numpy())
        return np.concatenate(rows)


def _normalised(path: Path) -> npt.NDArray[np.float32]:
    """(3, 256, 128): what Resize, ToTensor and Normalize of torchvision give for a Pillow image."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize(STRETCHED[::-1], Image.Resampling.BILINEAR)
    pixels = (np.asarray(picture, np.float32) / np.float32(255) - _MEAN) / _DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class LoopOfOne:
    """A loop around ONNX Runtime's session, a file at a time: what is written first, and often last."""

    def __init__(self, model: Path, contract: Contract, threads: int) -> None:
        self._session = _session(model, threads)
        self._contract = contract
        self.name = "onnxruntime, a loop of one"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """One call a file."""
        name = self._session.get_inputs()[0].name
        return np.concatenate(
            [
                self._session.run(
                    None, {name: to_model_input(_prepared(path, self._contract)[None], self._contract.input)}
                )[0]
                for path in files
            ]
        )


class FastembedWay:
    """As `fastembed` embeds pictures: decoded by Pillow in batches of 16, transformed in numpy, one ONNX Runtime
    session, one size. Its models have one input size, here 256x128, to which a crop is stretched.
    """

    def __init__(self, model: Path, contract: Contract, threads: int) -> None:
        self._session = _session(model, threads)
        self._contract = contract
        self.name = "as fastembed does, batches of 16"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """In batches of 16."""
        name = self._session.get_inputs()[0].name
        rows = []
        for start in range(0, len(files), _FASTEMBED_BATCH):
            pictures = []
            for path in files[start : start + _FASTEMBED_BATCH]:
                with Image.open(path) as opened:
                    pictures.append(np.asarray(opened.convert("RGB")))
            batch = np.stack([resize(picture, STRETCHED) for picture in pictures])
            rows.append(self._session.run(None, {name: to_model_input(batch, self._contract.input)})[0])
        return np.concatenate(rows)


class OpenVinoQueue:
    """OpenVINO's asynchronous queue with its throughput hint, as its documentation has it for many inputs."""

    def __init__(self, model: Path, contract: Contract, threads: int) -> None:
        openvino = import_openvino()
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.Core().compile_model(model, "CPU", options)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self._queue = openvino.AsyncInferQueue(compiled)
        self._contract = contract
        self.name = f"openvino, asynchronous queue, {precision} (its default)"

    def embed(self, files: Sequence[Path]) -> Vectors:
        """One request a file, as many at once as OpenVINO finds best."""
        rows: list[Vectors | None] = [None] * len(files)

        def keep(request: Any, place: int) -> None:
            rows[place] = np.array(request.get_output_tensor().data[0], np.float32)

        self._queue.set_callback(keep)
        for place, path in enumerate(files):
            pixels = to_model_input(_prepared(path, self._contract)[None], self._contract.input)
            self._queue.start_async([pixels], place)
        self._queue.wait_all()
        return np.stack([row for row in rows if row is not None])


def _session(model: Path, threads: int) -> Any:
    onnxruntime = import_onnxruntime("cpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _prepared(path: Path, contract: Contract) -> Pixels:
    with Image.open(path) as opened:
        picture = np.asarray(opened.convert("RGB"))
    return resize(picture, contract.resize.shape(picture.shape[0], picture.shape[1]))
