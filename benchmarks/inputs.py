"""What goes into the models: crops of one size or of many with equal pixels, frames with boxes, files; and vectors."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_runtime.images.resize import Pixels, resize
from reid_runtime.scoring.labels import Labels
from reid_runtime.scoring.vectors import normalise
from reid_runtime.vectors import Vectors

SIZE = (256, 128)
"""Height and width of a crop where nothing else is said; the longest side is the default model's."""
FILE_SIZE = (128, 64)
"""That of the files: Market-1501's."""
FRAME = (1080, 1920)

Shape = tuple[int, int]


def one_size(crops: Sequence[Pixels], count: int, size: Shape = SIZE) -> list[Pixels]:
    """`count` crops at one size."""
    return [resize(crop, size) for crop in islice(cycle(crops), count)]


def mixed_sizes(crops: Sequence[Pixels], count: int) -> list[Pixels]:
    """`count` crops, an even number, of 33 widths and together exactly the pixels of as many at one size."""
    height, width = SIZE
    shifts = [number % 17 * 2 for number in range(count // 2)]
    changes = [change for shift in shifts for change in (shift, -shift)]
    mixed = [resize(crop, (height, width + change)) for crop, change in zip(cycle(crops), changes, strict=False)]
    return [mixed[index] for index in np.random.default_rng(0).permutation(count)]


def frame_with_boxes(crops: Sequence[Pixels], count: int, seed: int = 0) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """A frame of 1920x1080 in which `count` people stand, and their boxes, (count, 4), of many sizes.

    Of one seed, fewer boxes are the first of more.
    """
    random = np.random.default_rng(seed)
    frame = np.full((*FRAME, 3), 128, np.uint8)
    boxes = []
    for crop in islice(cycle(crops), count):
        height = int(random.integers(120, 420))
        width = int(height * random.uniform(0.33, 0.6))
        top, left = int(random.integers(0, FRAME[0] - height)), int(random.integers(0, FRAME[1] - width))
        frame[top : top + height, left : left + width] = resize(crop, (height, width))
        boxes.append((left, top, left + width, top + height))
    return frame, np.array(boxes, np.float32)


def equal_issue(queries: int, inputs: int, seed: int = 0) -> Iterator[int]:
    """The number of the input of each query: every input as often as any other, in an order that changes.

    MLPerf's equal-issue mode, for inputs of unequal size: a draw with replacement would time another mixture of sizes
    in each run. The queries are rounded up to whole turns.
    """
    random = np.random.default_rng(seed)
    for _ in range(-(-queries // inputs)):
        yield from random.permutation(inputs).tolist()


def write_files(folder: Path, crops: Sequence[Pixels], count: int) -> list[Path]:
    """`count` JPEG files of Market-1501's size and quality."""
    paths = [folder / f"{number:06}.jpg" for number in range(count)]
    for path, crop in zip(paths, cycle(crops), strict=False):
        Image.fromarray(resize(crop, FILE_SIZE)).save(path, quality=95)
    return paths


def labelled_vectors(count: int, seed: int = 0) -> tuple[Vectors, Labels]:
    """(count, 256) unit vectors of 750 people under six cameras, at random."""
    random = np.random.default_rng(seed)
    vectors = normalise(random.standard_normal((count, 256), dtype=np.float32), "random")
    return vectors, Labels(random.integers(1, 751, count), random.integers(1, 7, count))
