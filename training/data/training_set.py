"""Training images held decoded in memory, checked before anything is trained on them."""

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from reid_runtime.errors import DatasetError, ImageError
from reid_runtime.images.boxes import crop_box
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.images.suffixes import is_image_name
from reid_runtime.io.text import in_one_line
from reid_runtime.scoring.labels import Integers
from reid_runtime.scoring.layouts.account import account_of, check_files, count_passed_over
from reid_runtime.scoring.layouts.crops import Crops, CropSplits
from reid_runtime.scoring.layouts.market1501 import read_split
from reid_runtime.scoring.layouts.mot import read_mot_crops
from reid_runtime.scoring.layouts.plain import CSV_NAME, read_plain
from reid_runtime.scoring.layouts.registry import find_dataset, find_published, read_layout
from reid_runtime.scoring.person_search import Coordinates

MARKET_TRAIN = "bounding_box_train"
AS_TARGETS = "vectors of {} as targets"
"""What a teacher's name adds to the data's terms of use, for they bind what it has taught."""
_NAMED = 5
"""How many unreadable files are named; of more, the number is told."""


@dataclass(frozen=True)
class TrainingCrops:
    """N decoded images; row i of every column belongs to image i."""

    images: list[Pixels]
    people: Integers
    """(N,) identities, as the data set numbers them."""
    cameras: Integers
    """(N,) camera numbers."""
    name: str = "data"
    """What the contract calls the data."""

    @cached_property
    def labels(self) -> Integers:
        """(N,) class numbers, 0 to `identities` - 1."""
        return np.unique(self.people, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def identities(self) -> int:
        """How many people there are."""
        return len(np.unique(self.people))

    @cached_property
    def rows_by_shape(self) -> dict[tuple[int, int], Integers]:
        """The rows of each (height, width)."""
        rows: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, image in enumerate(self.images):
            rows[image.shape[0], image.shape[1]].append(row)
        return {shape: np.array(of_shape) for shape, of_shape in rows.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of people, cameras and pixels: whether a run goes on with the data that it began with."""
        digest = hashlib.sha256(self.people.tobytes() + self.cameras.tobytes())
        for image in self.images:
            digest.update(f"{image.shape}".encode())
            digest.update(np.ascontiguousarray(image).data)
        return f"sha256:{digest.hexdigest()}"

    def sample(self, count: int, seed: int) -> list[Pixels]:
        """So many of the images, or all, in random order."""
        return [self.images[row] for row in np.random.default_rng(seed).permutation(len(self.images))[:count]]

    def where(self, mask: npt.NDArray[np.bool_]) -> "TrainingCrops":
        """The rows at which the (N,) mask is true."""
        rows = np.flatnonzero(mask)
        images = [self.images[row] for row in rows]
        return TrainingCrops(images, self.people[rows], self.cameras[rows], self.name)


def find_training(root: Path, layout: str | None = None, names: str | None = None) -> tuple[Crops, str]:
    """The training split under `root`, and what to call it; only names are read.

    `layout` is one of those that `reid-runtime datasets` lists. Without one, `bounding_box_train` means Market-1501's
    layout, and else the layout is recognised; `names` is a pattern, as `read_plain` takes it. In the plain layout a
    folder without splits is trained on whole. Raises DatasetError for what has no training split.
    """
    root = root.resolve()
    if not root.exists():
        raise DatasetError(f"{root} does not exist; expected the folder of a data set")
    if names is not None:
        layout = "plain"
    if layout is None and (root / MARKET_TRAIN).is_dir():
        layout = "market1501"
    if layout in ("market1501", "dukemtmc-reid"):
        # Only this folder: a copy without queries and gallery can be trained on.
        return read_split(root, MARKET_TRAIN), f"{root.name}/{MARKET_TRAIN}"
    own = layout == "plain" or (layout is None and find_published(root) is None)
    if own and (root / "train").is_dir() and not (root / CSV_NAME).is_file():
        return read_plain(root / "train", names).gallery, f"{root.name}/train"
    if layout == "mot" or (layout is None and (published := find_published(root)) and published.name == "mot"):
        return read_mot_crops(root), root.name
    if layout is None:
        dataset, splits = read_layout(root)
    else:
        dataset = find_dataset(layout)
        splits = read_plain(root, names) if names is not None else dataset.read(root)
    if not isinstance(splits, CropSplits):
        raise DatasetError(
            f"{root} is {dataset.name}, whose tracklets or frames are not trained on; expected a set of crops, or "
            "write its crops to folders identity/camera/image and pass --layout plain"
        )
    if splits.train is not None:
        return splits.train, f"{root.name}/train"
    if dataset.name == "plain" and splits.query is splits.gallery:
        return splits.gallery, root.name
    raise DatasetError(
        f"{root} ({dataset.name}) has queries and a gallery, but no training split; these are for scoring"
    )


def load_training(
    root: Path, layout: str | None = None, one_camera: bool = False, names: str | None = None
) -> TrainingCrops:
    """The people of the training split, decoded; junk and distractors, who are nobody, are left out.

    Prints on standard error how the labels were read, before any image is. Raises DatasetError for a split from which
    nobody could be learnt, and ImageError for unreadable images. `one_camera` lets data of a single camera pass.
    """
    split, name = find_training(root, layout, names)
    people = split.where(split.identities > 0)
    if len(people):
        passed_over = count_passed_over(split.root, split.ids) if split.boxes is None else {}
        if len(people) < len(split):
            passed_over |= {"junk or distractors": len(split) - len(people)}
        for line in account_of([people], len(people), passed_over, split.notes).lines(name):
            click.echo(in_one_line(line), err=True)
    check_people(people, root, one_camera)
    images = _decoded(people.paths, people.boxes)
    for warning in check_files([people]) if people.boxes is None else ():
        click.echo(in_one_line(warning), err=True)
    return TrainingCrops(images, people.identities, people.cameras, name)


def load_unlabelled(root: Path) -> TrainingCrops:
    """Every image below `root`, decoded, each as a person of its own: for what needs nobody's identity.

    Raises DatasetError for a folder with fewer than two images, and ImageError for unreadable ones.
    """
    top = root.resolve()
    paths = sorted(path for path in top.rglob("*") if is_image_name(path))
    if len(paths) < 2:
        raise DatasetError(f"{root}: expected a folder of two images or more, found {len(paths)}")
    passed_over = count_passed_over(top, [path.relative_to(top).as_posix() for path in paths])
    listed = ", ".join(f"{count:,} {reason}" for reason, count in passed_over.items()) or "none"
    click.echo(in_one_line(f"{top.name}: {len(paths):,} images of whoever it may be; passed over: {listed}"), err=True)
    numbers = np.arange(1, len(paths) + 1)
    return TrainingCrops(_decoded(paths), numbers, np.ones_like(numbers), root.resolve().name)


def check_people(crops: Crops, root: Path, one_camera: bool) -> None:
    """Raises DatasetError, before any image is decoded, for a split that cannot teach who is who."""
    counts = np.unique(crops.identities, return_counts=True)[1]
    if len(counts) < 2:
        raise DatasetError(f"{root}: expected two people or more to train on, found {len(counts)}")
    if counts.max() < 2:
        raise DatasetError(
            f"{root}: each of its {len(counts)} people has one image, so nothing shows what stays the same in two "
            "images of one person; add further images of the same people, best under another camera"
        )
    cameras = np.unique(crops.cameras)
    if len(cameras) < 2 and not one_camera:
        camera = crops.names.camera(int(cameras[0])) or "not stated"
        raise DatasetError(
            f"{root}: all {len(crops)} images are of one camera ({camera}), and a model of one camera's light "
            "and angle rarely knows a person under another; add a camera, or pass --one-camera if it is the only one"
        )


def _decoded(paths: list[Path], boxes: Coordinates | None = None) -> list[Pixels]:
    rows: dict[Path, list[int]] = defaultdict(list)
    for row, path in enumerate(paths):
        rows[path].append(row)

    def load(path: Path) -> list[Pixels | ImageError]:
        """The image, or the boxes in it: a frame of a video is read once for everybody in it."""
        try:
            image = load_image(path)
        except ImageError as error:
            return [ImageError(f"{path}: {error}")] * len(rows[path])
        if boxes is None:
            return [image] * len(rows[path])
        crops = [crop_box(image, boxes[row].tolist()).copy() for row in rows[path]]
        return [crop if crop.size else ImageError(f"{path}: a box lies outside") for crop in crops]

    with ThreadPoolExecutor() as pool:
        by_row = zip(rows.values(), pool.map(load, rows), strict=True)
        items = dict(pair for numbers, images in by_row for pair in zip(numbers, images, strict=True))
    loaded = [items[row] for row in range(len(paths))]
    bad = [item for item in loaded if isinstance(item, ImageError)]
    if bad:
        more = f"\n  and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        listed = "".join(f"\n  {error}" for error in bad[:_NAMED])
        raise ImageError(
            f"{len(bad)} of {len(paths)} training images cannot be read; mend them or take them out:{listed}{more}"
        )
    return [item for item in loaded if not isinstance(item, ImageError)]
