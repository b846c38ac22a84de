"""Training crops held decoded in memory, and the batches drawn from them: one shape a batch, any shape."""

import queue
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reid_runtime.errors import ImageError
from reid_runtime.images import load_image
from reid_runtime.resize import LongestSide, Pixels, resize
from reid_runtime.scoring.layouts import Crops
from training.cutout import cut_out
from training.recipe import Recipe

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingCrops:
    """N decoded crops and their class numbers, 0 to `identities` - 1."""

    images: list[Pixels]
    labels: Labels
    identities: int

    @classmethod
    def load(cls, crops: Crops) -> "TrainingCrops":
        """Decode every crop; the first that cannot be used raises an ImageError with its path."""
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(_load, crops.paths))
        identities, labels = np.unique(crops.identities, return_inverse=True)
        return cls(images, labels.astype(np.int64), len(identities))


def _load(path: Path) -> Pixels:
    try:
        return load_image(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}; mend the picture or take it out of the training set") from error


def shifted(image: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """The image moved by up to `share` of each side, its edge repeated."""
    height, width = image.shape[:2]
    rows = np.arange(height) + round(random.uniform(-share, share) * height)
    columns = np.arange(width) + round(random.uniform(-share, share) * width)
    moved: Pixels = image[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    return moved


@dataclass(frozen=True)
class Augmentation:
    """What happens to a crop on its way into a batch, at one moment of training."""

    rule: LongestSide
    recipe: Recipe
    extent: float
    """Cut-out's largest share of a side at this moment."""

    def apply(self, image: Pixels, random: np.random.Generator) -> Pixels:
        """The crop as the network gets it: (H, W, 3) uint8 at the rule's shape."""
        if self.recipe.flip and random.random() < 0.5:
            image = image[:, ::-1]
        if self.recipe.shift:
            image = shifted(image, self.recipe.shift, random)
        image = resize(np.ascontiguousarray(image), self.rule.shape(*image.shape[:2]))
        return cut_out(image, self.extent, random)


def epoch_order(crops: TrainingCrops, rule: LongestSide, recipe: Recipe, epoch: int) -> list[list[int]]:
    """The epoch's batches as row numbers: shuffled, one shape each.

    It depends on seed and epoch alone, so a resumed run goes on with the batch it was stopped at. Of a shape's
    rows, a last single one is left out: batch normalisation needs two.
    """
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(crops.images))
    waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
    batches: list[list[int]] = []
    for row in order.tolist():
        group = waiting[rule.shape(*crops.images[row].shape[:2])]
        group.append(row)
        if len(group) == recipe.batch:
            batches.append(group.copy())
            group.clear()
    batches.extend(group for group in waiting.values() if len(group) > 1)
    return batches


def batches(
    crops: TrainingCrops, augmentation: Augmentation, order: list[list[int]], epoch: int
) -> Iterator[tuple[Pixels, Labels]]:
    """(images (N, H, W, 3) uint8, labels (N,)) for each batch of `order`, made ahead in one thread.

    Each crop's augmentation depends on seed, epoch and row alone, whatever batch it is in.
    """
    ready: queue.Queue[tuple[Pixels, Labels] | BaseException | None] = queue.Queue(maxsize=2)
    stopped = threading.Event()

    def make() -> None:
        try:
            for rows in order:
                pixels = [
                    augmentation.apply(crops.images[row], np.random.default_rng((augmentation.recipe.seed, epoch, row)))
                    for row in rows
                ]
                ready.put((np.stack(pixels), crops.labels[rows]))
                if stopped.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # handed to the caller below
            ready.put(error)

    thread = threading.Thread(target=make, daemon=True, name="training batches")
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        while thread.is_alive():
            try:
                ready.get(timeout=0.1)
            except queue.Empty:
                continue
