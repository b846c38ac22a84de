"""Views of an image for distillation: what teacher and student both see, and what only the student suffers.

A view depends on seed, view and row alone: the teacher embeds it once, the student meets the same one epochs later.
"""

import numpy as np

from reid_runtime.images.resize import Pixels, resize
from training.data.cutout import cut_out
from training.data.training_set import TrainingCrops
from training.recipe import Views

GAMMA, GAIN, TINT = 0.35, 0.25, 0.12
"""Light: the logarithms of gamma, of the gain of all channels and of each one's own are at most these."""
WAIST = (0.35, 0.65)
"""Where a chimera's lower part begins, in shares of the height."""
_SHOWN, _SUFFERED = 1, 2


def view_of(crops: TrainingCrops, row: int, view: int, choices: Views, seed: int) -> Pixels:
    """View number `view` of a row's image: (H, W, 3) uint8, near the image's size. View 0 is the mildest."""
    random = np.random.default_rng((seed, _SHOWN, view, row))
    image = crops.images[row]
    if view > 0 and random.random() < choices.chimera:
        image = _chimera(image, crops, random)
    if choices.flip and random.random() < 0.5:
        image = image[:, ::-1]
    image = _window(image, choices, random)
    if view > 0 and random.random() < choices.light:
        image = _light(image, random)
    return np.ascontiguousarray(image)


def suffered(view: Pixels, shape: tuple[int, int], extent: float, choices: Views, numbers: tuple[int, ...]) -> Pixels:
    """The view at the student's `shape` (height, width), some shrunk first, and with noise of at most `extent`."""
    random = np.random.default_rng((*numbers, _SUFFERED))
    if random.random() < choices.coarse:
        share = random.uniform(*choices.coarse_share)
        view = resize(view, (max(4, round(shape[0] * share)), max(2, round(shape[1] * share))))
    return cut_out(resize(view, shape), extent, random)


def as_elsewhere(image: Pixels, choices: Views, random: np.random.Generator) -> Pixels:
    """The image as another camera might have it: another part of it, in another light, some of them small."""
    view = _light(_window(image, choices, random), random)
    if random.random() < choices.coarse:
        share = random.uniform(*choices.coarse_share)
        view = resize(view, (max(4, round(view.shape[0] * share)), max(2, round(view.shape[1] * share))))
    return view


def _chimera(image: Pixels, crops: TrainingCrops, random: np.random.Generator) -> Pixels:
    """The image with the lower part of another one of its shape; as it is where it is the only one of that."""
    alike = crops.rows_by_shape[image.shape[:2]]
    other = crops.images[int(alike[random.integers(len(alike))])]
    waist = round(image.shape[0] * random.uniform(*WAIST))
    return np.concatenate([image[:waist], other[waist:]])


def _window(image: Pixels, choices: Views, random: np.random.Generator) -> Pixels:
    """A part of the image, or more than it with its edge repeated."""
    height, width = image.shape[:2]
    share = random.uniform(*choices.window)
    tall, wide = (
        max(1, round(side * share * random.uniform(1 - choices.stretch, 1 + choices.stretch)))
        for side in (height, width)
    )
    top = round((height - tall) / 2 + random.uniform(-choices.move, choices.move) * height)
    left = round((width - wide) / 2 + random.uniform(-choices.move, choices.move) * width)
    rows = np.arange(top, top + tall).clip(0, height - 1)
    columns = np.arange(left, left + wide).clip(0, width - 1)
    window: Pixels = image[rows][:, columns]
    return window


def _light(image: Pixels, random: np.random.Generator) -> Pixels:
    """Another gamma, brightness and tint."""
    gamma = np.exp(random.uniform(-GAMMA, GAMMA))
    gains = np.exp(random.uniform(-GAIN, GAIN) + random.uniform(-TINT, TINT, 3))
    table = (np.arange(256) / 255.0) ** gamma
    tables = np.clip(table[:, None] * gains * 255, 0, 255).round().astype(np.uint8)
    return np.stack([tables[image[..., channel], channel] for channel in range(3)], axis=2)
