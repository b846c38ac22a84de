"""Random changes that another camera, or a detector's box that fits badly, would make to an image.

Training shows them to a network, and INT8 calibration checks its ranges on them. Images are (H, W, 3) uint8 RGB.
"""

import numpy as np

from reid_runtime.images.resize import Pixels, resize

GAMMA, GAIN, TINT = 0.35, 0.25, 0.12
"""The logarithms of gamma, of the gain of all channels and of each one's own are at most these."""


def window_jitter(
    image: Pixels, scale: tuple[float, float], aspect: float, shift: float, random: np.random.Generator
) -> Pixels:
    """A window of the image, or more than it with its edge repeated.

    Args:
        image: (H, W, 3) uint8.
        scale: Smallest and largest share of the image's sides.
        aspect: Largest share by which each side is longer or shorter than that.
        shift: Largest share of each side by which the window is off the middle.
        random: What is drawn from.

    Returns:
        (h, w, 3) uint8.
    """
    height, width = image.shape[:2]
    share = random.uniform(*scale)
    tall, wide = (max(1, round(side * share * random.uniform(1 - aspect, 1 + aspect))) for side in (height, width))
    top = round((height - tall) / 2 + random.uniform(-shift, shift) * height)
    left = round((width - wide) / 2 + random.uniform(-shift, shift) * width)
    rows = np.arange(top, top + tall).clip(0, height - 1)
    columns = np.arange(left, left + wide).clip(0, width - 1)
    window: Pixels = image[rows][:, columns]
    return window


def colour_jitter(image: Pixels, random: np.random.Generator) -> Pixels:
    """The image with another gamma, brightness and tint."""
    gamma = np.exp(random.uniform(-GAMMA, GAMMA))
    gains = np.exp(random.uniform(-GAIN, GAIN) + random.uniform(-TINT, TINT, 3))
    table = (np.arange(256) / 255.0) ** gamma
    tables = np.clip(table[:, None] * gains * 255, 0, 255).round().astype(np.uint8)
    return np.stack([tables[image[..., channel], channel] for channel in range(3)], axis=2)


def low_resolution(
    image: Pixels, shape: tuple[int, int], scale: tuple[float, float], random: np.random.Generator
) -> Pixels:
    """The image at a share of `shape`, (height, width), that lies between the two of `scale`."""
    share = random.uniform(*scale)
    return resize(image, (max(4, round(shape[0] * share)), max(2, round(shape[1] * share))))
