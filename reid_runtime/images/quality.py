"""What makes an image hardly worth an embedding: reason codes for those that are embedded all the same, and a number."""

from dataclasses import dataclass

import numpy as np

from reid_runtime.images.resize import Pixels

TOO_SMALL, EXTREME_ASPECT, BLANK, LOW_CONTRAST = "too_small", "extreme_aspect", "blank", "low_contrast"
BLURRED, NEAR_DUPLICATE = "blurred", "near_duplicate"
WORTHLESS = (TOO_SMALL, EXTREME_ASPECT, BLANK, LOW_CONTRAST)
"""The codes of images that answer nothing: two blank images are as similar as two of one person."""

_SAMPLES = 32
"""About as many rows and columns are looked at."""
_ROWS, _COLUMNS, _TALL, _WINDOW = 24, 256, 128, 9
"""Blur is looked for in so many rows and at most so many columns of an image that is at most about _TALL rows high, and
compared with a mean over _WINDOW pixels."""


@dataclass(frozen=True)
class QualityPolicy:
    """From where on an image gets a reason code, and what its quality is."""

    small_side: int = 8
    """Pixels of the shorter side; fewer are `too_small`."""
    aspect: float = 8.0
    """The longer side by the shorter one; more is `extreme_aspect`."""
    blank: float = 1.0
    """Standard deviation, in grey levels, of the channel that has most; less is `blank`."""
    low_contrast: float = 6.0
    """The same; less is `low_contrast`."""
    blurred: float = 0.75
    """`blur_of`; more is `blurred`."""
    good_side: int = 64
    sharp: float = 0.5

    def judge(self, image: Pixels) -> tuple[float, tuple[str, ...]]:
        """Quality and codes of an image, (H, W, 3) uint8."""
        return 1.0, self.reasons(image)

    def reasons(self, image: Pixels) -> tuple[str, ...]:
        """The codes of an image, (H, W, 3) uint8."""
        shorter, longer = sorted(image.shape[:2])
        codes = [TOO_SMALL] if shorter < self.small_side else []
        if longer > self.aspect * shorter:
            codes.append(EXTREME_ASPECT)
        sample = image[:: max(1, image.shape[0] // _SAMPLES), :: max(1, image.shape[1] // _SAMPLES)]
        # Channel by channel, in float32: a quarter of the time of std along the last axis.
        contrast = float(sample.reshape(-1, 3).T.astype(np.float32, order="C").std(axis=1).max())
        if contrast < self.low_contrast:
            codes.append(BLANK if contrast < self.blank else LOW_CONTRAST)
        return tuple(codes)


def blur_of(image: Pixels) -> float:
    """How blurred an image is along its rows, from 0 to 1, at the scale of a crop of 128 rows.

    A sharp image loses most of its differences between neighbours when it is blurred, a blurred one few (Crete and
    others, The blur effect, 2007).

    Args:
        image: (H, W, 3) uint8.

    Returns:
        The share of the differences that a mean over nine pixels leaves; 1 for an image without any.
    """
    step = max(1, image.shape[0] // _TALL)
    rows = max(step, image.shape[0] // _ROWS // step * step)
    grey = image[::rows, : step * _COLUMNS : step].astype(np.float32).mean(axis=2)
    before = np.pad(grey, ((0, 0), (_WINDOW // 2 + 1, _WINDOW // 2)), mode="edge").cumsum(axis=1)
    smooth = (before[:, _WINDOW:] - before[:, :-_WINDOW]) / _WINDOW
    differences, left = (np.abs(np.diff(each, axis=1)) for each in (grey, smooth))
    total = float(differences.sum())
    return 1 - float(np.maximum(differences - left, 0).sum()) / total if total > 0 else 1.0


DEFAULT_POLICY = QualityPolicy()
