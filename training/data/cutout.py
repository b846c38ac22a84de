"""Cut-out as in the paper's figure 2: per-pixel noise in a region of random size that grows over training."""

import numpy as np

from reid_runtime.images.resize import Pixels


def largest_extent(progress: float, final: float, schedule: str = "linear") -> float:
    """The largest share of each side that noise may cover at `progress`, 0 at the start of training to 1 at its end.

    "linear": from 0 to `final`. "thirds": a third, two thirds and all of `final`, each for a third of the training.
    "constant": all of `final` from the start.
    """
    progress = min(1.0, max(0.0, progress))
    if schedule == "constant":
        return final
    return final * progress if schedule == "linear" else final * min(3, 1 + int(3 * progress)) / 3


def cut_out(image: Pixels, extent: float, random: np.random.Generator) -> Pixels:
    """A copy with uniform noise in one rectangle, each side drawn from 0 to `extent` of the image's side.

    image: (H, W, 3) uint8; extent: 0 to 1, 0 leaves the image as it is.
    """
    height, width = image.shape[:2]
    cut_height = int(random.uniform(0, extent) * height)
    cut_width = int(random.uniform(0, extent) * width)
    if cut_height == 0 or cut_width == 0:
        return image
    top = int(random.integers(0, height - cut_height + 1))
    left = int(random.integers(0, width - cut_width + 1))
    noisy = image.copy()
    noise = random.integers(0, 256, (cut_height, cut_width, 3), dtype=np.uint8)
    noisy[top : top + cut_height, left : left + cut_width] = noise
    return noisy
