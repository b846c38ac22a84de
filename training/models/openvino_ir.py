"""Weights out of OpenVINO's own files (.xml beside its .bin), read without OpenVINO: its XML and its flat weights.

Read are the four networks person-reidentification-retail-0277, 0286, 0287 and 0288 of Intel's Open Model Zoo, whose
graph is that of `training.models.osnet`. Their order of operations is the map: weights have no names that last.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from reid_runtime.errors import ReidRuntimeError
from training.models.osnet import STREAMS, WIDTHS

Array = npt.NDArray[np.float32]

_FLOATS: dict[str, np.dtype[np.float16] | np.dtype[np.float32]] = {"f16": np.dtype("<f2"), "f32": np.dtype("<f4")}
_IMAGENET = (np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255)
KERNEL = (16, 8)
"""Height and width of the map that the networks were made for, that of an image of 256x128."""


class OpenVINOWeightsError(ReidRuntimeError):
    """A file that is no network of OpenVINO, or one of another kind than can be read."""


@dataclass(frozen=True)
class Operation:
    """One that takes weights: its type, and these in the order of its inputs."""

    kind: str
    weights: tuple[Array, ...]


@dataclass(frozen=True)
class RetailNetwork:
    """What a person-reidentification-retail network is made of, under our names."""

    backbone: str
    trunk: dict[str, torch.Tensor]
    pooling: dict[str, torch.Tensor]
    """`weight` (channels, 16, 8) and `bias` (channels,) of the pooling "spatial"."""
    projection: dict[str, torch.Tensor]
    """`weight` (256, channels) and `bias` (256,); the affine that follows is part of both."""
    slope: torch.Tensor
    """Of the PReLU at the end, one for all."""


def read_operations(path: Path) -> list[Operation]:
    """The operations of an .xml that take floating-point constants, in its order.

    Raises OpenVINOWeightsError for what cannot be read as OpenVINO writes it.
    """
    try:
        # The format has neither entities nor a document type; a file with them is not opened.
        text = path.read_bytes()
        if b"<!" in text[:2000].replace(b"<!--", b""):
            raise ValueError("it declares a document type")
        root = ElementTree.fromstring(text)
        flat = path.with_suffix(".bin").read_bytes()
        return list(_operations(root, flat))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, ElementTree.ParseError) as error:
        raise OpenVINOWeightsError(
            f"{path} cannot be read as a network of OpenVINO ({error!r:.200}); expected an .xml that lies beside "
            "its .bin"
        ) from error


def _operations(root: ElementTree.Element, flat: bytes) -> Iterator[Operation]:
    layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
    inputs: dict[str, dict[int, str]] = {name: {} for name in layers}
    for edge in root.iterfind("edges/edge"):
        inputs[edge.attrib["to-layer"]][int(edge.attrib["to-port"])] = edge.attrib["from-layer"]

    def constant(name: str) -> Array | None:
        layer = layers[name]
        if layer.attrib["type"] == "Convert":
            (name,) = inputs[name].values()
            layer = layers[name]
        return _constant(layer, flat) if layer.attrib["type"] == "Const" else None

    for name, layer in layers.items():
        if layer.attrib["type"] in ("Const", "Convert"):
            continue
        given = (constant(source) for _, source in sorted(inputs[name].items()))
        weights = tuple(array for array in given if array is not None)
        if weights:
            yield Operation(layer.attrib["type"], weights)


def _constant(layer: ElementTree.Element, flat: bytes) -> Array | None:
    """A constant's numbers in float32; None where they are integers."""
    data = layer.find("data")
    assert data is not None
    kind = _FLOATS.get(data.attrib["element_type"])
    if kind is None:
        return None
    shape = tuple(int(side) for side in data.attrib["shape"].split(",") if side.strip())
    offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
    if offset + size > len(flat) or size != kind.itemsize * int(np.prod(shape)):
        raise ValueError(f"layer {layer.attrib['name']} has {size} bytes at {offset} of {len(flat)}")
    numbers = np.frombuffer(flat, dtype=kind, count=int(np.prod(shape)), offset=offset)
    return np.asarray(numbers, np.float32).reshape(shape)


def read_retail(path: Path) -> RetailNetwork:
    """The weights of one of the four networks; raises OpenVINOWeightsError for any other."""
    reader = _Reader(path, read_operations(path))
    mean, scale = reader.take("Subtract"), reader.take("Multiply")
    if not (
        np.allclose(mean.ravel(), _IMAGENET[0], rtol=1e-3) and np.allclose(1 / scale.ravel(), _IMAGENET[1], rtol=1e-3)
    ):
        raise OpenVINOWeightsError(f"{path} normalises with {mean.ravel()} and {scale.ravel()}, expected ImageNet's")
    trunk = _image_norm(reader, "image_norm")
    trunk["stem.weight"] = reader.take("Convolution")
    trunk |= _image_norm(reader, "stem_norm")
    for index in range(9):
        prefix = f"stages.{index}"
        if index % 3 == 2:
            trunk |= _convolution(reader, prefix)
        else:
            trunk |= _block(reader, prefix, squeeze=index % 3 == 0)
    kernel, bias = reader.take("GroupConvolution"), reader.take("Add")
    channels = len(kernel)
    if kernel.shape[-2:] != KERNEL:
        raise OpenVINOWeightsError(f"{path} pools with a kernel of {kernel.shape[-2:]}, expected {KERNEL}")
    weight, offset = reader.take("MatMul"), reader.take("Add").ravel()
    factor, moved, slope = (reader.take(kind).ravel() for kind in ("Multiply", "Add", "PReLU"))
    reader.end()
    widths = [name for name, width in WIDTHS.items() if width.channels == channels]
    if not widths:
        raise OpenVINOWeightsError(f"{path} has {channels} channels, expected {', '.join(map(str, WIDTHS.values()))}")
    return RetailNetwork(
        widths[0],
        _tensors(trunk),
        _tensors({"weight": kernel.reshape(channels, *KERNEL), "bias": bias.ravel()}),
        _tensors({"weight": factor[:, None] * weight, "bias": factor * offset + moved}),
        torch.from_numpy(slope.copy()),
    )


class _Reader:
    """Takes the operations one by one, each of the kind that the architecture has there."""

    def __init__(self, path: Path, operations: list[Operation]) -> None:
        self._path, self._operations, self._index = path, operations, 0

    def take(self, kind: str) -> Array:
        """The weights of the next operation, which must be of that kind."""
        operation = self._operations[self._index] if self._index < len(self._operations) else None
        if operation is None or operation.kind != kind or len(operation.weights) != 1:
            raise OpenVINOWeightsError(
                f"{self._path} is no person-reidentification-retail network: operation {self._index} is "
                f"{operation.kind if operation else 'missing'}, expected {kind}"
            )
        self._index += 1
        return operation.weights[0]

    def end(self) -> None:
        """Nothing may be left."""
        if self._index != len(self._operations):
            raise OpenVINOWeightsError(
                f"{self._path} is no person-reidentification-retail network: "
                f"{len(self._operations) - self._index} operations follow after its last"
            )


def _image_norm(reader: _Reader, name: str) -> dict[str, Array]:
    return {f"{name}.weight": reader.take("Multiply").ravel(), f"{name}.bias": reader.take("Add").ravel()}


def _convolution(reader: _Reader, name: str, kind: str = "Convolution") -> dict[str, Array]:
    weight = reader.take(kind)
    if kind == "GroupConvolution":  # (groups, out, in, height, width), one channel to a group
        weight = weight.reshape(len(weight), 1, *weight.shape[-2:])
    return {f"{name}.weight": weight, f"{name}.bias": reader.take("Add").ravel()}


def _block(reader: _Reader, name: str, squeeze: bool) -> dict[str, Array]:
    tensors = _convolution(reader, f"{name}.reduce")
    for stream, length in enumerate(STREAMS):
        for index in range(length):
            light = f"{name}.streams.{stream}.{index}"
            tensors[f"{light}.pointwise.weight"] = reader.take("Convolution")
            tensors |= _convolution(reader, f"{light}.depthwise", "GroupConvolution")
        gate = f"{name}.gate"
        if squeeze:
            own = _convolution(reader, f"{gate}.squeeze") | _convolution(reader, f"{gate}.excite")
        else:
            own = {f"{gate}.weight": reader.take("Multiply").ravel(), f"{gate}.bias": reader.take("Add").ravel()}
        for key, array in own.items():  # one gate for all streams, written out for each of them
            if not np.array_equal(tensors.setdefault(key, array), array):
                raise OpenVINOWeightsError(f"{key} differs from stream to stream, expected one gate for all of a block")
    tensors |= _convolution(reader, f"{name}.expand")
    return tensors | (_convolution(reader, f"{name}.shortcut") if squeeze else {})


def _tensors(arrays: dict[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}
