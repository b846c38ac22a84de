"""What an evaluation compares: the queries and the gallery of any data set, and the images that each is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from reid_runtime.errors import DatasetError
from reid_runtime.images.boxes import crop_box, round_boxes
from reid_runtime.images.decode import load_image
from reid_runtime.images.resize import Pixels
from reid_runtime.jobs.sources import utf8_ids
from reid_runtime.scoring.labels import JUNK, Integers, LabelNames
from reid_runtime.scoring.layouts.account import Account, account_of
from reid_runtime.scoring.layouts.crops import Crops, CropSplits
from reid_runtime.scoring.layouts.datasets import Dataset, Splits
from reid_runtime.scoring.person_search import Boxes, SearchSet, check_findable
from reid_runtime.scoring.ranking import check_answerable
from reid_runtime.scoring.tracklets import Tracklets

RULES = "same identity and camera ignored, junk ignored, distractors kept; ties in gallery order"
RULES_WITHOUT_CAMERAS = (
    "cameras not used: every other image of the identity is a right answer, junk ignored, distractors kept; ties in "
    "gallery order"
)
PROTOCOL = f"single query; {RULES}"
"""The protocol of single crops, as contracts record it."""


@dataclass(frozen=True)
class EntryImage:
    """An image file, or a box in one."""

    path: Path
    xyxy: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom, in pixels; it may reach beyond the image."""

    def load(self) -> Pixels:
        """The pixels, (H, W, 3) RGB; raises ImageError."""
        pixels = load_image(self.path)
        return pixels if self.xyxy is None else crop_box(pixels, self.xyxy)


@dataclass(frozen=True)
class Entries:
    """N crops, tracklets or boxes of a query or gallery set, each with one vector: row i of all columns is entry i."""

    ids: tuple[str, ...]
    """N relative POSIX paths: of the crop, of the tracklet's first frame, or of a box's frame and `#xywh=...`."""
    identities: Integers
    """(N,) person numbers; 0 is a distractor."""
    cameras: Integers
    """(N,) camera numbers."""
    images: tuple[tuple[EntryImage, ...], ...]
    """Of each entry: one, or a tracklet's frames; none where only the vectors were saved."""
    names: LabelNames = field(default_factory=LabelNames)
    """What the people and cameras are called."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class EvalSet:
    """A data set that is ready to be scored, without its junk, which every score ignores."""

    dataset: str
    method: str
    """How its protocol begins."""
    query: Entries
    gallery: Entries
    multi_query: Entries | None = None
    """Further crops of the queries' identities under the same cameras."""
    search: SearchSet | None = None
    """The frames of a person search, in which the gallery's boxes are."""
    tracklets: bool = False
    camera_rule: bool = True
    """Whether the same person under the same camera is ignored; else each entry has a camera number of its own."""
    notes: tuple[str, ...] = ()
    """What of the reading was not plain."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Files of its folders that are in none of its splits, by suffix or reason."""
    published: bool = False
    """Whether it was read in a published set's layout."""

    @property
    def splits(self) -> dict[str, Entries]:
        """The entries by the name of their split, in the order in which they are saved."""
        splits = {"query": self.query, "gallery": self.gallery}
        return splits if self.multi_query is None else splits | {"multi_query": self.multi_query}

    def images(self) -> list[EntryImage]:
        """Every image once, the boxes of one frame together."""
        by_file: dict[Path, dict[EntryImage, None]] = {}
        for entries in self.splits.values():
            for images in entries.images:
                for image in images:
                    by_file.setdefault(image.path, {})[image] = None
        return [image for images in by_file.values() for image in images]

    def without_cameras(self) -> "EvalSet":
        """The set where only a query itself is ignored: each id its own camera, under the name of the one it had."""
        numbers = {name: row for row, name in enumerate(dict.fromkeys(self.query.ids + self.gallery.ids), 1)}

        def alone(entries: Entries) -> Entries:
            cameras = np.array([numbers[name] for name in entries.ids], dtype=np.int64)
            called = map(entries.names.camera, entries.cameras.tolist())
            names = replace(entries.names, cameras=dict(zip(cameras.tolist(), called, strict=True)))
            return replace(entries, cameras=cameras, names=names)

        return replace(self, query=alone(self.query), gallery=alone(self.gallery), camera_rule=False)

    def account(self) -> Account:
        """How the labels were read, for people to look at before anything is computed."""
        notes = list(self.notes)
        if not self.camera_rule:
            notes.append("cameras are not used: every other image of the person is a right answer, which is easier")
        images = self.images()
        rows = [self.query, self.gallery]
        count = len(images) or len(dict.fromkeys(self.query.ids + self.gallery.ids))
        return account_of(rows, count, self.passed_over, notes)

    def check(self) -> None:
        """Raises ScoringError where no query has a right answer: nobody should wait for vectors to learn that."""
        if self.search is None:
            check_answerable(self.query, self.gallery)
        else:
            check_findable(self.search)


def eval_set_of(
    splits: Splits,
    name: str | None = None,
    dataset: Dataset | None = None,
    *,
    multi_query: bool = False,
    camera_rule: bool = True,
) -> EvalSet:
    """The queries and gallery of a data set's splits.

    Args:
        splits: What a layout's reader returned.
        name: What to call the data set; None for the name of its folder.
        dataset: The layout that it was read by, whose protocol is then named.
        multi_query: Whether the further crops of the queries' identities are taken along.
        camera_rule: Whether the same person under the same camera is ignored, if the data set states cameras.

    Returns:
        The set, without junk.

    Raises:
        DatasetError: For `multi_query` where there are no further crops, and without the camera rule.
        ScoringError: Where no query has a right answer.
    """
    if multi_query and not (isinstance(splits, CropSplits) and splits.multi_query is not None):
        raise DatasetError("multi-query needs further crops of each query's person: Market-1501's folder gt_bbox")
    if isinstance(splits, SearchSet):
        method = "person search" if dataset is None else dataset.protocol
        query, gallery = _boxes(splits, splits.queries), _boxes(splits, splits.boxes)
        if splits.gaps is not None:  # one box is looked for after several gaps
            ids = tuple(f"{box}&gap={gap}s" for box, gap in zip(query.ids, splits.gaps.tolist(), strict=True))
            query = replace(query, ids=ids)
        eval_set = EvalSet(name or _name(splits.root), method, query, gallery, search=splits, notes=splits.notes)
    elif isinstance(splits, CropSplits):
        method = "each image a query in turn" if splits.query is splits.gallery else "single query"
        more = _crops(splits.multi_query) if multi_query and splits.multi_query is not None else None
        query, gallery = _crops(splits.query), _crops(splits.gallery)
        notes = splits.query.notes
        eval_set = EvalSet(name or _name(splits.query.root), method, query, gallery, more, notes=notes)
    else:
        method = "tracklets" if dataset is None else dataset.protocol
        query, gallery = _tracklets(splits.query), _tracklets(splits.gallery)
        eval_set = EvalSet(name or _name(splits.query.root), method, query, gallery, tracklets=True)
    if not (camera_rule and eval_set.query.names.has_cameras) and eval_set.search is None:
        if multi_query:
            raise DatasetError(
                "multi-query is the mean of a person's images under one camera; it needs the camera rule"
            )
        eval_set = eval_set.without_cameras()
    eval_set = replace(eval_set, published=dataset is not None and bool(dataset.layout))
    eval_set.check()
    return eval_set


def _name(root: Path) -> str:
    return utf8_ids([root.resolve().name])[0]


def _crops(crops: Crops) -> Entries:
    kept = crops.where(crops.identities != JUNK)
    images = tuple((EntryImage(path),) for path in kept.paths)
    return Entries(utf8_ids(kept.ids), kept.identities, kept.cameras, images, kept.names)


def _tracklets(tracklets: Tracklets) -> Entries:
    kept = tracklets.take(np.flatnonzero(tracklets.identities != JUNK))
    images = [EntryImage(path) for path in kept.paths]
    spans = list(zip(kept.starts.tolist(), kept.stops.tolist(), strict=True))
    return Entries(
        tuple(kept.frames[start] for start, _ in spans),
        kept.identities,
        kept.cameras,
        tuple(tuple(images[start:stop]) for start, stop in spans),
    )


def _boxes(search: SearchSet, boxes: Boxes) -> Entries:
    paths, frames = search.paths, boxes.frames.tolist()
    corners = round_boxes(boxes.xyxy).astype(np.int64).tolist()
    ids = (
        f"{search.frames[frame]}#xywh={left},{top},{right - left},{bottom - top}"
        for frame, (left, top, right, bottom) in zip(frames, corners, strict=True)
    )
    images = ((EntryImage(paths[frame], tuple(xyxy)),) for frame, xyxy in zip(frames, corners, strict=True))
    return Entries(tuple(ids), boxes.identities, search.cameras[boxes.frames], tuple(images), search.names)
