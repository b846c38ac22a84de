"""Views of an image: what both teacher and student see, and what the student alone does.

A view depends on seed, view and row alone: the teacher embeds it once, the student meets the same one epochs later.
"""

import numpy as np

from reid_runtime.images.jitter import colour_jitter, low_resolution, window_jitter
from reid_runtime.images.resize import Pixels, resize
from training.data.cutout import cut_out
from training.data.training_set import TrainingCrops
from training.recipe import Views

WAIST = (0.35, 0.65)
"""Where the other image of a vertical cutmix begins, in shares of the height."""
_SHARED, _STUDENT = 1, 2


def view_of(crops: TrainingCrops, row: int, view: int, choices: Views, seed: int) -> Pixels:
    """View number `view` of a row's image: (H, W, 3) uint8, near the image's size. View 0 is the mildest."""
    random = np.random.default_rng((seed, _SHARED, view, row))
    image = crops.images[row]
    if view > 0 and random.random() < choices.vertical_cutmix:
        image = _vertical_cutmix(image, crops, random)
    if choices.flip and random.random() < 0.5:
        image = image[:, ::-1]
    image = window_jitter(image, choices.window, choices.aspect_jitter, choices.shift, random)
    if view > 0 and random.random() < choices.colour_jitter:
        image = colour_jitter(image, random)
    return np.ascontiguousarray(image)


def student_view(
    view: Pixels, shape: tuple[int, int], extent: float, choices: Views, numbers: tuple[int, ...]
) -> Pixels:
    """The view at the student's `shape` (height, width), some shrunk first, and with noise of at most `extent`.

    `numbers` seed what is random.
    """
    random = np.random.default_rng((*numbers, _STUDENT))
    if random.random() < choices.low_resolution:
        view = low_resolution(view, shape, choices.low_resolution_scale, random)
    return cut_out(resize(view, shape), extent, random)


def _vertical_cutmix(image: Pixels, crops: TrainingCrops, random: np.random.Generator) -> Pixels:
    """The image with the lower part of another one of its shape; as it is where it is the only one of that."""
    alike = crops.rows_by_shape[image.shape[:2]]
    other = crops.images[int(alike[random.integers(len(alike))])]
    waist = round(image.shape[0] * random.uniform(*WAIST))
    return np.concatenate([image[:waist], other[waist:]])
