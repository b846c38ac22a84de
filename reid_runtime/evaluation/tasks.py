"""What an evaluation compares: the queries and the gallery of any data set, and the pictures that each is made of."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.scoring.labels import JUNK, Integers
from reid_runtime.scoring.layouts.crops import Crops, CropSplits
from reid_runtime.scoring.layouts.datasets import Dataset, Splits
from reid_runtime.scoring.person_search import Boxes, SearchSet, check_findable
from reid_runtime.scoring.ranking import check_answerable
from reid_runtime.scoring.tracklets import Tracklets

RULES = "same identity and camera ignored, junk ignored, distractors kept; ties in gallery order"
PROTOCOL = f"single query; {RULES}"
"""That of pictures and one query each, as contracts record it."""


@dataclass(frozen=True)
class Picture:
    """A file, or a box in one."""

    path: Path
    xyxy: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom, in pixels."""

    def load(self) -> Pixels:
        """Its pixels, RGB; raises ImageError."""
        pixels = load_image(self.path)
        return pixels if self.xyxy is None else cut(pixels, self.xyxy)


def cut(frame: Pixels, xyxy: tuple[int, int, int, int]) -> Pixels:
    """The part of a frame within the box, which may reach beyond it; without pixels where it lies outside."""
    height, width = frame.shape[:2]
    left, top, right, bottom = np.clip(xyxy, 0, [width, height, width, height])
    return frame[top:bottom, left:right]


@dataclass(frozen=True)
class Items:
    """N things to look for or to find, each with one vector: crops, tracklets or boxes. Row i of all is item i."""

    ids: tuple[str, ...]
    """N relative POSIX paths: of the crop, of the tracklet's first frame, or of a box's frame and `#xywh=...`."""
    identities: Integers
    """(N,) person numbers; 0 is a distractor."""
    cameras: Integers
    """(N,) camera numbers."""
    pictures: tuple[tuple[Picture, ...], ...]
    """Of each item: one, or a tracklet's frames; none where only vectors are known."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Task:
    """A data set that is ready to be scored; junk, which every score ignores, is gone."""

    dataset: str
    method: str
    """How its protocol begins."""
    query: Items
    gallery: Items
    multi_query: Items | None = None
    """Further crops of the queries' people under the same cameras."""
    search: SearchSet | None = None
    """The frames of a person search, in which the gallery's boxes are."""
    tracklets: bool = False

    @property
    def parts(self) -> dict[str, Items]:
        """The items by the name of their split, in the order in which they are kept."""
        parts = {"query": self.query, "gallery": self.gallery}
        return parts if self.multi_query is None else parts | {"multi_query": self.multi_query}

    def pictures(self) -> list[Picture]:
        """Every picture once, the boxes of one frame together."""
        by_file: dict[Path, dict[Picture, None]] = {}
        for items in self.parts.values():
            for pictures in items.pictures:
                for picture in pictures:
                    by_file.setdefault(picture.path, {})[picture] = None
        return [picture for pictures in by_file.values() for picture in pictures]

    def check(self) -> None:
        """Raises ScoringError where no query has a right answer: nobody should wait for vectors to learn that."""
        if self.search is None:
            check_answerable(self.query, self.gallery)
        else:
            check_findable(self.search)


def task_of(
    splits: Splits, dataset: str | None = None, known: Dataset | None = None, *, multi_query: bool = False
) -> Task:
    """The task of a data set's splits; `dataset` is what to call it, by default the name of its folder.

    `known` is the layout that it was read by, whose protocol becomes part of the task's. With `multi_query` the
    further crops of the queries' people are part of it; else nobody embeds them. Raises DatasetError where there
    are none, and ScoringError where no query has a right answer.
    """
    if multi_query and not (isinstance(splits, CropSplits) and splits.multi_query is not None):
        raise DatasetError("multi-query needs further crops of each query's person: Market-1501's folder gt_bbox")
    if isinstance(splits, SearchSet):
        task = _search_task(splits, dataset, known)
    elif isinstance(splits, CropSplits):
        task = _crop_task(splits, dataset, multi_query)
    else:
        method = "tracklets" if known is None else known.protocol
        query, gallery = _tracklets(splits.query), _tracklets(splits.gallery)
        task = Task(dataset or _name(splits.query.root), method, query, gallery, tracklets=True)
    task.check()
    return task


def _crop_task(splits: CropSplits, dataset: str | None, multi_query: bool) -> Task:
    method = "each picture a query in turn" if splits.query is splits.gallery else "single query"
    more = _crops(splits.multi_query) if multi_query and splits.multi_query is not None else None
    return Task(dataset or _name(splits.query.root), method, _crops(splits.query), _crops(splits.gallery), more)


def _search_task(splits: SearchSet, dataset: str | None, known: Dataset | None) -> Task:
    method = "person search" if known is None else known.protocol
    query, gallery = _boxes(splits, splits.queries), _boxes(splits, splits.boxes)
    return Task(dataset or _name(splits.root), method, query, gallery, search=splits)


def _name(root: Path) -> str:
    return root.resolve().name


def _crops(crops: Crops) -> Items:
    kept = crops.where(crops.identities != JUNK)
    return Items(kept.ids, kept.identities, kept.cameras, tuple((Picture(path),) for path in kept.paths))


def _tracklets(tracklets: Tracklets) -> Items:
    kept = tracklets.take(np.flatnonzero(tracklets.identities != JUNK))
    pictures = [Picture(path) for path in kept.paths]
    spans = list(zip(kept.starts.tolist(), kept.stops.tolist(), strict=True))
    return Items(
        tuple(kept.frames[start] for start, _ in spans),
        kept.identities,
        kept.cameras,
        tuple(tuple(pictures[start:stop]) for start, stop in spans),
    )


def _boxes(search: SearchSet, boxes: Boxes) -> Items:
    paths = search.paths
    corners = np.floor(boxes.xyxy.astype(np.float64) + 0.5).astype(np.int64).tolist()
    pictures = [Picture(paths[frame], tuple(xyxy)) for frame, xyxy in zip(boxes.frames, corners, strict=True)]
    ids = (
        f"{search.frames[frame]}#xywh={left},{top},{right - left},{bottom - top}"
        for frame, (left, top, right, bottom) in zip(boxes.frames, corners, strict=True)
    )
    return Items(tuple(ids), boxes.identities, search.cameras[boxes.frames], tuple((one,) for one in pictures))
