"""What makes an image hardly worth an embedding: reason codes for those that are embedded all the same; a number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reid_runtime.images.resize import Pixels

TOO_SMALL, EXTREME_ASPECT, BLANK, LOW_CONTRAST = "too_small", "extreme_aspect", "blank", "low_contrast"
BLURRED, NEAR_DUPLICATE = "blurred", "near_duplicate"
WORTHLESS = (TOO_SMALL, EXTREME_ASPECT, BLANK, LOW_CONTRAST)
"""The codes of images that answer nothing: two blank images are as similar as two of one person."""

Curve = tuple[tuple[float, float], ...]
"""Points of a broken line; level beyond its ends."""

_SAMPLES = 32
"""About as many rows and columns are looked at."""
_ROWS, _COLUMNS, _TALL, _WINDOW = 24, 256, 128, 9
"""Blur is looked for in so many rows and at most so many columns of an image that is at most about _TALL rows high, and
compared with a mean over _WINDOW pixels."""


class Sample(NamedTuple):
    """What of an image is looked at; it holds on to no more of it."""

    shape: tuple[int, int]
    """Height and width of the image."""
    levels: Pixels
    lines: Pixels


def sample(image: Pixels) -> Sample:
    """The pixels of an image, (H, W, 3) uint8, that its quality follows from."""
    height, width = image.shape[:2]
    step = max(1, height // _TALL)
    rows = max(step, height // _ROWS // step * step)
    levels = image[:: max(1, height // _SAMPLES), :: max(1, width // _SAMPLES)]
    return Sample((height, width), levels.copy(), image[::rows, : step * _COLUMNS : step].copy())


@dataclass(frozen=True)
class QualityPolicy:
    """From where on an image gets a reason code, and how many right matches it is still good for.

    Measured by `python -m benchmarks.quality` with the default model, on Market-1501's queries against crops of other
    cameras as they are, at the threshold of FMR 1 % (benchmarks/results/calibration): a good crop misses 3.2 % of its
    matches. The packaged models even out each image's contrast; others may not, and the codes are for all.
    """

    small_side: int = 8
    """Pixels of the shorter side; fewer are `too_small`: at 8 seven matches in ten are lost, at 6 more than nine."""
    aspect: float = 8.0
    """The longer side by the shorter one; more is `extreme_aspect`, which no crop of three data sets is."""
    blank: float = 1.0
    """Standard deviation, in grey levels, of the channel that has most; less is `blank`."""
    low_contrast: float = 6.0
    """The same; less is `low_contrast`: at 5 a MobileNetV2 that takes images as they are finds none of its matches, the
    packaged models 98 %; no crop of three data sets is below 20."""
    blurred: float = 0.72
    """`blur_of`; more is `blurred`: at a Gaussian of 2.5 pixels in 128 rows a sixth of the matches is lost. No crop of
    three data sets is above 0.6."""
    near_duplicate: float = 0.98
    """The cosine of a crop with the one before it of the same person and camera; from here on it is `near_duplicate`:
    what a crop has with itself when two pixels are cut off each edge, or it is stored again. No two people of
    Market-1501 have it."""
    by_height: Curve = ((8, 0.0), (52, 0.63), (60, 0.67), (72, 0.94), (100, 1.0))
    """Pixels of the height, and the share of the matches of a good crop that such crops get: CAVIAR4REID's within its
    cameras, where far people are darker too. Market-1501's crops, made smaller, lose as much only below 24 pixels."""
    by_blur: Curve = (
        (0.33, 1.0), (0.45, 0.99), (0.55, 0.96), (0.65, 0.91), (0.72, 0.83), (0.77, 0.69), (0.84, 0.35), (0.88, 0.04),
    )  # fmt: skip
    """`blur_of`, and that share."""
    by_contrast: Curve = ((1.0, 0.66), (2.5, 0.93), (5.0, 0.98), (15.0, 1.0))
    """Standard deviation, and that share: 49 is the median of Market-1501."""

    def judge(self, image: Pixels) -> tuple[float, tuple[str, ...]]:
        """Quality and codes of an image, (H, W, 3) uint8.

        The quality is the share of the right matches of a good crop that a crop as small, as blurred and as flat still
        gets, each by itself, multiplied; 0 for one that is blank.
        """
        return self.judge_all([sample(image)])[0]

    def judge_all(self, samples: Sequence[Sample]) -> list[tuple[float, tuple[str, ...]]]:
        """As `judge`, for several: of one shape together, which takes half of the time and waits less for threads."""
        judged: dict[int, tuple[float, tuple[str, ...]]] = {}
        by_shape: dict[tuple[int, int], list[int]] = {}
        for number, each in enumerate(samples):
            by_shape.setdefault(each.shape, []).append(number)
        for shape, numbers in by_shape.items():
            contrasts = _contrasts([samples[number].levels for number in numbers])
            blurs = _blurs([samples[number].lines for number in numbers])
            for number, contrast, blur in zip(numbers, contrasts, blurs, strict=True):
                shares = (
                    _at(self.by_height, shape[0]), _at(self.by_blur, blur), _at(self.by_contrast, contrast),
                )  # fmt: skip
                codes = self._codes(shape, contrast, blur)
                judged[number] = 0.0 if BLANK in codes else math.prod(shares), codes
        return [judged[number] for number in range(len(samples))]

    def reasons(self, image: Pixels) -> tuple[str, ...]:
        """The codes of an image, (H, W, 3) uint8."""
        taken = sample(image)
        return self._codes(taken.shape, _contrasts([taken.levels])[0], _blurs([taken.lines])[0])

    def _codes(self, shape: tuple[int, int], contrast: float, blur: float) -> tuple[str, ...]:
        shorter, longer = sorted(shape)
        codes = [TOO_SMALL] if shorter < self.small_side else []
        if longer > self.aspect * shorter:
            codes.append(EXTREME_ASPECT)
        if contrast < self.low_contrast:
            codes.append(BLANK if contrast < self.blank else LOW_CONTRAST)
        elif blur > self.blurred:
            codes.append(BLURRED)
        return tuple(codes)


def _at(curve: Curve, value: float) -> float:
    return float(np.interp(value, *_axes(curve)))


@cache
def _axes(curve: Curve) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    positions, shares = np.array(curve).T
    return np.ascontiguousarray(positions), np.ascontiguousarray(shares)


def _contrasts(levels: Sequence[Pixels]) -> list[float]:
    """The standard deviation of the channel that has most, of samples of one shape."""
    samples = np.stack(levels).reshape(len(levels), -1, 3)
    # Channel by channel, in float32: a quarter of the time of std along the last axis.
    contrasts: list[float] = samples.transpose(0, 2, 1).astype(np.float32, order="C").std(axis=2).max(axis=1).tolist()
    return contrasts


def blur_of(image: Pixels) -> float:
    """How blurred an image is along its rows, from 0 to 1, at the scale of a crop of 128 rows.

    A sharp image loses most of its differences between neighbours when it is blurred, a blurred one few (Crete and
    others, The blur effect, 2007).

    Args:
        image: (H, W, 3) uint8.

    Returns:
        The share of the differences that a mean over nine pixels leaves; 0 for an image that is too narrow to tell, or
        has none.
    """
    return _blurs([sample(image).lines])[0]


def _blurs(lines: Sequence[Pixels]) -> list[float]:
    """As `blur_of`, of samples of one shape."""
    if lines[0].shape[1] < 2 * _WINDOW:
        return [0.0] * len(lines)
    red, green, blue = np.stack(lines).transpose(3, 0, 1, 2)
    grey = (red.astype(np.float32) + green + blue) / np.float32(3)  # a quarter of the time of mean(axis=3)
    before = grey.take(_with_margins(grey.shape[2]), axis=2).cumsum(axis=2)
    smooth = (before[:, :, _WINDOW:] - before[:, :, :-_WINDOW]) / _WINDOW
    differences, left = (np.abs(np.diff(each, axis=2)).reshape(len(lines), -1) for each in (grey, smooth))
    totals = differences.sum(axis=1).tolist()
    lost = np.maximum(differences - left, 0).sum(axis=1).tolist()
    return [1 - each / total if total > 0 else 0.0 for each, total in zip(lost, totals, strict=True)]


@lru_cache(_COLUMNS)
def _with_margins(columns: int) -> npt.NDArray[np.int64]:
    """The numbers of the columns with the outer ones repeated, so that there is a window at each of them."""
    return np.clip(np.arange(-(_WINDOW // 2) - 1, columns + _WINDOW // 2), 0, columns - 1)


DEFAULT_POLICY = QualityPolicy()
