"""What makes an image hardly worth an embedding: reason codes for those that are embedded all the same."""

from dataclasses import dataclass

import numpy as np

from reid_runtime.images.resize import Pixels

TOO_SMALL, EXTREME_ASPECT, BLANK, LOW_CONTRAST = "too_small", "extreme_aspect", "blank", "low_contrast"
WORTHLESS = (TOO_SMALL, EXTREME_ASPECT, BLANK, LOW_CONTRAST)
"""The codes of images that answer nothing: two blank images are as similar as two of one person."""

_SAMPLES = 32
"""About as many rows and columns are looked at."""


@dataclass(frozen=True)
class QualityPolicy:
    """From where on an image gets a reason code; none of 6,400 crops of three data sets does."""

    small_side: int = 8
    """Pixels of the shorter side; fewer are `too_small`."""
    aspect: float = 8.0
    """The longer side by the shorter one; more is `extreme_aspect`."""
    blank: float = 1.0
    """Standard deviation, in grey levels, of the channel that has most; less is `blank`."""
    low_contrast: float = 6.0
    """The same; less is `low_contrast`."""

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


DEFAULT_POLICY = QualityPolicy()
