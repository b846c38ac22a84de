"""Which dimensions and which places make a vector, and the similarity of two: an exact decomposition, no gradient.

A cosine is the sum over dimensions of a_i * b_i. Each dimension is a sum over the places of the feature map and a
bias: pooling hands every channel's value to places, and the last layer is linear in that. So (Almazán et al., 2018,
section 5, figures 1 and 8, who draw the same from the maximum's places alone):

    a_i = bias_i + sum over places of maps_i        maps_i(place) = sum over channels of W_ic * value_c(place) / norm

`value_c(place)` is, of channel c: for the maximum, the value where it lies (equal maxima share it); for the mean and
for spatial weights, the value times the place's weight; for the generalised mean, its share of the sum of powers. A
PReLU multiplies a dimension by one or by its slope, and with it all parts. A pooling's bias goes through the layer
into `bias`.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.backends.inner import open_inner
from reid_runtime.embedder import Embedder
from reid_runtime.errors import BackendError, ContractError
from reid_runtime.images.decode import ChannelOrder, ImageSource, load_image
from reid_runtime.images.limits import DEFAULT_LIMITS
from reid_runtime.images.model_input import to_model_input
from reid_runtime.images.resize import Pixels, resize
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.formats import ONNX
from reid_runtime.model_file.graph_end import MAXIMUM, MEAN, GraphEnd, find_graph_end
from reid_runtime.model_file.onnx_graph import read_nodes, with_outputs
from reid_runtime.model_file.packaged import find_model

Array = npt.NDArray[np.float64]

_EXACT, _ROUNDED = 2e-5, 2e-2
"""How far the parts' sum may be from the vector, in a file of float32, and in one that rounds between the parts."""


@dataclass(frozen=True)
class Explanation:
    """An image's vector, taken apart: `maps.sum((1, 2)) + bias` is `embedding`."""

    pixels: Pixels
    """(H, W, 3) uint8 RGB, the image as it was read."""
    embedding: Array
    """(D,), of unit length."""
    maps: Array
    """(D, h, w): what each place of the feature map, which covers the whole image, adds to each dimension."""
    bias: Array
    """(D,): what every image gets."""

    def strongest(self, count: int) -> list[int]:
        """The dimensions of largest absolute value, the largest first."""
        return [int(each) for each in np.argsort(-np.abs(self.embedding), kind="stable")[:count]]


@dataclass(frozen=True)
class PairExplanation:
    """The cosine of two images, taken apart by dimension and, in each image, by place.

    `dimensions.sum()`, `total_a.sum() + bias_a` and `total_b.sum() + bias_b` are all `cosine`.
    """

    a: Explanation
    b: Explanation

    @cached_property
    def cosine(self) -> float:
        """The similarity."""
        return float(self.dimensions.sum())

    @cached_property
    def dimensions(self) -> Array:
        """(D,): what each dimension adds."""
        return self.a.embedding * self.b.embedding

    @cached_property
    def total_a(self) -> Array:
        """(h, w): what each place of A adds; negative where it speaks against."""
        return np.tensordot(self.b.embedding, self.a.maps, 1)

    @cached_property
    def total_b(self) -> Array:
        """(h, w): what each place of B adds."""
        return np.tensordot(self.a.embedding, self.b.maps, 1)

    @property
    def bias_a(self) -> float:
        """What no place of A adds."""
        return float(self.b.embedding @ self.a.bias)

    @property
    def bias_b(self) -> float:
        """What no place of B adds."""
        return float(self.a.embedding @ self.b.bias)

    def maps_of(self, dimension: int) -> tuple[Array, Array]:
        """(h, w) of A and of B: what each place adds to the cosine through one dimension."""
        return (
            self.b.embedding[dimension] * self.a.maps[dimension],
            self.a.embedding[dimension] * self.b.maps[dimension],
        )

    def most(self, count: int) -> list[int]:
        """The dimensions that add most, the largest first."""
        return [int(each) for each in np.argsort(-self.dimensions, kind="stable")[:count] if self.dimensions[each] > 0]

    def against(self, count: int) -> list[int]:
        """The dimensions that take most away, the largest first."""
        return [int(each) for each in np.argsort(self.dimensions, kind="stable")[:count] if self.dimensions[each] < 0]


class Explainer:
    """A model that says where its vectors come from. It runs on the CPU, and is a model of its own in memory."""

    def __init__(self, model: str | Path | ModelFile | Embedder | None = None, threads: int | None = None) -> None:
        """Load a model with its inner tensors as outputs.

        Args:
            model: A packaged model's name, an ONNX file whose contract names its features and its last layer, as
                exports have them, one that was opened already, or an Embedder, whose file it is then; None for `base`.
            threads: CPU threads of an inference call; None for all cores.

        Raises:
            ContractError: For a model whose contract or graph does not say where its vectors come from.
            BackendError: For a file of another format, or one that does not load.
        """
        if isinstance(model, Embedder):
            path, self.contract = model.path, model.contract
            if model.address is not None:
                raise BackendError(f"{model.address}: a server gives no inner tensors: explain with the ONNX file")
        else:
            file = model if isinstance(model, ModelFile) else ModelFile.open(find_model(model))
            path, self.contract = file.path, file.contract
        if path.suffix != ONNX.suffix:
            raise BackendError(f"{path}: only ONNX files can be explained; give the file that this one was made of")
        content = path.read_bytes()
        try:
            self._end: GraphEnd = find_graph_end(read_nodes(content), self.contract)
        except ValueError as error:
            raise BackendError(f"{path} is damaged or no ONNX file: {error}") from error
        tensors = (*self._end.computed, *self._end.constants)
        self._backend = open_inner(with_outputs(content, tensors), str(path), threads)
        self._constants: tuple[Array, Array, Array] | None = None

    def explain(self, image: ImageSource, channel_order: ChannelOrder | None = None) -> Explanation:
        """Take an image's vector apart.

        Args:
            image: A path, the bytes of a file, a Pillow image, or an (H, W, 3) uint8 array.
            channel_order: "rgb" or "bgr", required for an array.

        Returns:
            The vector and its parts.

        Raises:
            ImageError: For an image that cannot be used.
            ContractError: Where the parts do not add up to the vector: the graph does something else at its end.
            BackendError: Where the model fails.
        """
        pixels = load_image(image, channel_order, DEFAULT_LIMITS)
        resized = resize(pixels, self.contract.resize.shape(*pixels.shape[:2]))
        end, images = self._end, to_model_input(resized[None], self.contract.input)
        asked = end.computed if self._constants is not None else (*end.computed, *end.constants)
        output, found = self._backend.run(images, asked)
        tensors = {name: np.asarray(values, np.float64) for name, values in found.items()}
        if self._constants is None:
            self._constants = self._read_constants(tensors)
        vector = np.asarray(output, np.float64).reshape(-1)
        maps, bias = self._parts(tensors)
        norm = np.linalg.norm(maps.sum((1, 2)) + bias)
        if norm == 0 or not np.isfinite(norm) or vector.shape != bias.shape:
            raise BackendError(f"the model gave NaN, infinite or zero features for {pixels.shape[1]}x{pixels.shape[0]}")
        maps, bias, vector = maps / norm, bias / norm, vector / np.linalg.norm(vector)
        missing = float(np.abs(maps.sum((1, 2)) + bias - vector).max())
        if missing > (_EXACT if self.contract.precision.kind == "float32" else _ROUNDED):
            raise ContractError(
                f"model {self.contract.name!r}: the places and the bias differ from its vector by {missing:.2g}: its "
                "graph does more after pooling than one fully connected layer and a PReLU, which is all that can be "
                "taken apart"
            )
        return Explanation(pixels, vector, maps, bias)

    def pair(self, a: ImageSource, b: ImageSource, channel_order: ChannelOrder | None = None) -> PairExplanation:
        """Take the cosine of two images apart; arguments and errors are those of `explain`."""
        return PairExplanation(self.explain(a, channel_order), self.explain(b, channel_order))

    def _read_constants(self, tensors: dict[str, Array]) -> tuple[Array, Array, Array]:
        """Weights (D, C), bias (D,) and the slope of negative values (D,)."""
        end, count = self._end, self.contract.dimension
        weights = tensors[end.weights] if end.transposed else tensors[end.weights].T
        bias = np.zeros(count) if end.bias is None else tensors[end.bias].reshape(-1)
        slope = np.ones(count) if end.slope is None else np.broadcast_to(tensors[end.slope].reshape(-1), count)
        if weights.ndim != 2 or len(weights) != count or len(bias) != count:
            raise ContractError(
                f"model {self.contract.name!r}: expected weights of {count} dimensions, found {weights.shape}"
            )
        return weights, bias, slope

    def _parts(self, tensors: dict[str, Array]) -> tuple[Array, Array]:
        """Maps and bias, before the vector becomes of unit length."""
        assert self._constants is not None
        end, (weights, bias, slope) = self._end, self._constants
        height, width = tensors[end.features].shape[2:]
        values = _values(tensors[end.places].reshape(weights.shape[1], -1), end.reduction)
        reduced, pooled = tensors[end.reduced].reshape(-1), tensors[end.pooled].reshape(-1)
        if end.adds:
            bias = bias + weights @ (pooled - reduced)
        else:  # a channel that is nothing everywhere has no shares: what is made of nothing is a bias
            nothing = np.abs(reduced) < np.finfo(np.float32).tiny
            values *= np.where(nothing, 0, pooled / np.where(nothing, 1, reduced))[:, None]
            bias = bias + weights @ np.where(nothing, pooled, 0)
        maps = (weights @ values).reshape(-1, height, width)
        factor = np.where(maps.sum((1, 2)) + bias < 0, slope, 1)
        return maps * factor[:, None, None], bias * factor


def _values(maps: Array, reduction: str) -> Array:
    """(C, P): what each place adds to what a reduction over them gives."""
    if reduction == MAXIMUM:
        where = maps == maps.max(axis=1, keepdims=True)
        largest: Array = np.where(where, maps, 0) / where.sum(axis=1, keepdims=True)
        return largest
    return maps / maps.shape[1] if reduction == MEAN else maps.copy()
