"""Rendered people as a data set on disk, laid out as Market-1501 is; what is there already is not rendered again."""

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from training.people.assets import Assets
from training.people.crop import Crop, Studio

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
FACTS = ("width", "height", "yaw", "pose", "background", "occluder", "visible", "sex", "wears")
COLUMNS = ("file", "seed", "view", "camera", *FACTS)
Row = dict[str, str]


@dataclass(frozen=True)
class Plan:
    """What a data set is to hold."""

    first: int
    """The first person's seed; the others follow."""
    people: int
    views: int
    cameras: int
    test: int
    """The last so many people are query and gallery, not training."""
    masks: bool

    @property
    def folders(self) -> tuple[str, ...]:
        """The splits that have crops."""
        test = (QUERY, GALLERY) if self.test else ()
        return (TRAIN, *test) if self.test < self.people else test

    def split(self, seed: int, view: int) -> str:
        """The folder of a crop: of a test person the first view of each camera that has another one is a query."""
        if seed < self.first + self.people - self.test:
            return TRAIN
        if self.views <= self.cameras:
            return QUERY if view == 0 else GALLERY
        return QUERY if view < min(self.cameras, self.views - self.cameras) else GALLERY

    def name(self, seed: int, view: int) -> str:
        """A crop's path within the data set: identity, camera, sequence, frame and box, as Market-1501 has them."""
        return f"{self.split(seed, view)}/{seed:06d}_c{view % self.cameras + 1}s1_{view:06d}_00.jpg"


def write(out: Path, assets: Path, plan: Plan, jobs: int = 1, cache_folder: Path | None = None) -> Iterator[int]:
    """Render what `out` lacks of a data set.

    Crop `view` of a person depends on the person's seed, the view and the number of cameras alone, so that the same
    bytes come of any number of jobs, and a larger data set contains a smaller one.

    Args:
        out: the folder, made if it is not there.
        assets: the unpacked assets.
        plan: what to render.
        jobs: processes.
        cache_folder: where parsed assets are kept; None: the default.

    Yields:
        How many people are done, after each.
    """
    for name in plan.folders:
        (out / name).mkdir(parents=True, exist_ok=True)
        if plan.masks:
            (out / "masks" / name).mkdir(parents=True, exist_ok=True)
    index = out / "index.csv"
    rows = {name: row for name, row in _read_index(index).items() if (out / name).exists()}
    seeds = range(plan.first, plan.first + plan.people)
    lacking = {
        seed: [view for view in range(plan.views) if not _present(out, plan, seed, view, rows)] for seed in seeds
    }
    left = [seed for seed in seeds if lacking[seed]]
    done = plan.people - len(left)
    _write_index(index, rows)  # without a line that was cut off, and without what is no longer there
    task = partial(_render, out, assets, cache_folder, plan)
    with index.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        for made in _mapped(task, [(seed, lacking[seed]) for seed in left], jobs):
            writer.writerows(made)
            file.flush()
            rows.update({row["file"]: row for row in made})
            done += 1
            yield done
    _write_index(index, rows)


def _mapped(task: "partial[list[Row]]", items: list[tuple[int, list[int]]], jobs: int) -> Iterator[list[Row]]:
    if jobs == 1:
        yield from map(task, items)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(task, items)


@cache
def _studio(assets: Path, cache_folder: Path | None) -> Studio:
    return Studio(Assets(assets, cache_folder))


def _render(out: Path, assets: Path, cache_folder: Path | None, plan: Plan, item: tuple[int, list[int]]) -> list[Row]:
    seed, views = item
    studio = _studio(assets, cache_folder)
    return [save(out, plan, seed, view, studio.crop(seed, view, view % plan.cameras)) for view in views]


def save(out: Path, plan: Plan, seed: int, view: int, crop: Crop) -> Row:
    """Write one crop, its mask before it, each at once or not at all; its row of the index."""
    name = plan.name(seed, view)
    if plan.masks:
        mask = _mask(out, name)
        partial_mask = mask.with_suffix(".tmp")
        Image.fromarray(crop.mask.astype(np.uint8) * 255).save(partial_mask, "PNG")
        os.replace(partial_mask, mask)
    path = out / name
    partial_path = path.with_suffix(".tmp")
    partial_path.write_bytes(crop.image)
    os.replace(partial_path, path)
    row = {"file": name, "seed": str(seed), "view": str(view), "camera": str(view % plan.cameras + 1)}
    return row | {fact: str(crop.facts[fact]) for fact in FACTS}


def _mask(out: Path, name: str) -> Path:
    return (out / "masks" / name).with_suffix(".png")


def _present(out: Path, plan: Plan, seed: int, view: int, rows: dict[str, Row]) -> bool:
    name = plan.name(seed, view)
    return name in rows and (out / name).exists() and (not plan.masks or _mask(out, name).exists())


def _read_index(path: Path) -> dict[str, Row]:
    """Rows by file; a line that was cut off is left out."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["file"]: row for row in rows if row.keys() == set(COLUMNS) and None not in row.values()}


def _write_index(path: Path, rows: dict[str, Row]) -> None:
    partial_path = path.with_suffix(".tmp")
    with partial_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted(rows.values(), key=lambda row: (int(row["seed"]), int(row["view"]))))
    os.replace(partial_path, path)
