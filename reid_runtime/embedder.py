"""Embedder: images of people go in, unit vectors come out, row i for input i."""

from __future__ import annotations  # help() and editors show the aliases by name, not what they stand for

import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.agreement import Agreement, log_drift
from reid_runtime.backends import REGISTRY, Backend, Options, open_backend, open_server, parse_device, require_device
from reid_runtime.backends.base import OwnArtefact
from reid_runtime.backends.third_party import try_model
from reid_runtime.errors import BackendError, ImageError
from reid_runtime.images.boxes import Frame, FrameBoxes, FrameOnGpu, Mask, read_frame, read_frames
from reid_runtime.images.decode import ChannelOrder, ImageSource, source_name
from reid_runtime.images.limits import DEFAULT_LIMITS, ImageLimits
from reid_runtime.images.quality import DEFAULT_POLICY
from reid_runtime.images.resize import Pixels, resized
from reid_runtime.inference import Inference, infer_on_gpu
from reid_runtime.io.concurrency import cores
from reid_runtime.io.stage_times import StageTimes
from reid_runtime.io.text import counted
from reid_runtime.matching import Calibration, calibration_beside
from reid_runtime.model_file.address import Address, is_address
from reid_runtime.model_file.contract import Contract
from reid_runtime.model_file.file import ModelFile, artefact_digest
from reid_runtime.model_file.packaged import find_model, packaged_of, selftest_images
from reid_runtime.model_file.terms import log_terms
from reid_runtime.preparation import prepare
from reid_runtime.stream import Result as Result
from reid_runtime.stream import results
from reid_runtime.vectors import Vectors

Frames = Sequence[Frame]
BoxLists = Sequence[npt.ArrayLike]

Box = tuple[int, FrameBoxes, int]
"""The number of a frame, the frame, and the number of one of its boxes."""

_BOXES = 1024
"""Boxes that are cut out and resized before they are embedded: the memory that a long list of frames takes."""


class Embedder:
    """A model, ready to embed. Threads may share one; between calls it keeps nothing but counts and times.

    Attributes:
        contract: What the model promises; `contract.contract_id` names the embedding space of its vectors.
        artefact_id: Digest of the model file, or of the TensorRT engine that was built from it: `sha256:…`; of a
            server what it states, or a digest of its vectors of a few crops.
        backend: The engine and its device; `backend.name` says which.
        path: The model file; the model's name alone where it is on a server.
        address: That server's; None for a file.
        drift: How far the vectors are from float32's, as `load` measured it; None on devices that compute in float32.
        limits: Which images `embed` and `stream` refuse for their size or cost.
        times: Seconds and images by stage, since the model was loaded.
        empty_boxes: How many boxes without pixels `embed_boxes` and `embed_frames` have met.
        doubtful_boxes: How many they have met that are hardly worth a vector, by reason code (`Result.reasons`).
    """

    def __init__(
        self,
        backend: Backend,
        contract: Contract,
        path: Path,
        threads: int | None = None,
        artefact_id: str | None = None,
    ) -> None:
        """Use `Embedder.load`; this is for a Backend of your own, for which `threads` threads decode images."""
        self.backend, self.contract, self.path = backend, contract, path
        self._threads = threads or cores()
        self.artefact_id = artefact_id or artefact_digest(path)
        self.address: Address | None = None
        self.drift: Agreement | None = None
        self.limits = DEFAULT_LIMITS
        self.times = StageTimes()
        self.empty_boxes = 0
        self.doubtful_boxes: Counter[str] = Counter()
        self._inference = Inference(backend, contract, self._threads, self.times)
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | ModelFile | None = None,
        *,
        device: str = "cpu",
        contract: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        fast: bool = False,
        trust_engine: bool = False,
        cuda_graphs: int = 0,
        fallback: str | os.PathLike[str] | None = None,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> Embedder:
        """Load a model, which takes seconds; TensorRT's first engine of a model takes minutes.

        Args:
            model: A packaged model's name, "base", "small" or "tiny", or an ONNX file with its contract inside,
                OpenVINO's .xml, or a TensorRT engine, or one that was opened already; None for "base". Or a server,
                "kserve://host:8000/model" or "kserve+grpc://…", which decides itself what it runs on.
            device: "cpu" and "cuda" (in float32: TF32 is off; also "gpu", and "cuda:1" for the second GPU) run in
                ONNX Runtime. "openvino" runs on the CPU, and "openvino-bf16" does so in bfloat16, which takes a
                second load to measure and log `drift`. "tensorrt" builds an engine of the ONNX file, or finds the
                one that it built before. "auto" chooses by file and machine; `backend.name` and the log say which.
            contract: A JSON file that states the contract of a model that carries none.
            threads: CPU threads of an inference call, and as many that decode and resize meanwhile; None for all
                cores.
            fast: On "openvino" and "openvino-bf16", compile the network again for each size that many images have, also
                where that gives other bytes: up to a twentieth faster, and an image's vector then differs in its last
                bits, in bfloat16 in its third digit, with the images that were embedded before it. Without it, no
                vector ever does.
            trust_engine: Run a TensorRT engine that was not built here. An engine is code: whoever made it decides
                what this process does.
            cuda_graphs: How many CUDA graphs TensorRT keeps for each thread, one a shape; worth it for small batches
                of few shapes.
            fallback: An ONNX file of the same model, which ONNX Runtime CUDA runs for shapes that no profile of a
                TensorRT engine takes; without it such a shape is a BackendError.
            limits: Images beyond these are an ImageError.

        Returns:
            The embedder.

        Raises:
            BackendError: For a device, package or file that cannot be used; another device is never taken silently.
            ContractError: For a missing, damaged or doubly stated contract.
            OptionsError: For a number of threads below 1.
        """
        device, gpu = parse_device(device)
        options = Options(threads, fast, trust_engine, cuda_graphs, None if fallback is None else Path(fallback), gpu)
        if isinstance(model, str) and is_address(model):
            served = open_server(Address.parse(model), contract, device, options)
            embedder = cls(served.backend, served.contract, Path(served.address.name), threads, served.artefact_id)
            embedder.limits, embedder.address = limits, served.address
            return embedder
        if isinstance(model, ModelFile):
            file = model
        else:
            path = find_model(model)
            require_device(path, device, options)
            file = ModelFile.open(path, contract)
        embedder = cls._opened(file, device, options)
        embedder.limits = limits
        log_terms(file.path, file.contract)
        exact_device = None if device == "auto" else REGISTRY[device].rounds
        if exact_device is not None:
            exact = cls._opened(file, exact_device, Options(threads))
            embedder.drift = log_drift(
                embedder.backend.name, *(each.embed(selftest_images()) for each in (exact, embedder))
            )
        return embedder

    @classmethod
    def _opened(cls, file: ModelFile, device: str, options: Options) -> Embedder:
        backend = open_backend(file, device, options)
        if isinstance(backend, OwnArtefact):
            contract, artefact_id = backend.contract or file.contract, backend.artefact_id
        else:
            contract, artefact_id = file.contract, file.artefact_id
        file.require_unchanged()
        if file.is_stated:
            try:
                try_model(backend, contract)
            except BackendError as error:
                raise BackendError(f"{file.path}: {error}") from error
        return cls(backend, contract, file.path, options.threads, artefact_id)

    def __repr__(self) -> str:
        """Model, resize rule, device, how its work is spread, and terms, which decide what the vectors may be for."""
        terms = "; ".join(sorted({item.terms for item in self.contract.trained_on}))
        return f"<Embedder {self.contract.name}, {self.contract.resize}, {self._inference}, terms: {terms}>"

    @property
    def calibration(self) -> Calibration | None:
        """What cosines of these vectors mean: beside the model, of a server beside the packaged one; None without."""
        contract_id = self.contract.contract_id
        path = self.path if self.address is None else packaged_of(contract_id)
        return None if path is None else calibration_beside(path, contract_id)

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return self.contract.dimension

    def embed(self, images: Iterable[ImageSource], channel_order: ChannelOrder | None = None) -> Vectors:
        """Embed images of any sizes.

        Args:
            images: Paths, bytes of files, Pillow images, or (H, W, 3) uint8 arrays.
            channel_order: "rgb" or "bgr"; required for arrays, of no effect on other images.

        Returns:
            (N, D) float32 of unit length, row i for image i.

        Raises:
            ImageError: With the number and name of the first image that cannot be used; `stream` skips it instead.
            BackendError: Where the model fails or gives what its contract does not promise.
        """
        rows = []
        for result in self.stream(images, channel_order, low_latency=False):
            if result.error is not None:
                raise ImageError(f"{source_name(result.index, result.source)}: {result.error}") from result.error
            rows.append(result.vector)
        return np.stack([row for row in rows if row is not None]) if rows else np.empty((0, self.dimension), np.float32)

    def stream(
        self, images: Iterable[ImageSource], channel_order: ChannelOrder | None = None, *, low_latency: bool = True
    ) -> Iterator[Result]:
        """Embed an input of any length in bounded memory; at most two windows of 512 images are held.

        An array is copied when it is taken from the input, so a camera may fill one buffer again and again.

        Args:
            images: As for `embed`; a generator is read while results come.
            channel_order: "rgb" or "bgr"; required for arrays, of no effect on other images.
            low_latency: Give the first results after at most 24 images. With False they wait for a whole window, as
                all others do; the batches, and so the bytes of the vectors, then depend only on the images' numbers
                counted from any multiple of 512.

        Yields:
            A Result for every image, in order; one that cannot be used has an error in place of a vector.

        Raises:
            ImageError: For a single image in place of several.
            BackendError: Where the model fails, naming the image, after the results of all windows before it. An
                error of the input itself passes through likewise.
        """
        if (
            not isinstance(images, Iterable)
            or isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image)
            or (isinstance(images, np.ndarray) and images.ndim != 4)
        ):
            raise ImageError(f"expected a list or stream of images, found one {type(images).__name__}: pass [image]")
        rule, limits = self.contract.resize, self.limits
        how = partial(prepare, channel_order=channel_order, limits=limits, rule=rule, times=self.times)
        return results(self._inference, images, how, self._threads, low_latency, self.times)

    @overload
    def embed_boxes(
        self, frame: Frame, boxes: npt.ArrayLike, channel_order: ChannelOrder, *, return_valid: Literal[False] = False
    ) -> Vectors: ...
    @overload
    def embed_boxes(
        self, frame: Frame, boxes: npt.ArrayLike, channel_order: ChannelOrder, *, return_valid: Literal[True]
    ) -> tuple[Vectors, Mask]: ...
    def embed_boxes(
        self, frame: Frame, boxes: npt.ArrayLike, channel_order: ChannelOrder, *, return_valid: bool = False
    ) -> Vectors | tuple[Vectors, Mask]:
        """Embed the boxes of one frame; `embed_frames` takes several, which then share batches.

        Pixel column c lies between x = c and c + 1. Each edge goes to the nearest line between two pixels, a half to
        the higher one (10.5 to 11), and is then clipped to the frame: a box that reaches outside keeps what is inside.
        A box that then has no pixels (outside, empty, upside down, NaN or infinite) gives a zero row, whose cosine to
        everything is 0; it is counted in `empty_boxes` and warned of once. Boxes on the host that are hardly worth a
        vector (a few pixels, blank) have one, and are counted in `doubtful_boxes` and warned of once.

        Args:
            frame: (H, W, 3) uint8. One on the GPU (`__dlpack__` or `__cuda_array_interface__`, as torch and CuPy have
                them) is cut and resized there by a backend that can, TensorRT's.
            boxes: (N, 4) of x1, y1, x2, y2 in pixels, float or integer; N may be 0.
            channel_order: "rgb" or "bgr", the order of the frame's channels; OpenCV's is "bgr".
            return_valid: Whether to return the mask of boxes with pixels too.

        Returns:
            (N, D) float32 of unit length, row i for box i. With `return_valid` also an (N,) bool mask, False where
            the row is zero.

        Raises:
            ImageError: For a frame or boxes of another shape or kind, before anything is embedded.
        """
        rows, masks = self._embed_framed([read_frame(frame, boxes, channel_order)])
        return (rows[0], masks[0]) if return_valid else rows[0]

    @overload
    def embed_frames(
        self, frames: Frames, boxes: BoxLists, channel_order: ChannelOrder, *, return_valid: Literal[False] = False
    ) -> list[Vectors]: ...
    @overload
    def embed_frames(
        self, frames: Frames, boxes: BoxLists, channel_order: ChannelOrder, *, return_valid: Literal[True]
    ) -> tuple[list[Vectors], list[Mask]]: ...
    def embed_frames(
        self, frames: Frames, boxes: BoxLists, channel_order: ChannelOrder, *, return_valid: bool = False
    ) -> list[Vectors] | tuple[list[Vectors], list[Mask]]:
        """Embed the boxes of several frames, of any sizes, moments and cameras, in batches that they share.

        Args:
            frames: Arrays (H, W, 3) uint8 as in `embed_boxes`, or one (F, H, W, 3) stack of them.
            boxes: For each frame its (N, 4) boxes as in `embed_boxes`.
            channel_order: "rgb" or "bgr", the order of the frames' channels.
            return_valid: Whether to return the masks of boxes with pixels too.

        Returns:
            A list with each frame's (N, D) float32, row i for box i. With `return_valid` also the list of masks.

        Raises:
            ImageError: For frames and boxes of another shape, kind or number, naming the frame, before anything is
                embedded.
        """
        rows, masks = self._embed_framed(read_frames(frames, boxes, channel_order))
        return (rows, masks) if return_valid else rows

    def _embed_framed(self, framed: Sequence[FrameBoxes | FrameOnGpu]) -> tuple[list[Vectors], list[Mask]]:
        """Rows and masks for every frame's boxes; boxes of one shape share a batch, whichever frame they are of."""
        rows = [np.zeros((len(each.corners), self.dimension), np.float32) for each in framed]
        usable: list[Box] = []
        for index, each in enumerate(framed):
            if isinstance(each, FrameOnGpu):
                infer_on_gpu(self.backend, self.contract, each, rows[index])
            else:
                usable += ((index, each, box) for box in np.flatnonzero(each.valid).tolist())
        for start in range(0, len(usable), _BOXES):
            part = usable[start : start + _BOXES]
            codes: list[tuple[str, ...]] = [()] * len(part)
            shapes = [self.contract.resize.shape(*each.size(box)) for _, each, box in part]
            vectors = self._inference.infer(shapes, partial(self._cut, part, codes))
            self._count(Counter(code for each in codes for code in each), framed)
            for (index, _, box), vector in zip(part, vectors, strict=True):
                rows[index][box] = vector
        masks = [each.valid for each in framed]
        empty = sum(len(mask) - int(mask.sum()) for mask in masks)
        self._count(Counter(empty=empty), framed)
        return rows, masks

    def _cut(self, boxes: Sequence[Box], codes: list[tuple[str, ...]], row: int) -> Pixels:
        """The box of this row, resized; what makes it hardly worth a vector goes into `codes`."""
        _, framed, box = boxes[row]
        crop = framed.crop(box)
        codes[row] = DEFAULT_POLICY.reasons(crop)
        return resized(crop, self.contract.resize)

    def _count(self, codes: Counter[str], framed: Sequence[FrameBoxes | FrameOnGpu]) -> None:
        """Count boxes without pixels, `empty`, and those hardly worth a vector; warn of the first of either."""
        if not +codes:
            return
        empty = codes.pop("empty", 0)
        with self._lock:
            is_first = not (self.empty_boxes if empty else self.doubtful_boxes)
            self.empty_boxes += empty
            self.doubtful_boxes.update(codes)
        if is_first:
            in_pixels = any((each.corners > 1).any() for each in framed)
            hint = "" if in_pixels else "; all edges are from 0 to 1, and pixels are expected"
            counts = ", ".join(map("{0[0]} {0[1]}".format, sorted(codes.items())))
            what = f"boxes are hardly worth their vectors ({counts}); counted in Embedder.doubtful_boxes"
            if empty:
                has = counted(empty, "box has no pixels in its frame", "boxes have no pixels in their frame")
                what = f"{has} and gave zero rows; counted in Embedder.empty_boxes"
            warnings.warn(f"{what}{hint}; this warning comes once", stacklevel=4)
