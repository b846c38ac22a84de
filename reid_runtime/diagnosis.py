"""Why a server does not give a model's vectors: what it does to pixels, in which numbers it computes, whose weights.

Nothing of the server is seen but its answers, so each cause is tried. A crop that is prepared so that the supposed
mistake turns it into pixels p must give the vector that the model gives for p on this machine, and must not give that
of the crop as it is. Crops of two levels a channel are enough for that, and two levels can be found that the mistake
maps to whole numbers from 0 to 255, so that the comparison is exact also where most others leave that range.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

import numpy as np

from reid_runtime.agreement import LOW_PRECISION_MIN_COSINE, compare
from reid_runtime.contract_template import PRESETS
from reid_runtime.errors import BackendError
from reid_runtime.images.resize import Pixels, resize
from reid_runtime.model_file import ModelFile
from reid_runtime.model_file.packaged import PACKAGED
from reid_runtime.vectors import Vectors

Embed = Callable[[Sequence[Pixels]], Vectors]
"""(H, W, 3) uint8 RGB of any sizes, already resized, to (N, D)."""

_EXPLAINED = 0.995
"""The least cosine at which a cause is one; the best of those is told."""
_LEFT = 0.1
"""The most of the drift that a cause may leave."""
_FEW = 2
"""Crops that each of the many causes is tried on."""
_COARSE = 0.95
"""The same where nothing else explains the vectors and they are still near."""
_EXACT = 0.1
"""How far from a whole number a level may fall."""
_SIZES = ((256, 128), (384, 128), (224, 224), (128, 64))
"""Height and width to which servers resize by themselves."""

_Tried = tuple[float, float, str]
"""The worst cosine under a cause, how much of the difference without it it leaves, and its name."""


@dataclass(frozen=True)
class _Cause:
    """A mistake that maps a pixel's value v, 0 to 255, to v * scale + offset, channel by channel."""

    words: str
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]


def diagnose(
    served: Embed, local: Embed | None, images: Sequence[bytes], crops: Sequence[Pixels], expected: Vectors
) -> str:
    """Name what drifts.

    Args:
        served: The server.
        local: The model on this machine; without it only the causes that need none are tried.
        images: The self-test's files.
        crops: The same, decoded and resized.
        expected: Their right vectors (N, D).

    Returns:
        One line: channel order, scale, normalisation, precision, a second resize or other weights, and how that is
        known.
    """
    vectors = served(crops)
    worst = _worst(expected, vectors)
    owner = _owner(images, vectors)
    if owner is not None and worst < LOW_PRECISION_MIN_COSINE:
        return f"other weights: these are the vectors of the packaged model {owner}"
    for cosine, left, words in _tried_causes(served, local, crops, expected, vectors):
        # A drift of its own size is no explanation of a small one.
        if cosine >= _EXPLAINED and left <= _LEFT and 1 - cosine <= _LEFT * (1 - worst):
            return f"{words}: so prepared, crops have the right vectors, at cosine {cosine:.7f} or more"
    if worst >= _COARSE:
        fewer = "it computes in fewer bits" if worst >= LOW_PRECISION_MIN_COSINE else "nothing else explains that"
        return f"precision: every vector is near the right one, at cosine {worst:.5f} or more; {fewer}"
    hint = "" if local is not None else "; scale and normalisation are tried with --reference FILE, the ONNX file of it"
    return f"other weights, or an input that is changed in a way that was not tried: cosine {worst:.3f} at worst{hint}"


def _tried_causes(
    served: Embed, local: Embed | None, crops: Sequence[Pixels], expected: Vectors, vectors: Vectors
) -> Iterator[_Tried]:
    """Of each kind of cause the best."""
    exchanged = _worst(expected, _tried(served, [*map(_swapped, crops)]))
    yield exchanged, 0.0, "channel order: red and blue are exchanged"
    if local is None:
        return
    few = crops[:_FEW]
    yield max(_by_resizing(local, crops, vectors))

    def swapping(images: Sequence[Pixels]) -> Vectors:
        return served([*map(_swapped, images)])

    both = [(each[0], each[1], f"channel order, and {each[2]}") for each in _by_levels(swapping, local, few)]
    yield min([*_by_levels(served, local, few), *both], key=itemgetter(1))


def _by_levels(served: Embed, local: Embed, crops: Sequence[Pixels]) -> Iterator[_Tried]:
    """Each cause that two levels can show."""
    for cause in _causes():
        levels = [_levels(*pair) for pair in zip(cause.scale, cause.offset, strict=True)]
        sent, seen = [], []
        for crop in crops:
            is_bright = crop > np.median(crop, axis=(0, 1))
            low, high = ([level[end] for level in levels] for end in (0, 1))
            both = [np.where(is_bright, *([each[axis] for each in ends] for ends in (high, low))) for axis in (0, 1)]
            sent.append(both[0].astype(np.uint8))
            seen.append(both[1].astype(np.uint8))
        rows = _tried(served, sent)
        cosine, untouched = _worst(local(seen), rows), _worst(local(sent), rows)
        # A model that normalises its input by itself tells few causes apart: then no change explains as much.
        yield cosine, (1 - cosine) / max(1 - untouched, 1e-12), cause.words


def _causes() -> Iterator[_Cause]:
    def of(words: str, scale: float, offset: float = 0.0) -> _Cause:
        return _Cause(words, (scale,) * 3, (offset,) * 3)

    yield of("scale: it divides by 255 once more", 1 / 255)
    yield of("scale: it multiplies by 255, or leaves out a division", 255.0)
    for preset in ("imagenet-rgb", "clip-rgb", "half-rgb"):
        mean, deviation = np.array(PRESETS[preset].mean), np.array(PRESETS[preset].deviation)
        once, name = (1 / (255 * deviation), -mean / deviation), preset.removesuffix("-rgb")
        twice = f"normalisation twice: it subtracts {name}'s mean and divides by its deviation before the model does"
        yield _Cause(f"{twice}, in place of pixels", *map(_three, once))
        yield _Cause(twice, *(_three(255 * value) for value in once))
        yield _Cause(f"normalisation: {name}'s is left out", _three(deviation), _three(255 * mean))


def _three(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _levels(scale: float, offset: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two values, each with what the mistake makes of it, whole numbers from 0 to 255 that are next to one another.

    Little contrast shows a mistake best: a model that normalises its input by itself notices only that.
    """
    made = np.arange(256) * scale + offset
    rounded = np.rint(made)
    error = np.abs(made - rounded)
    best: dict[int, int] = {}
    for value in np.flatnonzero((error <= _EXACT) & (rounded >= 0) & (rounded <= 255)).tolist():
        level = int(rounded[value])
        if level not in best or error[value] < error[best[level]]:
            best[level] = value
    pairs = pairwise(sorted(best))
    low, high = min(pairs, key=lambda pair: (pair[1] - pair[0], error[best[pair[0]]] + error[best[pair[1]]]))
    return (best[low], low), (best[high], high)


def _by_resizing(local: Embed, crops: Sequence[Pixels], vectors: Vectors) -> Iterator[_Tried]:
    for size in _SIZES:
        rows = _tried(local, [resize(crop, size) for crop in crops])
        yield _worst(vectors, rows), 0.0, f"resize: it stretches to {size[0]}x{size[1]} once more"


def _owner(images: Sequence[bytes], vectors: Vectors) -> str | None:
    """The packaged model that gives these vectors for these images, by its record."""
    for name, model in PACKAGED.items():
        record = ModelFile.open(model.path).selftest()
        if record is not None and record.images == tuple(images) and _worst(record.vectors, vectors) >= _EXPLAINED:
            return name
    return None


def _swapped(crop: Pixels) -> Pixels:
    return np.ascontiguousarray(crop[..., ::-1])


def _tried(embed: Embed, crops: Sequence[Pixels]) -> Vectors | None:
    try:
        return embed(crops)
    except BackendError:
        return None


def _worst(expected: Vectors, vectors: Vectors | None) -> float:
    """The worst cosine of two sets of vectors; -1 where they cannot be compared."""
    if vectors is None or vectors.shape != expected.shape:
        return -1.0
    cosine = compare(expected, vectors).worst_cosine
    return cosine if np.isfinite(cosine) else -1.0
