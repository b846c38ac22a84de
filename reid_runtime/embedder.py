"""Embedder: the one door. Pictures of people go in, unit vectors come out, row i for input i."""

import hashlib
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.backends import Backend, open_backend
from reid_runtime.batching import same_shape_batches
from reid_runtime.contract import Contract
from reid_runtime.errors import BackendError, ContractError, ImageError, ReidRuntimeError
from reid_runtime.images import Colour, ImageSource, load_image, own, rgb_view, to_model_input
from reid_runtime.pipeline import in_order, windows
from reid_runtime.resize import Pixels, resize

Vectors = npt.NDArray[np.float32]

_WINDOW = 128
"""Images that are looked at together for batches of one shape; also how many are decoded ahead."""


@dataclass(frozen=True)
class Result:
    """What became of one image of a stream: a unit vector, or the error that kept it from having one."""

    index: int
    """Its place in the input, from 0."""
    source: Any
    """The input itself where it is a path, else None: a stream does not keep its pictures alive."""
    vector: Vectors | None
    """(D,) float32 of unit length."""
    error: ImageError | None
    width: int = 0
    height: int = 0
    """Pixels of the picture as it was read, after its EXIF orientation; 0 where it could not be."""


@dataclass(frozen=True)
class _Prepared:
    """A picture that is ready for its batch, or its error."""

    source: Any
    pixels: Pixels | None
    error: ImageError | None
    width: int = 0
    height: int = 0


def default_model() -> Path:
    """The one ONNX file that the package carries."""
    found = sorted(Path(str(resources.files("reid_runtime") / "models")).glob("*.onnx"))
    if len(found) != 1:
        raise ReidRuntimeError(
            f"expected one embedded model, found {len(found)}: the installation is damaged, reinstall it"
        )
    return found[0]


class Embedder:
    """A model, ready to embed. Threads may share one; it keeps no state between calls but a count."""

    def __init__(self, backend: Backend, contract: Contract, path: Path) -> None:
        """Use `Embedder.load`; this is for a Backend of your own."""
        self.backend, self.contract, self.path = backend, contract, path
        self.artefact_id = _digest(path)
        """SHA-256 of the model file's bytes, `sha256:…`; OpenVINO's .bin, which belongs to its .xml, is counted in."""
        self.empty_boxes = 0
        """How many boxes without pixels `embed_boxes` has met; each gave a zero row."""
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        device: str = "cpu",
        contract: str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ) -> "Embedder":
        """Load a model: an ONNX file with its contract inside, or the embedded default.

        device: "cpu" and "cuda" are ONNX Runtime's, "openvino" runs ONNX and OpenVINO's own .xml on the CPU, "auto"
        chooses what the file and the machine allow; `backend.name` says which.
        contract: a JSON file that states the contract of a model that carries none.
        threads: CPU threads per inference call; None uses every core.

        Raises BackendError for a device, package or file that cannot be used (it never falls back in silence)
        and ContractError for a missing, damaged or doubly stated contract.
        """
        path = default_model() if model is None else Path(model)
        if not os.path.isfile(path):  # False where Path.is_file would raise: a name too long, a folder out of bounds
            raise BackendError(f"{path}: no such model file")
        backend = open_backend(path, device, threads)
        carried = backend.contract_text
        if contract is not None and carried is not None:
            raise ContractError(f"{path} carries its own contract; {os.fspath(contract)} must not be stated beside it")
        if contract is not None:
            try:
                stated = Path(contract).read_text(encoding="utf-8-sig")  # Windows' editors put a mark in front
            except (OSError, UnicodeDecodeError) as error:
                raise ContractError(f"{os.fspath(contract)}: the contract cannot be read: {error}") from error
            return cls(backend, Contract.from_json(stated, os.fspath(contract)), path)
        if carried is None:
            raise ContractError(
                f"{path} carries no contract, so nobody knows how its input must be prepared: export it with "
                "python -m export.to_onnx, or state its contract with contract=FILE (--contract FILE)"
            )
        return cls(backend, Contract.from_json(carried, str(path)), path)

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return self.contract.dimension

    def embed(self, images: Sequence[ImageSource] | Iterable[ImageSource], colour: Colour | None = None) -> Vectors:
        """(N, D) float32, row i the unit vector of image i.

        images: paths, bytes of files, Pillow images, or (H, W, 3) uint8 arrays with `colour` "rgb" or "bgr".
        Raises ImageError with the place and name of the first picture that cannot be used; `stream` goes on instead.
        """
        rows = []
        for result in self.stream(images, colour):
            if result.error is not None:
                name = "" if result.source is None else f" ({os.fspath(result.source)})"
                raise ImageError(f"image {result.index}{name}: {result.error}") from result.error
            rows.append(result.vector)
        return np.stack([row for row in rows if row is not None]) if rows else np.empty((0, self.dimension), np.float32)

    def stream(self, images: Iterable[ImageSource], colour: Colour | None = None) -> Iterator[Result]:
        """A Result for every image, in order, over an input of any length, in bounded memory.

        Results come while the input goes on: the first after at most 24 images, and at most two windows of 128
        images are held. A picture that cannot be used gives a Result with its error, and the stream goes on. An
        array is copied when it is taken from the input, so a camera may fill one buffer again and again.
        """
        if isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image) or (
            isinstance(images, np.ndarray) and images.ndim != 4
        ):
            raise ImageError(f"expected a list or stream of images, found one {type(images).__name__}: pass [image]")
        return self._stream(images, colour)

    def _stream(self, images: Iterable[ImageSource], colour: Colour | None) -> Iterator[Result]:
        def prepare(source: ImageSource) -> _Prepared:
            name = source if isinstance(source, str | os.PathLike) else None
            try:
                picture = load_image(source, colour)
            except ImageError as error:
                # A new one: the traceback of the first keeps the picture's bytes alive for as long as the Result.
                return _Prepared(name, None, ImageError(str(error)))
            height, width = picture.shape[:2]
            return _Prepared(name, self._resized(picture), None, width, height)

        owned = map(own, images)
        prepared = in_order(prepare, owned, threads=os.cpu_count() or 1, ahead=_WINDOW)
        index = 0
        with closing(prepared):
            for window in windows(prepared, _WINDOW):
                vectors = iter(self._infer([item.pixels for item in window if item.pixels is not None]))
                for item in window:
                    vector = None if item.pixels is None else next(vectors).copy()  # not the whole window
                    yield Result(index, item.source, vector, item.error, item.width, item.height)
                    index += 1

    @overload
    def embed_boxes(
        self, frame: Pixels, boxes: npt.ArrayLike, colour: Colour, *, return_valid: Literal[False] = False
    ) -> Vectors: ...
    @overload
    def embed_boxes(
        self, frame: Pixels, boxes: npt.ArrayLike, colour: Colour, *, return_valid: Literal[True]
    ) -> tuple[Vectors, npt.NDArray[np.bool_]]: ...
    def embed_boxes(
        self, frame: Pixels, boxes: npt.ArrayLike, colour: Colour, *, return_valid: bool = False
    ) -> Vectors | tuple[Vectors, npt.NDArray[np.bool_]]:
        """(N, D) float32, row i the vector of box i, always.

        frame: (H, W, 3) uint8 in the channel order `colour`, "rgb" or "bgr". boxes: (N, 4) of x1, y1, x2, y2 in
        pixels, float or integer; edges go to the nearest pixel and are clipped to the frame. A box that then has
        no pixels (outside, empty, NaN) gives a zero row, whose cosine to everything is 0; it is counted in
        `empty_boxes` and warned of once. With return_valid=True also an (N,) mask of the rows that are vectors.
        """
        picture = rgb_view(np.asarray(frame), colour)
        corners = _pixel_corners(boxes, picture.shape[0], picture.shape[1])
        left, top, right, bottom = corners.T
        valid = (right > left) & (bottom > top)
        vectors = np.zeros((len(corners), self.dimension), np.float32)
        crops = [self._resized(picture[y1:y2, x1:x2]) for x1, y1, x2, y2 in corners[valid].tolist()]
        vectors[valid] = self._infer(crops)
        if not valid.all():
            self._count_empty(int((~valid).sum()))
        return (vectors, valid) if return_valid else vectors

    def _count_empty(self, boxes: int) -> None:
        with self._lock:
            first, self.empty_boxes = self.empty_boxes == 0, self.empty_boxes + boxes
        if first:
            warnings.warn(
                f"{boxes} boxes have no pixels in their frame and gave zero rows; counted in Embedder.empty_boxes, "
                "return_valid=True tells which, and this is said once",
                stacklevel=3,
            )

    def _resized(self, picture: Pixels) -> Pixels:
        return resize(np.ascontiguousarray(picture), self.contract.resize.shape(*picture.shape[:2]))

    def _infer(self, pictures: Sequence[Pixels]) -> Vectors:
        """Vectors of resized pictures, in their order, in batches of one shape."""
        vectors = np.empty((len(pictures), self.dimension), np.float32)
        shapes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        for rows in same_shape_batches(shapes, self.backend.max_batch_pixels):
            batch = np.stack([pictures[row] for row in rows])
            vectors[rows] = self._checked(self.backend.run(to_model_input(batch, self.contract.input)), batch.shape)
        return vectors

    def _checked(self, vectors: Vectors, batch: tuple[int, ...]) -> Vectors:
        """The model's output, if it is what the contract promises: a wrong vector must not look like a right one."""
        if vectors.shape != (batch[0], self.dimension):
            raise BackendError(
                f"expected vectors {(batch[0], self.dimension)} for {batch}, the model gave {vectors.shape}"
            )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise BackendError(
                f"the model gave NaN, infinite or zero vectors for a batch {batch} on {self.backend.name}"
            )
        if not self.contract.unit_output:
            unit: Vectors = vectors / norms
            return unit
        if np.abs(norms - 1).max() > 1e-3:
            raise BackendError(f"the contract promises unit vectors, the model gave norms up to {norms.max():.4f}")
        return vectors


def _digest(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes())
    weights = path.with_suffix(".bin")
    if path.suffix == ".xml" and weights.is_file():
        digest.update(weights.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def _pixel_corners(boxes: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.int64]:
    """(N, 4) int64 x1, y1, x2, y2 inside the frame; a box with a NaN or infinity becomes empty."""
    values = np.asarray(boxes, dtype=np.float64)
    if values.shape == (0,):
        values = values.reshape(0, 4)  # an empty list
    if values.ndim != 2 or values.shape[1] != 4:
        raise ImageError(f"expected boxes of shape (N, 4): x1, y1, x2, y2 in pixels; found {values.shape}")
    values = np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 0.0)
    rounded = np.floor(values + 0.5)
    return np.clip(rounded, 0, [width, height, width, height]).astype(np.int64)
